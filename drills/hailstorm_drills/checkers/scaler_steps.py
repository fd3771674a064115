"""
Whether a ServiceScaler went down as it promises: one step a stable window, nothing else.

Two witnesses: the drill's watch of the Deployment says when the replicas fell, the
scaler's own decisions say that it was the one who wrote them.
"""

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from hailstorm_drills.checkers.base import Checker, Finding, Verdict
from hailstorm_drills.checkers.records import calls_by_component
from hailstorm_drills.evidence import Evidence
from hailstorm_drills.marks import of_kind
from hailstorm_drills.phases import Interval
from hailstorm_drills.replicas import Change, changes_between, replicas_at
from hailstorm_drills.scalers import SCALER

NAME: Final = "scaler"
EXAMPLES: Final = 5
# docs/reference/servicescaler.md: one pod, or a tenth of many.
STEP_SHARE: Final = 0.1
# A watch tells of a write a little late, of one more than of the other.
WATCH_SECONDS: Final = 1.0


def check_scaler_steps(stable_seconds: float) -> Checker:
    """
    FAIL when replicas fell by more than a step or sooner than a stable window after the
    change before, or were written by somebody else; UNKNOWN when they did not get from the
    plan's first number to its last, rose on the way, or nobody knows who wrote them.
    """

    def check(evidence: Evidence) -> Finding:
        fault = evidence.fault
        if fault is None or not evidence.components:
            return Finding(NAME, Verdict.UNKNOWN, "the fault was not injected, or never healed")
        wrong: list[str] = []
        doubts: list[str] = []
        figures: dict[str, Any] = {"stable_seconds": stable_seconds}
        steps = 0
        for component in evidence.components:
            own = _look(evidence, component, fault, stable_seconds, wrong, doubts)
            figures[component] = own
            steps += len(own.get("steps", ()))
        if wrong:
            return Finding(NAME, Verdict.FAIL, "; ".join(wrong[:EXAMPLES]), steps, figures)
        if doubts:
            return Finding(NAME, Verdict.UNKNOWN, "; ".join(doubts[:EXAMPLES]), steps, figures)
        told = "; ".join(_told(name, figures[name]) for name in evidence.components)
        return Finding(NAME, Verdict.PASS, told, steps, figures)

    return check


def _look(
    evidence: Evidence,
    component: str,
    fault: Interval,
    stable_seconds: float,
    wrong: list[str],
    doubts: list[str],
) -> dict[str, Any]:
    """The figures of one component; what is amiss goes to `wrong` and `doubts`."""
    p, counts = evidence.parameters, evidence.replicas.get(component, ())
    first, last = replicas_at(counts, fault.start), replicas_at(counts, fault.end)
    changes = changes_between(counts, fault.start, fault.end)
    if (first, last) != (p.replicas, p.to_replicas):
        doubts.append(f"{component} went from {first} to {last}, {p.replicas} to {p.to_replicas}")
    for change in changes:
        if change.after > change.before:
            # What was asked for may have grown: that is its office, and no step down.
            doubts.append(f"{component} rose from {change.before} to {change.after}")
        elif change.before - change.after > max(1, int(change.before * STEP_SHARE)):
            wrong.append(f"{component} went from {change.before} to {change.after} at once")
    # A rise waits for nothing.
    waits = [b.at - a.at for a, b in itertools.pairwise(changes) if b.after < b.before]
    wrong += [
        f"{component} took two steps within {wait:.1f} s, a stable window is {stable_seconds:g} s"
        for wait in waits
        if wait < stable_seconds - WATCH_SECONDS
    ]
    marks = [mark for mark in of_kind(evidence.marks, SCALER) if mark.what == component]
    writes = [write for mark in marks for write in mark.figures.get("writes", ())]
    if not writes:
        doubts.append(f"the scaler of {component} tells of no decision")
    else:
        wrong += _by_others(component, changes, writes)
    calls = calls_by_component(evidence.history.calls if evidence.history else (), evidence.lives)
    return {
        "steps": [[round(c.at - fault.start, 1), c.before, c.after] for c in changes],
        "shortest_wait_seconds": round(min(waits), 1) if waits else None,
        "writes": writes,
        "spare_moves": [move for mark in marks for move in mark.figures.get("spare_moves", ())],
        # Of users, while it shrank: what went wrong in them would be the scaler's doing.
        "user_calls": sum(fault.holds(call.intended) for call in calls[component]),
    }


def _by_others(
    component: str, changes: Sequence[Change], writes: Sequence[dict[str, Any]]
) -> list[str]:
    left = Counter((change.before, change.after) for change in changes)
    left.subtract((write["from"], write["to"]) for write in writes)
    return [
        f"{component} from {before} to {after} was not the scaler's"
        for (before, after), count in left.items()
        if count > 0
    ]


def _told(name: str, own: dict[str, Any]) -> str:
    steps = own["steps"]
    wait = own["shortest_wait_seconds"]
    apart = "" if wait is None else f", {wait:g} s apart at least"
    return (
        f"the scaler took {name} from {steps[0][1]} to {steps[-1][2]} in {len(steps)} steps"
        f"{apart}, the last {steps[-1][0]:.0f} s after it might, under {own['user_calls']} calls "
        f"of users to it; {len(own['spare_moves'])} spares moved"
    )
