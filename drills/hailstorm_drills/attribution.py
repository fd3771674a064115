"""
Puts every call that was not ok to the pod, the pod's phase and the drill's phase.

By the pod that the answer names; where an inner call failed, by the pod that
the edge's line of the same request names; and into `unattributed` where nobody
knows, which is counted like any other bucket.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hailstorm_drills.edge_log import EdgeLine
from hailstorm_drills.phases import Interval, phase_at
from hailstorm_drills.pods import UNATTRIBUTED, PodLife, pod_at
from hailstorm_loadtests.history import Call


@dataclass(frozen=True)
class Attributed:
    """One call that was not ok, and where it happened."""

    call: Call
    pod: str
    component: str
    pod_phase: str
    drill_phase: str
    # answer, edge log, or nothing.
    evidence: str
    # Since the pod's deletion, which is when it got its SIGTERM.
    seconds_since_sigterm: float | None


def attribute(
    calls: Sequence[Call],
    lives: Sequence[PodLife],
    edge_lines: Sequence[EdgeLine],
    intervals: Mapping[str, Interval],
) -> list[Attributed]:
    """One entry for each call that was not ok, in the calls' order."""
    failures: dict[str, EdgeLine] = {}
    for line in edge_lines:
        if not line.has_failed:
            continue
        # The innermost failure is the cause; among equals the first.
        known = failures.get(line.request_id)
        if known is None or (line.is_internal and not known.is_internal):
            failures[line.request_id] = line
    found = []
    for call in calls:
        if call.outcome == "ok":
            continue
        line_of_call = failures.get(call.request_id)
        upstream, evidence = call.upstream, "answer"
        if line_of_call and line_of_call.upstream and (line_of_call.is_internal or not upstream):
            upstream, evidence = line_of_call.upstream, "edge log"
        found.append(_place(call, upstream, evidence, lives, intervals))
    return found


def _place(
    call: Call,
    upstream: str | None,
    evidence: str,
    lives: Sequence[PodLife],
    intervals: Mapping[str, Interval],
) -> Attributed:
    drill_phase = phase_at(intervals, call.intended) or "outside"
    life = pod_at(lives, upstream.rpartition(":")[0], call.ended) if upstream else None
    phase = life.phase_at(call.ended) if life else None
    if life is None or phase is None:
        return Attributed(
            call, UNATTRIBUTED, UNATTRIBUTED, UNATTRIBUTED, drill_phase, "nothing", None
        )
    sigterm = life.first("draining")
    return Attributed(
        call,
        life.name,
        life.component,
        phase,
        drill_phase,
        evidence,
        None if sigterm is None else call.ended - sigterm,
    )


def share(attributed: Sequence[Attributed]) -> float | None:
    """The share that was put to a pod; None when there was nothing to put."""
    if not attributed:
        return None
    return sum(entry.pod != UNATTRIBUTED for entry in attributed) / len(attributed)


def buckets(attributed: Sequence[Attributed]) -> list[tuple[tuple[str, str, str, str], int]]:
    """How many by (component, pod phase, code, drill phase), most first."""
    counts = Counter(
        (entry.component, entry.pod_phase, entry.call.code, entry.drill_phase)
        for entry in attributed
    )
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))
