"""
After each kill: when users felt nothing of it any more, and that it bit at all.

Recovery of one kill is the time from it to the beginning of the first two
seconds in which no call failed and p99 was in the band; two, because less time
has too few calls for a p99. A stretch that never comes before the next kill is
as long as the interval, and above any limit.
"""

import bisect
from collections.abc import Sequence
from typing import Any, Final

from hailstorm_drills.checkers.base import Finding, Verdict
from hailstorm_drills.checkers.demand import demand
from hailstorm_drills.checkers.latency import latencies_ms
from hailstorm_drills.checkers.recovery import BAND_FACTOR, BAND_FLOOR_MS
from hailstorm_drills.evidence import Evidence
from hailstorm_drills.marks import KILL, Mark, of_kind
from hailstorm_drills.phases import BASELINE
from hailstorm_drills.pods import READY
from hailstorm_loadtests.history import STREAMS, Call, percentile

NAME: Final = "kills"
TOOK_HOLD: Final = "took-hold"
# Issue 5: recovery after a SIGKILL, p95.
MAX_RECOVERY_SECONDS: Final = 2.0
STRETCH_SECONDS: Final = 2.0
STEP_SECONDS: Final = 0.1
# Fewer calls in a stretch and its p99 is one call's luck.
MIN_STRETCH_CALLS: Final = 50


def band_ms(evidence: Evidence) -> float | None:
    """Up to where p99 counts as usual; None without a baseline. The same as `recovery`'s."""
    calls = evidence.history.calls if evidence.history else ()
    base = percentile(latencies_ms(calls, evidence.intervals.get(BASELINE)), 0.99)
    return None if base is None else max(BAND_FACTOR * base, base + BAND_FLOOR_MS)


def recovery_of(calls: Sequence[Call], start: float, end: float, band: float) -> float | None:
    """
    Seconds from `start` to the first stretch in the band, within `end`.

    `calls` by intended time, without streams. None when no stretch has enough
    calls to tell; `end - start` when there was none in the band.
    """
    moments = [call.intended for call in calls]
    was_judged = False
    for number in range(int((end - start - STRETCH_SECONDS) / STEP_SECONDS + 1e-6) + 1):
        begin = start + number * STEP_SECONDS
        inside = calls[
            bisect.bisect_left(moments, begin) : bisect.bisect_left(
                moments, begin + STRETCH_SECONDS
            )
        ]
        if len(inside) < MIN_STRETCH_CALLS:
            continue
        was_judged = True
        p99 = percentile([call.latency_seconds * 1000 for call in inside], 0.99)
        if all(call.outcome == "ok" for call in inside) and p99 is not None and p99 <= band:
            return round(begin - start, 1)
    return round(end - start, 1) if was_judged else None


def check_kills(evidence: Evidence) -> Finding:
    """
    FAIL when the p95 of recoveries is above the limit; UNKNOWN without kills, with
    one that cannot be judged, or when not one call was retried: then it did not bite.
    """
    fault, kills = evidence.fault, of_kind(evidence.marks, KILL)
    band = band_ms(evidence)
    if evidence.history is None or fault is None or band is None or not kills:
        told = f"{len(kills)} kills, and no history, fault or baseline to judge them by"
        return Finding(NAME, Verdict.UNKNOWN, told, len(kills))
    calls = [call for call in evidence.history.calls if call.method not in STREAMS]
    # The recovery phase belongs to the last kill as the others' intervals do to them.
    ends = [*(kill.at for kill in kills[1:]), max(fault.end, kills[-1].at + STRETCH_SECONDS)]
    found = [recovery_of(calls, kill.at, end, band) for kill, end in zip(kills, ends, strict=True)]
    _, counts, _ = demand(evidence)
    retried = counts["retried_calls"] + counts["retried_inner_calls"]
    known = [seconds for seconds in found if seconds is not None]
    p95 = percentile(known, 0.95)
    figures: dict[str, Any] = {
        "kills": len(kills),
        "recovery_p50_seconds": percentile(known, 0.5),
        "recovery_p95_seconds": p95,
        "recovery_max_seconds": max(known, default=None),
        "limit_seconds": MAX_RECOVERY_SECONDS,
        "band_ms": round(band, 1),
        "retried": retried,
        "each": [_told(kill, seconds) for kill, seconds in zip(kills, found, strict=True)],
    }
    if retried == 0:
        why = f"{len(kills)} kills, and no call was retried: they did not bite"
        return Finding(NAME, Verdict.UNKNOWN, why, len(kills), figures)
    if len(known) < len(kills) or p95 is None:
        why = f"{len(kills) - len(known)} of {len(kills)} kills have too few calls after them"
        return Finding(NAME, Verdict.UNKNOWN, why, len(kills), figures)
    told = (
        f"{len(kills)} kills, recovery p95 {p95:.1f} s, max {max(known):.1f} s (p99 back under "
        f"{band:.0f} ms, no failure; the limit is {MAX_RECOVERY_SECONDS:g} s); {retried} retried"
    )
    verdict = Verdict.PASS if p95 <= MAX_RECOVERY_SECONDS else Verdict.FAIL
    return Finding(NAME, verdict, told, len(kills), figures)


def _told(kill: Mark, seconds: float | None) -> dict[str, Any]:
    return {"pod": kill.what, "at": kill.at, "recovery_seconds": seconds}


def check_kills_took_hold(evidence: Evidence) -> Finding:
    """In place of took-hold: PASS when every pod that was killed was seen to be down."""
    kills = of_kind(evidence.marks, KILL)
    if evidence.fault is None or not kills:
        return Finding(TOOK_HOLD, Verdict.UNKNOWN, "nothing was killed, or it never healed")
    survived = [kill.what for kill in kills if not _went_down(evidence, kill)]
    few, figures, n = demand(evidence)
    figures = {**figures, "kills": len(kills), "went_down": len(kills) - len(survived)}
    doubts = [f"{len(survived)} of {len(kills)} stayed ready: {', '.join(survived)}"]
    if survived or few:
        told = "; ".join([*(doubts if survived else []), *few])
        return Finding(TOOK_HOLD, Verdict.UNKNOWN, told, n, figures)
    told = f"{len(kills)} pods were killed and went down, under {n} calls"
    return Finding(TOOK_HOLD, Verdict.PASS, told, n, figures)


def _went_down(evidence: Evidence, kill: Mark) -> bool:
    """Whether the pod left `ready` after the kill; the watch may tell it a little late."""
    until = kill.until if kill.until is not None else float("inf")
    return any(
        life.name == kill.what
        and any(kill.at <= at <= until and phase != READY for at, phase in life.changes)
        for life in evidence.lives
    )
