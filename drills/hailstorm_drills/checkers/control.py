"""The control arm beside the drill: told, never judged."""

from typing import Any, Final

from hailstorm_drills.checkers.base import Finding, Verdict, bound95
from hailstorm_drills.checkers.streams import mended
from hailstorm_drills.evidence import Evidence

NAME: Final = "control"


def check_control(evidence: Evidence) -> Finding:
    """
    How many times as often calls fail without what the drill is about.

    With no failure in the drill, the ratio is at least that to the 95 % bound.
    """
    seen = evidence.control
    if seen is None or seen.get("problem"):
        why = "there was no control" if seen is None else f"no control: {seen['problem']}"
        return Finding(NAME, Verdict.UNKNOWN, why, figures=dict(seen or {}), is_judged=False)
    offered, failed = int(seen["offered"]), int(seen["failed"])
    calls = evidence.history.calls if evidence.history else ()
    resumed = mended(calls)
    ours = sum(call.outcome == "fail" and id(call) not in resumed for call in calls)
    figures: dict[str, Any] = {**seen, "share": failed / offered if offered else None}
    if not offered or not calls:
        why = f"{offered} calls of the control, {len(calls)} of the drill"
        return Finding(NAME, Verdict.UNKNOWN, why, offered, figures, is_judged=False)
    share, base = failed / offered, ours / len(calls)
    bound = bound95(ours, len(calls)) or 1.0
    ratio = share / base if ours else share / bound
    figures.update(ratio=round(ratio, 1), is_at_least=not ours, drill_share=base)
    told = (
        f"{failed} of {offered} calls failed ({share:.3%}) behind a ClusterIP, rolled "
        f"{seen.get('rolls')} times; {ours} of {len(calls)} in the drill: "
        + (f"{ratio:.1f} times as many" if ours else f"at least {ratio:.1f} times as many")
    )
    return Finding(NAME, Verdict.PASS, told, offered, figures, is_judged=False)
