"""Whether the load generator may be believed: on time, complete, at the wanted rate."""

from typing import Final

from hailstorm_drills.checkers.base import Finding, Verdict
from hailstorm_drills.evidence import Evidence
from hailstorm_drills.phases import BASELINE, HOLD, Interval
from hailstorm_loadtests.history import percentile

NAME: Final = "generator"
# Of the rate that the profile comes to by its own arithmetic, which is an
# estimate: lives of trips vary with what the system answers.
MIN_RATE_SHARE: Final = 0.9


def check_generator(evidence: Evidence) -> Finding:
    """UNKNOWN when it lagged, lost a line, was cut short, or offered too little; never FAIL."""
    load, history = evidence.load, evidence.history
    if load is None or history is None:
        return Finding(NAME, Verdict.UNKNOWN, "there is no history, or no word of the master")
    n = len(history.calls)
    lag_ms = percentile([call.lag_seconds * 1000 for call in history.calls], 0.99)
    limit = evidence.parameters.max_generator_lag_ms
    base, hold = evidence.intervals.get(BASELINE), evidence.intervals.get(HOLD)
    rate = None
    if base and hold:
        span = Interval(base.start, hold.end)
        rate = sum(span.holds(call.intended) for call in history.calls) / span.seconds
    wanted = load.get("calls_per_second")
    figures = {
        "lag_p99_ms": None if lag_ms is None else round(lag_ms, 1),
        "lines_received": load.get("lines_received"),
        "lines_declared": load.get("lines_declared"),
        "calls_per_second": None if rate is None else round(rate, 1),
        "wanted_calls_per_second": wanted,
        "cpu_seconds": round(sum(g.get("cpu_seconds", 0) for g in history.generator), 1),
        "workers": len(history.generator),
    }
    doubts = []
    if not load.get("is_complete"):
        doubts.append(f"the history is not complete: {load.get('why') or load.get('state')}")
    if load.get("lines_received") != n + len(history.generator):
        doubts.append(f"{load.get('lines_received')} lines were received, the file holds {n} calls")
    if lag_ms is None or lag_ms > limit:
        told = "no call" if lag_ms is None else f"{lag_ms:.0f} ms"
        doubts.append(f"its lag was {told} (p99), the limit is {limit:.0f} ms")
    for worker in history.generator:
        if worker.get("is_capped") or worker.get("abandoned_greenlets"):
            doubts.append(f"worker {worker.get('worker')} was cut short")
    if rate is None or wanted is None or rate < MIN_RATE_SHARE * wanted:
        doubts.append(f"it offered {rate or 0:.0f} calls/s, {wanted or 0:.0f} were wanted")
    if doubts:
        return Finding(NAME, Verdict.UNKNOWN, "; ".join(doubts), n, figures)
    return Finding(
        NAME,
        Verdict.PASS,
        f"lag p99 {lag_ms:.0f} ms, {rate:.0f} calls/s, no line of {n} lost",
        n,
        figures,
    )
