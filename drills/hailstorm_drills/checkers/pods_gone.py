"""Whether pods went as a scale-down or a drained node wants it; in place of took-hold."""

from collections.abc import Sequence
from typing import Any, Final

from hailstorm_drills.checkers.base import Finding, Verdict
from hailstorm_drills.checkers.demand import demand
from hailstorm_drills.checkers.took_hold import NAME, became_ready
from hailstorm_drills.evidence import Evidence
from hailstorm_drills.marks import of_kind
from hailstorm_drills.pods import READY

DRAIN: Final = "drain"


def check_scaled_down(evidence: Evidence) -> Finding:
    """PASS when every component went from the plan's replicas to fewer, and nobody came."""
    fault, p = evidence.fault, evidence.parameters
    if fault is None:
        return Finding(NAME, Verdict.UNKNOWN, "the fault was not injected, or never healed")
    doubts, figures = [], dict[str, Any]()
    for component in evidence.components:
        own = [life for life in evidence.lives if life.component == component]
        old = [life for life in own if life.phase_at(fault.start) == READY]
        gone = [life for life in old if (life.phase_at(fault.end) or READY) != READY]
        fresh = [life for life in own if became_ready(life, fault.start, fault.end)]
        figures[component] = {"gone": len(gone), "of": len(old), "new": len(fresh)}
        if len(old) != p.replicas or len(gone) != p.replicas - p.to_replicas or fresh:
            doubts.append(
                f"{component}: {len(gone)} of {len(old)} pods went and {len(fresh)} came, "
                f"{p.replicas} to {p.to_replicas} was planned"
            )
    gone_all = sum(figures[c]["gone"] for c in evidence.components)
    return _concluded(evidence, doubts, figures, f"{gone_all} pods went")


def check_drained(evidence: Evidence) -> Finding:
    """PASS when every pod that was ready on the drained node went, and there were some."""
    fault = evidence.fault
    drains = of_kind(evidence.marks, DRAIN)
    if fault is None or not drains:
        return Finding(NAME, Verdict.UNKNOWN, "no node was drained, or it never healed")
    node = drains[0].what
    old = [
        life
        for life in evidence.lives
        if life.node == node
        and life.component in evidence.components
        and life.phase_at(fault.start) == READY
    ]
    gone = [life for life in old if life.is_gone]
    figures: dict[str, Any] = {"node": node, "gone": len(gone), "of": len(old)}
    doubts = [] if old else [f"no pod of {', '.join(evidence.components)} was on {node}"]
    if len(gone) < len(old):
        doubts.append(f"{len(gone)} of {len(old)} pods left {node}")
    return _concluded(evidence, doubts, figures, f"{len(gone)} pods left {node}")


def _concluded(
    evidence: Evidence, doubts: Sequence[str], figures: dict[str, Any], told: str
) -> Finding:
    few, counts, n = demand(evidence)
    figures = {**figures, **counts}
    if doubts or few:
        return Finding(NAME, Verdict.UNKNOWN, "; ".join([*doubts, *few]), n, figures)
    told = f"{told} under {n} calls; {counts['retried_calls']} of them were retried"
    return Finding(NAME, Verdict.PASS, told, n, figures)
