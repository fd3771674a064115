"""
Releases that are bad on purpose, each put before the gate several times.

bad-deploy fails 5 % of its calls, bad-deploy-slow takes 200 ms longer for each,
bad-deploy-never-ready never becomes ready. The policy must take each of them back
by itself. In the twins nothing judges: the chart's policies are left out, or only
look on, and the drill has to take the release back by hand.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from hailstorm_drills.checkers.attempts import check_attribution
from hailstorm_drills.checkers.bad_release import (
    DETECTED,
    LATE,
    RESTORED,
    TOOK_HOLD,
    check_detected,
    check_late_failures,
    check_paid,
    check_releases_came,
    check_restored,
    from_first_failure,
    from_ready,
    on_sound_ground,
    out_after_deadline,
)
from hailstorm_drills.checkers.base import Checker
from hailstorm_drills.checkers.records import check_records
from hailstorm_drills.faults.base import Fault
from hailstorm_drills.faults.judged_release import JudgedRelease, first_seed, rehearsal
from hailstorm_drills.faults.repeated import Repeated
from hailstorm_drills.faults.stage import Stage
from hailstorm_drills.marks import DEPLOY
from hailstorm_drills.phases import HOLD, INJECT
from hailstorm_drills.plan import Parameters, Step
from hailstorm_drills.registry import Scenario
from hailstorm_operator import api

COMPONENT: Final = "location"
# The figures of the rival were taken with 4 pods under 150 calls/s, none failing
# (DESIGN, section 10).
PODS: Final = 4
# 140 NearbyDrivers and 9 ReportPositions a second: location has the load alone.
LOAD: Final[Mapping[str, Any]] = {"views_per_second": 140.0, "trips_per_minute": 30.0}
# Each number is the figure that this project set itself for such a release.
FAIL_SHARE: Final = 0.05
FAIL_SECONDS: Final = 3.0
LATE_SECONDS: Final = 6.0
PAID_SHARE: Final = 0.002
DELAY_MS: Final = 200
SLOW_SECONDS: Final = 30.0
OUT_SECONDS: Final = 15.0
# For a release that never becomes ready: long for a pod that starts in five to ten
# seconds, short enough for a drill.
READY_DEADLINE_SECONDS: Final = 45

# No number of pods may change but by the roll.
FIXED_PODS: Final = (
    f"{COMPONENT}.replicas={PODS}",
    f"scaler.{COMPONENT}.minReplicas={PODS}",
    f"scaler.{COMPONENT}.maxReplicas={PODS}",
)
# The chart's own hold, whatever the values in hand say: the figures are for it.
HOLD_SECONDS: Final = (
    "rolloutPolicy.canary.holdSeconds.min=30",
    "rolloutPolicy.canary.holdSeconds.max=60",
)
GATED: Final = ("rolloutPolicy.enabled=true", *HOLD_SECONDS, *FIXED_PODS)


def base_settings(_: Parameters) -> tuple[str, ...]:
    """The release before: gated, and of a fixed size."""
    return GATED


def _deadline_settings(_: Parameters) -> tuple[str, ...]:
    return (
        *GATED,
        f"rolloutPolicy.{COMPONENT}.progressDeadlineSeconds={READY_DEADLINE_SECONDS}",
    )


def _make(
    name: str,
    summary: str,
    bad: Mapping[str, Any],
    checkers: tuple[tuple[str, Checker], ...],
    instead: Mapping[str, Checker],
    **changes: Any,
) -> Scenario:
    serves = "neverReady" not in bad
    told = ", ".join(rehearsal(COMPONENT, 0, **bad)[:-1])

    def steps(p: Parameters) -> Sequence[Step]:
        first = "wait for its first pod to serve" if serves else "wait for its first pod to run"
        return [
            Step(INJECT, f"helm upgrade {p.release} with {told}"),
            Step(INJECT, first),
            Step(
                HOLD,
                f"wait up to {p.fault_seconds:g} s until its policy has taken it back; "
                "else take it back by hand",
            ),
            Step(HOLD, "wait until all pods are of the template before"),
            Step(
                HOLD,
                f"the same {p.times} times in all, {p.interval_seconds:g} s apart, each with "
                "another seed",
            ),
        ]

    def make_fault(stage: Stage) -> Fault:
        seed = first_seed(stage)

        def make(n: int) -> JudgedRelease:
            settings = rehearsal(COMPONENT, seed + n, **bad)
            return JudgedRelease(stage, COMPONENT, settings, serves=serves)

        return Repeated(stage, make, DEPLOY, lambda n: f"bad release {n}")

    scenario: dict[str, Any] = {
        "name": name,
        "summary": summary,
        "twin_summary": "the same without a policy: nobody takes it back",
        "twin_settings": ("rolloutPolicy.enabled=false",),
        "components": (COMPONENT,),
        "steps": steps,
        "make_fault": make_fault,
        "settings": base_settings,
        "defaults": {
            "times": 5,
            "took_hold_seconds": 60.0,
            "fault_seconds": 60.0,
            "healed_seconds": 120.0,
            # So that the next one does not meet the dregs of the one before.
            "interval_seconds": 10.0,
        },
        "load": LOAD,
        "checkers": (
            *checkers,
            # Failures are the point here: each must lie in a record, and at a pod.
            ("records", check_records),
            ("attribution", check_attribution),
        ),
        "instead": {TOOK_HOLD: check_releases_came(must_serve=serves), **instead},
    }
    return Scenario(**{**scenario, **changes})


BAD_DEPLOY: Final = _make(
    "bad-deploy",
    f"releases of {COMPONENT} that fail {FAIL_SHARE:.0%} of their calls are taken back",
    {"failShare": FAIL_SHARE},
    (
        (
            DETECTED,
            check_detected(
                from_first_failure,
                "from the first failed call to the verdict",
                (api.RULE_FAILURES,),
                FAIL_SECONDS,
            ),
        ),
        (LATE, check_late_failures(LATE_SECONDS)),
        (RESTORED, on_sound_ground(RESTORED, check_restored)),
    ),
    {"availability": check_paid(PAID_SHARE)},
)
SLOW: Final = _make(
    "bad-deploy-slow",
    f"releases of {COMPONENT} that take {DELAY_MS} ms longer are taken back",
    {"delayMilliseconds": DELAY_MS},
    (
        (
            DETECTED,
            check_detected(
                from_ready,
                "from its first ready pod to the verdict",
                (api.RULE_SLOW,),
                SLOW_SECONDS,
            ),
        ),
        (RESTORED, on_sound_ground(RESTORED, check_restored)),
    ),
    {},
    twin_summary="the same with policies that only look on",
    twin_settings=("rolloutPolicy.mode=observe",),
    defaults={
        "times": 3,
        "took_hold_seconds": 60.0,
        "fault_seconds": 90.0,
        "healed_seconds": 120.0,
        "interval_seconds": 10.0,
    },
)
NEVER_READY: Final = _make(
    "bad-deploy-never-ready",
    f"releases of {COMPONENT} that never become ready are taken back",
    {"neverReady": "true"},
    (
        (
            DETECTED,
            check_detected(
                out_after_deadline(READY_DEADLINE_SECONDS),
                "from the deadline to the last pod's end",
                (api.REASON_DEADLINE,),
                OUT_SECONDS,
                by_calls=False,
            ),
        ),
        (RESTORED, on_sound_ground(RESTORED, check_restored)),
    ),
    {},
    settings=_deadline_settings,
    defaults={
        "times": 3,
        "took_hold_seconds": 60.0,
        "fault_seconds": READY_DEADLINE_SECONDS + 45.0,
        "healed_seconds": 120.0,
        "interval_seconds": 5.0,
    },
)
SCENARIOS: Final = (BAD_DEPLOY, SLOW, NEVER_READY)
