"""
CPU time of a process and of its children, as the kernel counts it.

A rate per core is work per CPU second: it says the same on a machine whose
other users take half of it, where work per second of the clock does not.
"""

import os
from pathlib import Path
from typing import Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads so far; in steps of 10 ms."""
    stat = Path(f"/proc/{pid}/stat").read_text()
    return _times(stat)


def tree_cpu_seconds(pid: int) -> float:
    """The same, with the children that live: a Postgres and its backends."""
    children = [
        int(child)
        for task in Path(f"/proc/{pid}/task").glob("*/children")
        for child in task.read_text().split()
    ]
    return cpu_seconds(pid) + sum(map(cpu_seconds, children))


def _times(stat: str) -> float:
    # proc(5): the name in field 2 may hold blanks and brackets; utime is field
    # 14 and stime 15.
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
