"""Whether failed attempts are put to the pod and to what the pod was doing."""

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

from hailstorm_drills.checkers.base import Finding, Verdict
from hailstorm_drills.evidence import Evidence
from hailstorm_drills.marks import KILL, of_kind
from hailstorm_drills.pods import PodLife, pod_at
from hailstorm_drills.recorder import epoch, told_gaps

NAME: Final = "attribution"
# Issue 5: of failed attempts.
MIN_SHARE: Final = 0.99
NOWHERE: Final = ("unattributed", "")
LAST_OF_SECOND: Final = 0.999


def check_attribution(evidence: Evidence) -> Finding:
    """
    FAIL when less than 99 % of failed attempts can be put to a pod and its phase.

    UNKNOWN when the recorder has a gap, saw no attempt at all, or saw none fail
    though pods were killed. None failed of all that were seen is PASS, with n 0.
    """
    seen = evidence.recorder
    if seen is None:
        why = evidence.problems.get("recorder", "the recorder was not asked")
        return Finding(NAME, Verdict.UNKNOWN, why)
    found: Counter[tuple[str, str]] = Counter()
    for failure in seen["failures"]:
        at = epoch(failure["at"])
        address = str(failure.get("address") or "")
        found[_place(evidence.lives, address, at)] += 1
    # A count says its second and no moment in it: both ends must say the same.
    for many in seen["unsampled"]:
        at, address = epoch(many["at"]), str(many.get("address") or "")
        ends = {_place(evidence.lives, address, moment) for moment in (at, at + LAST_OF_SECOND)}
        found[ends.pop() if len(ends) == 1 else NOWHERE] += int(many["count"])
    total = int(seen["total"])
    attributed = sum(found.values()) - found[NOWHERE]
    figures: dict[str, Any] = {
        "attempts": seen["attempts"],
        "failed_attempts": total,
        "attributed": attributed,
        "without_sample": seen["omitted"],
        "share": attributed / total if total else None,
        "by_pod_phase": {f"{c} {p}".strip(): count for (c, p), count in found.most_common()},
    }
    if not seen["complete"]:
        why = f"the recorder has a gap: {told_gaps(seen['gaps'])}"
        return Finding(NAME, Verdict.UNKNOWN, why, total, figures)
    if not seen["attempts"]:
        return Finding(NAME, Verdict.UNKNOWN, "the recorder saw no attempt", 0, figures)
    if not total:
        told = f"none of {seen['attempts']} attempts failed"
        if of_kind(evidence.marks, KILL):
            return Finding(NAME, Verdict.UNKNOWN, f"{told}, though pods were killed", 0, figures)
        return Finding(NAME, Verdict.PASS, f"{told}: nothing to put anywhere", 0, figures)
    told = (
        f"{attributed} of {total} failed attempts were put to a pod and its phase "
        f"({attributed / total:.1%}); {seen['attempts']} attempts in all"
    )
    verdict = Verdict.PASS if attributed >= MIN_SHARE * total else Verdict.FAIL
    return Finding(NAME, verdict, told, total, figures)


def _place(lives: Iterable[PodLife], address: str, at: float) -> tuple[str, str]:
    """Component and phase of the pod that had this ip:port at a moment."""
    life = pod_at(lives, address.rpartition(":")[0], at) if address else None
    phase = life.phase_at(at) if life else None
    return (life.component, phase) if life and phase else NOWHERE
