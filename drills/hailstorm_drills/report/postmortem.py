"""
A blameless postmortem, drafted from the figures; people add what figures do not know.

It names components, phases and times, and no person. What is left to be
written by hand is said to be so, rather than filled with something plausible.
"""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from hailstorm_drills.attribution import buckets
from hailstorm_drills.checkers.base import Verdict
from hailstorm_drills.evidence import Evidence
from hailstorm_drills.pods import DRAINING, READY
from hailstorm_drills.verdict import Judgement, as_json


def render_postmortem(evidence: Evidence, judgement: Judgement) -> str:
    """The draft as Markdown; the same evidence gives the same draft."""
    told = as_json(evidence, judgement)
    twin = " (broken twin)" if evidence.parameters.is_twin else ""
    parts = [
        f"# {told['drill']}{twin}: {judgement.verdict}",
        f"Draft, made from the figures of {told['started_at']}, seed {told['seed']}.",
        "## Summary",
        judgement.why,
        "## Impact",
        _impact(told),
        "## Where it happened",
        _where(judgement),
        "## Timeline",
        _timeline(evidence),
        "## What held, and what did not",
        "\n".join(f"- {f.checker}: {f.verdict}. {f.why}" for f in judgement.findings),
        "## To be written by people",
        "- Why was it possible, and what would have made it impossible?\n"
        "- What was seen first, by whom or what, and what was it taken for?\n"
        "- Which of the figures above surprised you?\n"
        "- What will be changed, and which drill will show that it was?",
    ]
    return "\n\n".join(parts) + "\n"


def _impact(told: Mapping[str, Any]) -> str:
    if told["offered"] is None:
        return "Not known: there is no history of calls."
    bound = told["failed_bound95"]
    share = f", at most {bound:.3%} of all with 95 % confidence" if bound is not None else ""
    p99 = told["p99_ms"] or {}
    waited = ", ".join(f"{phase} {value} ms" for phase, value in p99.items()) or "not known"
    return (
        f"- Calls: {told['offered']:,} offered, {told['failed']:,} failed{share}, "
        f"{told['unknown']:,} with an outcome that nobody knows, {told['shed']:,} shed.\n"
        f"- Retried by the edge and answered: {told['retried_ok']:,}.\n"
        f"- p99 from the moment a call was due: {waited}{_times(told)}.\n"
        f"- Last bad moment, from the fault's start: {_known(told['recovery_seconds'], 's')}.\n"
        f"- The operator's first record of it: {_known(told['detection_seconds'], 's')}."
    )


def _where(judgement: Judgement) -> str:
    if not judgement.attributed:
        failed = next(f for f in judgement.findings if f.checker == "availability")
        known = failed.verdict != Verdict.UNKNOWN or failed.n
        return "No call was other than ok." if known else "Not known."
    rows = ["| calls | component | pod phase | code | drill phase |", "|---:|---|---|---|---|"]
    rows += [
        f"| {count} | {component} | {phase} | {code} | {during} |"
        for (component, phase, code, during), count in buckets(judgement.attributed)
    ]
    return "\n".join(rows)


def _timeline(evidence: Evidence) -> str:
    moments = [(i.start, f"drill: {name} begins") for name, i in evidence.intervals.items()]
    fault = evidence.fault
    for life in evidence.lives:
        if fault is None or life.component not in evidence.components:
            continue
        for at, phase in life.changes:
            if fault.start <= at <= fault.end and phase in (READY, DRAINING):
                moments.append((at, f"{life.name} is {phase}"))
    if evidence.history and fault:
        bad = [c.ended for c in evidence.history.calls if c.outcome != "ok"]
        during = [at for at in bad if at >= fault.start]
        if during:
            moments += [(min(during), "first call not ok"), (max(during), "last call not ok")]
    if not moments:
        return "Not known: no phase was reached."
    return "\n".join(
        f"- {dt.datetime.fromtimestamp(at, dt.UTC):%H:%M:%S.%f}"[:-3] + f" {what}"
        for at, what in sorted(moments)
    )


def _times(told: Mapping[str, Any]) -> str:
    ratio, most = told["p99_ratio"], told["max_p99_ratio"]
    if ratio is None:
        return ""
    asked = f"; at most {most:g} times was asked" if most is not None else ""
    return f" ({ratio:g} times during the fault{asked})"


def _known(value: float | None, unit: str) -> str:
    return "not known" if value is None else f"{value:g} {unit}"
