"""When users first and last felt it: from the fault's start to the last bad window."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hailstorm_drills.checkers.base import Finding, Verdict
from hailstorm_drills.checkers.latency import latencies_ms
from hailstorm_drills.evidence import Evidence
from hailstorm_drills.phases import BASELINE, RECOVER, Interval
from hailstorm_loadtests.history import STREAMS, Call, percentile

NAME: Final = "recovery"
# A second at 100 calls/s has no p99 worth the name; five have.
WINDOW_SECONDS: Final = 5.0
# The band: twice the baseline's p99, but never tighter than this much above
# it, or a single late packet would count as damage. A guess, printed.
BAND_FACTOR: Final = 2.0
BAND_FLOOR_MS: Final = 50.0


@dataclass(frozen=True)
class Window:
    """Some seconds of the run, and whether users felt anything in them."""

    start: float
    end: float
    n: int
    not_ok: int
    p99_ms: float | None
    is_bad: bool


def windows(calls: Sequence[Call], span: Interval, band_ms: float) -> list[Window]:
    """The span cut into windows; the last may be short and is left out when tiny."""
    count = math.ceil(span.seconds / WINDOW_SECONDS - 0.2)
    found = []
    for number in range(count):
        start = span.start + number * WINDOW_SECONDS
        end = min(start + WINDOW_SECONDS, span.end)
        inside = [c for c in calls if start <= c.intended < end and c.method not in STREAMS]
        not_ok = sum(call.outcome != "ok" for call in inside)
        p99 = percentile([call.latency_seconds * 1000 for call in inside], 0.99)
        found.append(
            Window(
                start,
                end,
                len(inside),
                not_ok,
                p99,
                is_bad=bool(not_ok) or p99 is None or p99 > band_ms,
            )
        )
    return found


def check_recovery(evidence: Evidence) -> Finding:
    """FAIL when the last window of the recovery is still bad; figures either way."""
    fault, after = evidence.fault, evidence.intervals.get(RECOVER)
    if evidence.history is None or fault is None or after is None:
        return Finding(NAME, Verdict.UNKNOWN, "no history, or the phases were not reached")
    calls = evidence.history.calls
    base = percentile(latencies_ms(calls, evidence.intervals.get(BASELINE)), 0.99)
    if base is None:
        return Finding(NAME, Verdict.UNKNOWN, "the baseline has no call to compare with")
    band = max(BAND_FACTOR * base, base + BAND_FLOOR_MS)
    found = windows(calls, Interval(fault.start, after.end), band)
    if not found:
        return Finding(NAME, Verdict.UNKNOWN, "nothing between the fault and the end")
    bad = [window for window in found if window.is_bad]
    not_ok = [c.ended for c in calls if c.outcome != "ok" and c.intended >= fault.start]
    recovery = bad[-1].end - fault.start if bad else 0.0
    figures = {
        "band_ms": round(band, 1),
        "windows": len(found),
        "bad_windows": len(bad),
        "first_bad_seconds": round(bad[0].start - fault.start, 1) if bad else None,
        "last_bad_seconds": round(recovery, 1) if bad else None,
        "first_failure_seconds": round(min(not_ok) - fault.start, 3) if not_ok else None,
        "last_failure_seconds": round(max(not_ok) - fault.start, 3) if not_ok else None,
        "recovery_seconds": round(recovery, 1),
    }
    told = (
        f"{len(bad)} of {len(found)} windows of {WINDOW_SECONDS:.0f} s were bad, the last ended "
        f"{recovery:.0f} s after the fault began"
        if bad
        else f"none of {len(found)} windows of {WINDOW_SECONDS:.0f} s left the band"
    )
    told += f" (band: p99 up to {band:.0f} ms, no failure)"
    verdict = Verdict.FAIL if found[-1].is_bad else Verdict.PASS
    return Finding(NAME, verdict, told, len(found), figures)
