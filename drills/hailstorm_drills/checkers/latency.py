"""How long users waited, from the moment their call was due, phase against phase."""

from collections.abc import Iterable
from typing import Any, Final

from hailstorm_drills.checkers.base import Finding, Verdict
from hailstorm_drills.evidence import Evidence
from hailstorm_drills.phases import BASELINE, RECOVER, Interval
from hailstorm_loadtests.history import STREAMS, Call, percentile

NAME: Final = "latency"
# Fewer calls than this in a phase do not have a p99.
MIN_CALLS: Final = 300


def latencies_ms(calls: Iterable[Call], interval: Interval | None) -> list[float]:
    """Latencies of calls that were due in the interval and came back with OK; no streams."""
    return [
        call.latency_seconds * 1000
        for call in calls
        if interval
        and interval.holds(call.intended)
        and call.outcome == "ok"
        and call.method not in STREAMS
    ]


def check_latency(evidence: Evidence) -> Finding:
    """
    FAIL when p99 during the fault is above one of the plan's limits, in milliseconds or
    as so many times that of the baseline; without one, report only.
    """
    if evidence.history is None:
        return Finding(NAME, Verdict.UNKNOWN, "there is no history")
    calls = evidence.history.calls
    spans = {
        "baseline": evidence.intervals.get(BASELINE),
        "fault": evidence.fault,
        "recovery": evidence.intervals.get(RECOVER),
    }
    found = {name: latencies_ms(calls, span) for name, span in spans.items()}
    figures: dict[str, Any] = {
        key: {name: _rounded(percentile(values, share)) for name, values in found.items()}
        for key, share in (("p50_ms", 0.5), ("p99_ms", 0.99), ("max_ms", 1.0))
    }
    figures["n"] = {name: len(values) for name, values in found.items()}
    figures["by_method_p99_ms"] = {
        method: {
            name: _rounded(percentile(latencies_ms(own, span), 0.99))
            for name, span in spans.items()
        }
        for method in sorted({call.method for call in calls} - STREAMS)
        for own in [[call for call in calls if call.method == method]]
    }
    n = sum(map(len, found.values()))
    thin = [f"{name} has {len(v)} calls" for name, v in found.items() if len(v) < MIN_CALLS]
    if thin:
        told = f"{', '.join(thin)}; {MIN_CALLS} are needed for a p99"
        return Finding(NAME, Verdict.UNKNOWN, told, n, figures)
    before, during = figures["p99_ms"]["baseline"], figures["p99_ms"]["fault"]
    figures["p99_ratio"] = round(during / before, 2)
    told = f"p99 {before:.0f} ms before, {during:.0f} ms during ({during / before:.1f} times)"
    limits, verdict = [], Verdict.PASS
    if (limit := evidence.parameters.max_fault_p99_ms) is not None:
        limits.append(f"{limit:.0f} ms")
        verdict = Verdict.FAIL if during > limit else verdict
    if (most := evidence.parameters.max_p99_ratio) is not None:
        figures["max_p99_ratio"] = most
        limits.append(f"{most:g} times")
        verdict = Verdict.FAIL if during > most * before else verdict
    if not limits:
        return Finding(NAME, Verdict.PASS, f"{told}; not judged in this variant", n, figures)
    is_one = len(limits) == 1
    told += f"; the limit{' is' if is_one else 's are'} {' and '.join(limits)}"
    return Finding(NAME, verdict, told, n, figures)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
