"""Whether users' calls were answered: the whole run, every call, no sample."""

from collections import Counter

from hailstorm_drills.checkers.base import Finding, Verdict, bound95
from hailstorm_drills.checkers.streams import mended
from hailstorm_drills.evidence import Evidence

NAME = "availability"
SHED_CODE = "RESOURCE_EXHAUSTED"


def check_availability(evidence: Evidence) -> Finding:
    """
    FAIL with one failed call; UNKNOWN with one whose outcome nobody knows, or
    without a call while the fault lasted. Shed calls count as failed: a planned
    deploy is no reason to refuse anybody. A stream that broke and was resumed
    where it ended is counted by itself: its caller missed nothing.
    """
    if evidence.history is None:
        return Finding(NAME, Verdict.UNKNOWN, "there is no history")
    calls = evidence.history.calls
    fault = evidence.fault
    n = len(calls)
    resumed = mended(calls)
    outcomes = Counter("resumed" if id(call) in resumed else call.outcome for call in calls)
    during = [call for call in calls if fault and fault.holds(call.intended)]
    shed = sum(call.code == SHED_CODE for call in calls)
    retried = sum((call.attempts or 1) > 1 and call.outcome == "ok" for call in calls)
    failed, unknown = outcomes["fail"], outcomes["unknown"]
    figures = {
        "offered": n,
        "ok": outcomes["ok"],
        "failed": failed,
        "unknown": unknown,
        "shed": shed,
        "retried_ok": retried,
        "streams_resumed": outcomes["resumed"],
        "failed_bound95": bound95(failed, n),
        "offered_during_fault": len(during),
        "failed_during_fault": sum(
            call.outcome == "fail" and id(call) not in resumed for call in during
        ),
        "codes": dict(Counter(call.code for call in calls).most_common()),
        "methods": {
            method: {
                "n": count,
                "failed": sum(
                    c.method == method and c.outcome == "fail" and id(c) not in resumed
                    for c in calls
                ),
            }
            for method, count in Counter(call.method for call in calls).most_common()
        },
    }
    if not during:
        return Finding(NAME, Verdict.UNKNOWN, "no call while the fault lasted", n, figures)
    told = f"{failed} of {n} calls failed ({len(during)} while the fault lasted), {unknown} unknown"
    bound = figures["failed_bound95"]
    if failed:
        return Finding(NAME, Verdict.FAIL, f"{told}; {shed} of them were shed", n, figures)
    if unknown:
        return Finding(NAME, Verdict.UNKNOWN, told, n, figures)
    return Finding(NAME, Verdict.PASS, f"{told}; at most {bound:.4%} with 95 %", n, figures)
