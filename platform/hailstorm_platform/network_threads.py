"""
The threads that carry the cluster's packets do not stand in line.

Between the pods of a kind cluster a packet crosses pairs of virtual interfaces, each in
a softirq; as soon as anybody wants the core, the kernel leaves those to its thread
ksoftirqd/N, which gets its turn like any other process. While pods start on two cores
it waited 0.45 s of a second to run for 3 ms, and every call with it
(docs/decisions/the-network-goes-first.md). A network card of a real node interrupts
instead.

Only threads that have the kernel's own niceness are changed, and `make down` gives it
back; so does a reboot.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from hailstorm_platform.context import Context

NAME: Final = "ksoftirqd/"
# As the kernel starts them, and the most there is short of real time, which could keep
# everything else from a core.
USUAL, FIRST = 0, -20


def threads(root: Path = Path("/proc")) -> Iterator[int]:
    """Their process ids; none in a container, which sees its own processes alone."""
    for entry in root.iterdir():
        if not entry.name.isdigit():
            continue
        # It may have ended since it was listed.
        with contextlib.suppress(OSError):
            # A kernel thread has no command line: whoever takes the name does.
            if (entry / "comm").read_text().startswith(NAME) and not (
                entry / "cmdline"
            ).read_bytes():
                yield int(entry.name)


def put_first(context: Context) -> None:
    """Let them go before all else, and say so once; where that is not allowed, go on."""
    if _change(context, USUAL, FIRST):
        context.report.say(f"network: ksoftirqd goes first (nice {FIRST}) until `make down`")


def put_back(context: Context) -> None:
    """As the kernel has them. Safe to repeat."""
    _change(context, FIRST, USUAL)


def _change(context: Context, before: int, after: int) -> int:
    changed = 0
    for pid in threads():
        try:
            if os.getpriority(os.PRIO_PROCESS, pid) == before:
                os.setpriority(os.PRIO_PROCESS, pid, after)
                changed += 1
        except PermissionError:
            context.report.say(
                "network: ksoftirqd stays as it is, for root alone may change that; "
                "on a busy machine calls wait for it"
            )
            return changed
        except ProcessLookupError:
            continue
    return changed
