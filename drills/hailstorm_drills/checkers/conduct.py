"""Whether the drill itself went as planned: no step failed, health before and after."""

from hailstorm_drills.checkers.base import Finding, Verdict
from hailstorm_drills.evidence import Evidence
from hailstorm_drills.phases import BASELINE, HOLD, INJECT, RECOVER

NAME = "conduct"
NOT_LOOKED_AT = "was not looked at"


def check_conduct(evidence: Evidence) -> Finding:
    """
    UNKNOWN when a step of the drill failed or a phase is missing; FAIL when the
    system was healthy before the fault and is not after it.
    """
    missing = [p for p in (BASELINE, INJECT, HOLD, RECOVER) if p not in evidence.intervals]
    health = evidence.health
    was_healthy = health.get("before", NOT_LOOKED_AT) is None
    after = health.get("after", NOT_LOOKED_AT)
    # Interrupted before the look, it is not known; that is no failure of the system.
    if was_healthy and after not in (None, NOT_LOOKED_AT):
        return Finding(NAME, Verdict.FAIL, f"not healthy after the drill: {after}")
    if evidence.problems:
        told = "; ".join(f"{step}: {why}" for step, why in evidence.problems.items())
        return Finding(NAME, Verdict.UNKNOWN, told)
    if missing:
        return Finding(NAME, Verdict.UNKNOWN, f"phases not reached: {', '.join(missing)}")
    if not was_healthy:
        told = f"not healthy before: {health.get('before', NOT_LOOKED_AT)}"
        return Finding(NAME, Verdict.UNKNOWN, told)
    if after is not None:
        return Finding(NAME, Verdict.UNKNOWN, f"health after the drill: {after}")
    return Finding(NAME, Verdict.PASS, "every step went as planned; healthy before and after", 1)
