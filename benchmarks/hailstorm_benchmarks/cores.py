"""
A core for what is measured, the others for who measures.

A generator that shares its cores with an overloaded system is late itself, and then
neither its load nor its waits are what they seem. On one machine this is as near as
one comes to a generator on another.

Run as a program it gives the cores back when its stdin ends: whoever divided them may
have been killed.
"""

import contextlib
import os
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

from hailstorm_benchmarks import guards

# One more pass for what was started while the first went on.
PASSES: Final = 2
PROC: Final = Path("/proc")


class CoresError(Exception):
    """The cores cannot be divided; the message says why."""


def pids_in(container_ids: Collection[str], proc: Path = PROC) -> set[int]:
    """The processes in the cgroups of these containers, and of the containers in them."""
    found = set()
    for path in proc.glob("[0-9]*/cgroup"):
        # One that ends meanwhile is in none.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            told = path.read_text()
            if any(container_id in told for container_id in container_ids):
                found.add(int(path.parent.name))
    return found


@contextlib.contextmanager
def divided(container_ids: Collection[str], core: int = 0, proc: Path = PROC) -> Iterator[None]:
    """
    Keep the containers on `core`, and this process with its children off it.

    What the containers start meanwhile inherits it. Both may go everywhere again at
    the end. Raises CoresError.
    """
    mine = os.sched_getaffinity(0)
    others = mine - {core}
    if core not in mine or not others:
        raise CoresError(f"this process may use cores {sorted(mine)}; it takes {core} and another")
    if not container_ids:
        raise CoresError("there are no containers to keep on a core")
    guard = guards.start(__file__, ",".join(map(str, sorted(mine))), str(proc), *container_ids)
    try:
        os.sched_setaffinity(0, others)
        for _ in range(PASSES):
            keep(pids_in(container_ids, proc), {core})
        yield
    finally:
        os.sched_setaffinity(0, mine)
        # It ends when the cores are given back.
        guard.communicate()


def keep(pids: Collection[int], cores: set[int]) -> None:
    """All threads of these processes on these cores. Raises CoresError when it is not allowed."""
    for pid in pids:
        for thread in (PROC / str(pid) / "task").glob("*"):
            try:
                os.sched_setaffinity(int(thread.name), cores)
            except ProcessLookupError:
                continue
            except OSError as error:
                raise CoresError(f"process {pid} cannot be kept on a core: {error}") from error


def main(arguments: list[str]) -> int:
    """`CORES PROC CONTAINER...`: wait until stdin ends, then let them run on these cores."""
    cores, proc, *container_ids = arguments
    guards.wait()
    keep(pids_in(container_ids, Path(proc)), {int(core) for core in cores.split(",")})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
