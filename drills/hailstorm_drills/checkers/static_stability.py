"""
Nothing changes while there is no operator, and it does not begin by taking pods away.

A scaler that comes back knows nothing of the minutes before: were it to shrink at
once, a restart in the evening would cost the pods of the evening.
"""

from typing import Any, Final

from hailstorm_drills.checkers.base import Checker, Finding, Verdict
from hailstorm_drills.checkers.demand import demand
from hailstorm_drills.checkers.took_hold import NAME as TOOK_HOLD
from hailstorm_drills.evidence import Evidence
from hailstorm_drills.faults.operator_away import OPERATOR_AWAY
from hailstorm_drills.marks import Mark, of_kind
from hailstorm_drills.phases import RECOVER
from hailstorm_drills.replicas import changes_between, replicas_at

NAME: Final = "no-shrink"


def check_operator_away(evidence: Evidence) -> Finding:
    """In the place of took-hold: PASS when the operator was away for as long as planned."""
    few, counts, n = demand(evidence)
    mark = _away(evidence)
    if evidence.fault is None or mark is None or mark.until is None:
        return Finding(TOOK_HOLD, Verdict.UNKNOWN, "the operator did not go, or did not return", n)
    away, wanted = mark.until - mark.at, evidence.parameters.fault_seconds
    figures = {**counts, "away_seconds": round(away, 1)}
    doubts = [f"it was away for {away:.0f} s of {wanted:g} s"] if away < wanted else []
    if doubts or few:
        return Finding(TOOK_HOLD, Verdict.UNKNOWN, "; ".join([*doubts, *few]), n, figures)
    told = f"there was no operator for {away:.0f} s, under {n} calls"
    return Finding(TOOK_HOLD, Verdict.PASS, told, n, figures)


def check_no_shrink(window_seconds: float) -> Checker:
    """
    FAIL when a Deployment lost replicas while the operator was away, or within
    `window_seconds` of its return; UNKNOWN when none could have, or nobody looked that long.
    """

    def check(evidence: Evidence) -> Finding:
        mark, after = _away(evidence), evidence.intervals.get(RECOVER)
        if mark is None or mark.until is None or after is None:
            return Finding(NAME, Verdict.UNKNOWN, "the operator did not go, or did not return")
        back, end = mark.until, mark.until + window_seconds
        wrong, later = list[str](), dict[str, float]()
        for name, counts in evidence.replicas.items():
            falls = [c for c in changes_between(counts, mark.at, after.end) if c.after < c.before]
            wrong += [
                f"{name} fell from {fall.before} to {fall.after} {_when(fall.at - back)}"
                for fall in falls
                if fall.at < end
            ]
            if falls:
                later[name] = round(falls[0].at - back, 1)
        could = [
            name
            for name in evidence.components
            if (replicas_at(evidence.replicas.get(name, ()), back) or 0)
            > evidence.parameters.to_replicas
        ]
        watched = after.end - back
        figures: dict[str, Any] = {
            "window_seconds": window_seconds,
            "watched_seconds": round(watched, 1),
            "could_shrink": could,
            "first_fall_seconds": later,
        }
        n = len(could)
        if wrong:
            return Finding(NAME, Verdict.FAIL, "; ".join(wrong), n, figures)
        if not could:
            told = "no service had a pod to spare, so nothing could have shrunk"
            return Finding(NAME, Verdict.UNKNOWN, told, n, figures)
        if watched < window_seconds:
            told = f"watched for {watched:.0f} s after its return, {window_seconds:g} are needed"
            return Finding(NAME, Verdict.UNKNOWN, told, n, figures)
        first = min(later.values(), default=None)
        since = "none did" if first is None else f"the first did after {first:g} s"
        told = (
            f"none of {n} services with a pod to spare lost one within {window_seconds:g} s of "
            f"its return; {since}, of {watched:.0f} s that were watched"
        )
        return Finding(NAME, Verdict.PASS, told, n, figures)

    return check


def _away(evidence: Evidence) -> Mark | None:
    return next(iter(of_kind(evidence.marks, OPERATOR_AWAY)), None)


def _when(seconds: float) -> str:
    return f"{seconds:.1f} s after its return" if seconds >= 0 else "while it was away"
