"""Whether the drill itself went as planned: no step failed, health before and after."""

from hailstorm_drills.checkers.base import Finding, Verdict
from hailstorm_drills.evidence import Evidence
from hailstorm_drills.phases import BASELINE, HOLD, INJECT, RECOVER

NAME = "conduct"


def check_conduct(evidence: Evidence) -> Finding:
    """
    UNKNOWN when a step of the drill failed or a phase is missing; FAIL when the
    system was healthy before the fault and is not after it.
    """
    missing = [p for p in (BASELINE, INJECT, HOLD, RECOVER) if p not in evidence.intervals]
    health = evidence.health
    after = health.get("after", "was not looked at")
    if health.get("before", "was not looked at") is None and after is not None:
        return Finding(NAME, Verdict.FAIL, f"not healthy after the drill: {after}")
    if evidence.problems:
        told = "; ".join(f"{step}: {why}" for step, why in evidence.problems.items())
        return Finding(NAME, Verdict.UNKNOWN, told)
    if missing:
        return Finding(NAME, Verdict.UNKNOWN, f"phases not reached: {', '.join(missing)}")
    if health.get("before", "was not looked at") is not None:
        return Finding(NAME, Verdict.UNKNOWN, f"not healthy before: {health.get('before')}")
    return Finding(NAME, Verdict.PASS, "every step went as planned; healthy before and after", 1)
