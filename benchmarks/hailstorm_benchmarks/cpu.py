"""
CPU time of a process and of its children, as the kernel counts it.

A rate per core is work per CPU second: it says the same on a machine whose
other users take half of it, where work per second of the clock does not.
"""

import contextlib
import os
from pathlib import Path
from typing import Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads so far; in steps of 10 ms."""
    return sum(times_of(Path(f"/proc/{pid}/stat").read_text())[:2])


def tree_cpu_seconds(pid: int) -> float:
    """The same, with its children, those that have ended included: a Postgres' backends."""
    total = sum(times_of(Path(f"/proc/{pid}/stat").read_text()))
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            # One that ends in between is counted by its parent the next time.
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                total += cpu_seconds(int(child))
    return total


def times_of(stat: str) -> tuple[float, float, float, float]:
    """Seconds in a line of /proc/<pid>/stat: user, system, and both of the children waited for."""
    # proc(5): the name in field 2 may hold blanks and brackets; utime is field
    # 14, stime 15, cutime 16, cstime 17.
    user, system, of_children, of_their_system = stat.rpartition(")")[2].split()[11:15]
    return (
        int(user) / _TICKS,
        int(system) / _TICKS,
        int(of_children) / _TICKS,
        int(of_their_system) / _TICKS,
    )


def core_ticks(core: int) -> tuple[int, int]:
    """(busy, all) ticks of a core since the machine started; SystemExit without such a core."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *numbers = line.split()
        if name == f"cpu{core}":
            values = [int(n) for n in numbers[:8]]
            return sum(values) - values[3] - values[4], sum(values)
    raise SystemExit(f"this machine has no core {core}; the benchmark needs two")


def process_ticks(pid: int) -> int:
    """Ticks of CPU that a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
