"""Whether a fault that was to come several times did so, each time in full."""

from typing import Any, Final

from hailstorm_drills.checkers.base import Finding, Verdict
from hailstorm_drills.checkers.took_hold import became_ready
from hailstorm_drills.evidence import Evidence
from hailstorm_drills.faults.operator_kill import OPERATOR_KILL
from hailstorm_drills.marks import DEPLOY, Mark, of_kind
from hailstorm_drills.pods import READY

NAME: Final = "repetitions"
OPERATOR: Final = "operator"


def check_repetitions(evidence: Evidence) -> Finding:
    """UNKNOWN unless every deploy replaced every pod that was there before it; never FAIL."""
    deploys = of_kind(evidence.marks, DEPLOY)
    wanted = evidence.parameters.times
    each = [_replaced(evidence, deploy) for deploy in deploys]
    figures: dict[str, Any] = {
        "wanted": wanted,
        "deploys": len(deploys),
        "each": [
            {"name": deploy.what, "seconds": _seconds(deploy), **told}
            for deploy, (told, _) in zip(deploys, each, strict=True)
        ],
    }
    doubts = [
        f"{deploy.what}: {doubt}" for deploy, (_, doubt) in zip(deploys, each, strict=True) if doubt
    ]
    if len(deploys) < wanted:
        doubts.insert(0, f"{len(deploys)} of {wanted} deploys began")
    if doubts or not deploys:
        why = "; ".join(doubts) or "no deploy"
        return Finding(NAME, Verdict.UNKNOWN, why, len(deploys), figures)
    replaced = sum(told["replaced"] for told, _ in each)
    why = f"{len(deploys)} deploys, each replaced every pod: {replaced} pods in all"
    return Finding(NAME, Verdict.PASS, why, len(deploys), figures)


def _seconds(mark: Mark) -> float | None:
    return None if mark.until is None else round(mark.until - mark.at, 1)


def _replaced(evidence: Evidence, deploy: Mark) -> tuple[dict[str, int], str]:
    """({replaced, of, new}, what is missing) of one deploy."""
    own = [life for life in evidence.lives if life.component in evidence.components]
    old = [life for life in own if life.phase_at(deploy.at) == READY]
    if deploy.until is None:
        return {"replaced": 0, "of": len(old), "new": 0}, "it was never seen to end"
    gone = [life for life in old if life.phase_at(deploy.until) not in (READY, None)]
    fresh = {life.component for life in own if became_ready(life, deploy.at, deploy.until)}
    missing = sorted(set(evidence.components) - fresh)
    told = {"replaced": len(gone), "of": len(old), "new": len(fresh)}
    if not old or len(gone) < len(old):
        return told, f"{len(gone)} of {len(old)} old pods went"
    return told, f"no new pod of {', '.join(missing)}" if missing else ""


def check_operator_kills(evidence: Evidence) -> Finding:
    """UNKNOWN unless the operator was killed as often as planned and came back each time."""
    kills, wanted = of_kind(evidence.marks, OPERATOR_KILL), evidence.parameters.times
    back = [kill.until - kill.at for kill in kills if kill.until is not None]
    figures = {"wanted": wanted, "kills": len(kills), "away_seconds": [round(s, 1) for s in back]}
    if len(kills) < wanted or len(back) < len(kills):
        why = f"{len(kills)} of {wanted} kills, {len(back)} times it came back"
        return Finding(OPERATOR, Verdict.UNKNOWN, why, len(kills), figures)
    why = f"killed {len(kills)} times, away for {max(back, default=0):.1f} s at most"
    verdict = Verdict.PASS if kills else Verdict.UNKNOWN
    return Finding(OPERATOR, verdict, why, len(kills), figures)
