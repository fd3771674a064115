"""
The steady state that every drill begins from: users who are well served.

A fault in a system that is already overloaded shows nothing: what users feel
then, they felt before. So load is put on, looked at, and taken back a step when
the machine cannot carry it; a drill that finds no load to begin with has not
begun. A machine without room is offered less, too, but the least share is taken
with it: there, what else runs on the machine fills it. (The first of the principles
of chaos engineering, principlesofchaos.org.)
"""

from collections.abc import Mapping
from typing import Any, Final

# Shares of the wanted load that are tried in turn. The reference machine carries all
# of it with a p99 of 16 ms; one that gave 40 % of its speed had 3.5 s and failures.
LOAD_SCALES: Final = (1.0, 0.6, 0.36)
# What the project asks of RequestTrip at half the knee.
MAX_BASELINE_P99_MS: Final = 250.0
# Of a system that nobody has broken; drills whose own releases fail calls have more.
MAX_BASELINE_FAILED_SHARE: Final = 0.0
# Of the machine's cores at work before the fault. A new pod takes a core for a second or
# two, and what is starved meanwhile is the machine's doing: on two cores, drills with half
# and with 65 % of them at work showed the fault alone, one with 75 % a p99 of 3.6 s.
MAX_BASELINE_BUSY_SHARE: Final = 0.66
# The load tells of its last 10 s; the first 10 have cold connections and caches.
PROBE_SECONDS: Final = 20.0
# A node's own work of some seconds may fall into any one look.
EASE_SECONDS: Final = 60.0


def uneasy(
    state: Mapping[str, Any], max_p99_ms: float, max_failed_share: float = MAX_BASELINE_FAILED_SHARE
) -> str | None:
    """None when the load's `state` tells of users who are well served; else what it tells of."""
    recent = state["recent"]
    span = f"in the last {recent['seconds']:g} s"
    if recent["p99_ms"] is None:
        return f"no call ended {span}"
    calls = recent["calls_per_second"] * recent["seconds"]
    if recent["not_ok"] > max_failed_share * calls:
        return f"{recent['not_ok']} of {calls:.0f} calls were not OK {span}"
    if recent["p99_ms"] > max_p99_ms:
        return f"p99 was {recent['p99_ms']:.0f} ms {span}, the limit is {max_p99_ms:g} ms"
    return None


def crowded(busy_cores: float, cores: float, max_share: float) -> str | None:
    """None when the machine has room for what a fault makes it do; else how full it is."""
    if busy_cores <= max_share * cores:
        return None
    return f"{busy_cores:.2f} of {cores:g} cores were at work, the limit is {max_share * cores:.2f}"
