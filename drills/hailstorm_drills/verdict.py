"""
From evidence to verdict.json: the contract with whoever reads a drill; pure.

The form is that of DESIGN, section 6, plus the findings it rests on. What is
not known is null, never zero.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hailstorm_drills.attribution import Attributed, attribute, share
from hailstorm_drills.checkers import ALL, INVARIANTS
from hailstorm_drills.checkers.base import Checker, Finding, Verdict, merge, run_checkers
from hailstorm_drills.evidence import Evidence
from hailstorm_drills.operator_records import detection_seconds
from hailstorm_drills.registry import scenarios


@dataclass(frozen=True)
class Judgement:
    """The verdict, and what it rests on."""

    verdict: Verdict
    why: str
    findings: tuple[Finding, ...]
    attributed: tuple[Attributed, ...]


def checkers_of(drill: str) -> list[tuple[str, Checker]]:
    """The common checkers, some replaced by the drill's own, and then the drill's others."""
    scenario = scenarios().get(drill)
    if scenario is None:
        # A directory of a drill that there is no longer can still be judged.
        return list(ALL)
    common = [(name, scenario.instead.get(name, checker)) for name, checker in ALL]
    return [*common, *scenario.checkers]


def judge(evidence: Evidence) -> Judgement:
    """Run every checker and merge; the same evidence gives the same judgement."""
    findings = run_checkers(checkers_of(evidence.parameters.drill), evidence)
    attributed: Sequence[Attributed] = ()
    if evidence.history is not None:
        attributed = attribute(
            evidence.history.calls, evidence.lives, evidence.edge_lines, evidence.intervals
        )
    judged = [finding for finding in findings if finding.is_judged]
    verdict = merge(finding.verdict for finding in judged)
    decisive = [f for f in judged if f.verdict == verdict and verdict != Verdict.PASS]
    shown = decisive or [f for f in findings if f.checker == "availability"]
    why = "; ".join(f"{finding.checker}: {finding.why}" for finding in shown)
    return Judgement(verdict, why, tuple(findings), tuple(attributed))


def as_json(evidence: Evidence, judgement: Judgement) -> dict[str, Any]:
    """The content of verdict.json."""
    figures = {finding.checker: finding.figures for finding in judgement.findings}
    seen, waited = figures["availability"], figures["latency"]
    return {
        "drill": evidence.parameters.drill,
        "is_twin": evidence.parameters.is_twin,
        "seed": evidence.parameters.seed,
        "started_at": dt.datetime.fromtimestamp(evidence.started_at, dt.UTC).isoformat(),
        "machine": dict(evidence.machine),
        "versions": dict(evidence.versions),
        "offered": seen.get("offered"),
        "ok": seen.get("ok"),
        "failed": seen.get("failed"),
        "unknown": seen.get("unknown"),
        "shed": seen.get("shed"),
        "retried_ok": seen.get("retried_ok"),
        "failed_bound95": seen.get("failed_bound95"),
        "p50_ms": waited.get("p50_ms"),
        "p99_ms": waited.get("p99_ms"),
        "p99_ratio": waited.get("p99_ratio"),
        "max_p99_ratio": waited.get("max_p99_ratio"),
        "recovery_seconds": figures["recovery"].get("recovery_seconds"),
        # Of a gate that is drilled, its own; else when the operator began its record.
        "detection_seconds": figures.get("detected", {}).get("median")
        or detection_seconds(evidence),
        "invariants": {
            finding.checker: {"verdict": finding.verdict, "n": finding.n, "why": finding.why}
            for finding in judgement.findings
            if finding.checker in dict(INVARIANTS)
        },
        "attributed_share": share(judgement.attributed),
        "generator_lag_p99_ms": figures["generator"].get("lag_p99_ms"),
        "verdict": judgement.verdict,
        "why": judgement.why,
        "control": figures.get("control"),
        "marks": [vars(mark) for mark in evidence.marks],
        "findings": [asdict(finding) for finding in judgement.findings],
        "phases": {
            name: {"start": interval.start, "end": interval.end}
            for name, interval in evidence.intervals.items()
        },
    }
