"""
What became of each release that a drill put before the gate; pure.

Three witnesses are kept apart: the clients' history says who was hurt, the pods'
watch says when the release came and went, and the operator's own record says what
was decided, when and by which rule. The record is read while the drill runs and
lies in the mark's figures, so that retention cannot take it away.
"""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from hailstorm_drills.evidence import Evidence
from hailstorm_drills.marks import DEPLOY, Mark, of_kind
from hailstorm_drills.phases import RECOVER
from hailstorm_drills.pods import DRAINING, GONE, READY, PodLife
from hailstorm_drills.recorder import epoch
from hailstorm_loadtests.history import Call
from hailstorm_operator import api

# What a mark's figures say of the release.
BAD: Final = "bad"
IDENTICAL: Final = "identical"

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Run:
    """One release. Times are epoch seconds; None is not known, or never was."""

    name: str
    kind: str
    at: float
    until: float
    record: str
    verdict: str
    rule: str
    explanation: str
    decided_at: float | None
    # From when the policy's own deadline counts.
    started_at: float | None
    # Of the record: attempts at its pods, and the failed ones of them.
    canary_calls: int | None
    canary_failed: int | None
    # Whether the policy put the template before back, and whether that runs at the end.
    is_taken_back: bool
    is_restored: bool
    offered: int
    first_failure: float | None
    last_failure: float | None
    failed: int
    # Of its pods: the first to be there, the first to serve, the last to be told to go.
    seen_at: float | None
    ready_at: float | None
    out_at: float | None

    def figures(self) -> dict[str, Any]:
        """For verdict.json: moments as seconds since the release was handed over."""

        def since(moment: float | None) -> float | None:
            return None if moment is None else round(moment - self.at, 3)

        return {
            "release": self.name,
            "kind": self.kind,
            "record": self.record,
            "verdict": self.verdict,
            "rule": self.rule,
            "why": self.explanation,
            "ready_seconds": since(self.ready_at),
            "first_failure_seconds": since(self.first_failure),
            "last_failure_seconds": since(self.last_failure),
            "decided_seconds": since(self.decided_at),
            "out_seconds": since(self.out_at),
            "offered": self.offered,
            "failed": self.failed,
            "record_canary_calls": self.canary_calls,
            "record_canary_failed": self.canary_failed,
            "taken_back": self.is_taken_back,
            "restored": self.is_restored,
        }


def read_runs(evidence: Evidence) -> list[Run]:
    """Every release of the drill, in order; each lasts until the next one comes."""
    marks = of_kind(evidence.marks, DEPLOY)
    after = evidence.intervals.get(RECOVER)
    calls = evidence.history.calls if evidence.history else ()
    ends = [mark.at for mark in marks[1:]]
    if marks:
        last = marks[-1]
        ends.append(after.end if after else last.until or last.at)
    return [
        _read_run(mark, end, evidence.components, calls, evidence.lives)
        for mark, end in zip(marks, ends, strict=True)
    ]


def _read_run(
    mark: Mark,
    end: float,
    components: Iterable[str],
    calls: Sequence[Call],
    lives: Sequence[PodLife],
) -> Run:
    told = mark.figures
    before = set(told.get("before", ()))
    own = [life for life in lives if life.component in components]
    fresh = [
        life
        for life in own
        if life.template_hash not in before and mark.at - 1 <= life.changes[0][0] < end
    ]
    ready = [at for life in fresh if (at := life.first(READY)) is not None]
    out = [at for life in fresh if (at := life.first(DRAINING) or life.first(GONE)) is not None]
    inside = [call for call in calls if mark.at <= call.intended < end]
    failures = [call.ended for call in inside if call.outcome == "fail"]
    # Looked at just before the next one comes: after that nothing is as it was.
    serving = {life.template_hash for life in own if life.phase_at(end - 0.001) == READY}
    return Run(
        name=mark.what,
        kind=str(told.get("kind", BAD)),
        at=mark.at,
        until=end,
        record=str(told.get("record", "")),
        verdict=str(told.get("verdict", "")),
        rule=str(told.get("rule", "")),
        explanation=str(told.get("explanation", "")),
        decided_at=told.get("decided_at"),
        started_at=told.get("started_at"),
        canary_calls=told.get("canary_calls"),
        canary_failed=told.get("canary_failed"),
        is_taken_back=bool(told.get("taken_back", False)),
        is_restored=bool(serving) and serving <= before,
        offered=len(inside),
        first_failure=min(failures, default=None),
        last_failure=max(failures, default=None),
        failed=len(failures),
        seen_at=min((life.changes[0][0] for life in fresh), default=None),
        ready_at=min(ready, default=None),
        # While one of its pods was never told to go, it is not out.
        out_at=max(out) if out and len(out) == len(fresh) else None,
    )


def find_record(
    records: Iterable[Record], component: str, known: Iterable[str], kind: str = "rollout"
) -> Record | None:
    """The newest record of the component that is not among the known names, and of this kind."""
    skipped = set(known)
    found = [
        record
        for record in records
        if record["spec"]["targetRef"]["name"] == component
        and record["metadata"]["name"] not in skipped
        and record["spec"].get("trigger", {}).get("kind") == kind
    ]
    return max(found, key=lambda record: int(record["spec"].get("revision", 0)), default=None)


def verdict_of(record: Record) -> dict[str, Any]:
    """What a mark keeps of a record: {} while its policy has said nothing."""
    policy = record.get("status", {}).get("policy") or {}
    decisions = policy.get("decisions") or []
    if not decisions:
        return {}
    # The first verdict; the watch after a promotion may add another, which counts
    # only when it takes the release back after all.
    chosen = next((one for one in decisions if one["verdict"] == api.VERDICT_ABORTED), decisions[0])
    figures = chosen.get("figures") or {}
    return {
        "record": record["metadata"]["name"],
        "verdict": chosen["verdict"],
        "rule": chosen["rule"],
        "explanation": chosen["explanation"],
        "decided_at": epoch(chosen["at"]),
        "started_at": (chosen.get("inputs") or {}).get("started_at"),
        "canary_calls": figures.get("canaryCalls"),
        "canary_failed": figures.get("canaryFailed"),
    }


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Every value, their median and their ends; None where there is none."""
    return {
        "values": [round(value, 3) for value in values],
        "median": round(statistics.median(values), 3) if values else None,
        "least": round(min(values), 3) if values else None,
        "most": round(max(values), 3) if values else None,
    }
