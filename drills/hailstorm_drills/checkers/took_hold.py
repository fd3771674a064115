"""Whether there was a fault at all, and enough users to feel it."""

from typing import Any, Final

from hailstorm_drills.checkers.base import Finding, Verdict
from hailstorm_drills.checkers.demand import demand
from hailstorm_drills.evidence import Evidence
from hailstorm_drills.pods import READY, PodLife

NAME: Final = "took-hold"


def check_took_hold(evidence: Evidence) -> Finding:
    """
    PASS when every component's pods were replaced, all of them, while enough
    calls went through; else UNKNOWN, because nothing was tried.
    """
    fault = evidence.fault
    if fault is None:
        return Finding(NAME, Verdict.UNKNOWN, "the fault was not injected, or never healed")
    doubts, figures = [], dict[str, Any]()
    for component in evidence.components:
        own = [life for life in evidence.lives if life.component == component]
        old = [life for life in own if life.phase_at(fault.start) == READY]
        fresh = [life for life in own if became_ready(life, fault.start, fault.end)]
        gone = [life for life in old if life.is_gone]
        figures[component] = {"replaced": len(gone), "of": len(old), "new": len(fresh)}
        if not old or len(gone) < len(old) or not fresh:
            doubts.append(
                f"{component}: {len(gone)} of {len(old)} old pods went, {len(fresh)} new came"
            )
    if not evidence.components:
        doubts.append("no component was to be replaced")
    few, counts, n = demand(evidence)
    figures.update(counts)
    doubts += few
    if doubts:
        return Finding(NAME, Verdict.UNKNOWN, "; ".join(doubts), n, figures)
    replaced = sum(figures[c]["replaced"] for c in evidence.components)
    told = (
        f"{replaced} pods of {len(evidence.components)} components were replaced in "
        f"{fault.seconds:.0f} s under {n} calls; {figures['retried_calls']} calls and "
        f"{figures['retried_inner_calls']} inner ones were retried"
    )
    return Finding(NAME, Verdict.PASS, told, n, figures)


def became_ready(life: PodLife, start: float, end: float) -> bool:
    """Whether the pod was ready for the first time between the two."""
    first = life.first(READY)
    return first is not None and start <= first <= end
