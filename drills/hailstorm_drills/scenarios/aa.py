"""
Releases that are no different, over a background of errors: a gate must be calm.

Every version fails 0.5 % of its calls. Releases that differ by nothing but a seed
come back to back, each held for its judgement; then a few that fail 2 %, because
a gate that never acts is calm as well. That is also the twin: policies that only
look on.
"""

from collections.abc import Sequence
from typing import Final

from hailstorm_drills.checkers.availability import check_availability
from hailstorm_drills.checkers.bad_release import (
    CALM,
    DETECTED,
    MOST_BAD_BEFORE,
    TOOK_HOLD,
    check_calm,
    check_detected,
    check_releases_came,
    from_ready,
    told_only,
)
from hailstorm_drills.checkers.records import check_records
from hailstorm_drills.checkers.recovery import check_recovery
from hailstorm_drills.faults.base import Fault
from hailstorm_drills.faults.judged_release import (
    BAD,
    IDENTICAL,
    JudgedRelease,
    first_seed,
    rehearsal,
)
from hailstorm_drills.faults.repeated import Repeated
from hailstorm_drills.faults.stage import Stage
from hailstorm_drills.marks import DEPLOY
from hailstorm_drills.phases import HOLD, INJECT
from hailstorm_drills.plan import Parameters, Step
from hailstorm_drills.registry import Scenario
from hailstorm_drills.scenarios.bad_deploy import COMPONENT, GATED, LOAD
from hailstorm_operator import api

BACKGROUND: Final = 0.005
WORSE: Final = 0.02
# One release at 2 % is caught within 20 s in four of five cases, and in nine of ten
# before its promotion (docs/decisions/alpha-is-two-percent.md): asking that of a single
# one would make the drill a die, so the median of five is asked.
WORSE_RELEASES: Final = 5
WORSE_SECONDS: Final = 20.0
IDENTICAL_RELEASES: Final = 30
MOST_FALSE: Final = 1


def identical_of(p: Parameters) -> int:
    """How many of `times` are no different; the last few are worse."""
    return max(0, p.times - WORSE_RELEASES)


def base_settings(p: Parameters) -> tuple[str, ...]:
    """The release before: gated, of a fixed size, and failing as much as every other."""
    return (*GATED, *rehearsal(COMPONENT, p.seed, failShare=BACKGROUND))


def steps(p: Parameters) -> Sequence[Step]:
    """What the fault does."""
    told = rehearsal(COMPONENT, 0, failShare=WORSE)[0]
    return [
        Step(INJECT, f"helm upgrade {p.release} with another {COMPONENT}.rehearsal.seed"),
        Step(INJECT, "wait for its first pod to serve"),
        Step(HOLD, f"wait up to {p.fault_seconds:g} s for its policy's verdict"),
        Step(HOLD, f"the same {identical_of(p)} times in all, back to back, then let it roll"),
        Step(HOLD, f"{min(p.times, WORSE_RELEASES)} releases with {told}, to be taken back"),
    ]


def make_fault(stage: Stage) -> Fault:
    """Releases in a row."""
    p = stage.parameters
    identical, seed = identical_of(p), first_seed(stage)

    def make(n: int) -> JudgedRelease:
        kind = IDENTICAL if n <= identical else BAD
        share = BACKGROUND if kind == IDENTICAL else WORSE
        return JudgedRelease(
            stage,
            COMPONENT,
            rehearsal(COMPONENT, seed + n, failShare=share),
            kind=kind,
            settles=n >= identical,
            back=rehearsal(COMPONENT, seed + identical, failShare=BACKGROUND),
        )

    def name(n: int) -> str:
        return f"identical {n}" if n <= identical else f"worse {n - identical}"

    return Repeated(stage, make, DEPLOY, name)


SCENARIO: Final = Scenario(
    name="aa",
    summary=f"{IDENTICAL_RELEASES} identical releases of {COMPONENT} pass, worse ones do not",
    twin_summary="the same with policies that only look on",
    twin_settings=("rolloutPolicy.mode=observe",),
    components=(COMPONENT,),
    steps=steps,
    make_fault=make_fault,
    settings=base_settings,
    defaults={
        "times": IDENTICAL_RELEASES + WORSE_RELEASES,
        "took_hold_seconds": 60.0,
        # The chart's longest hold, 60 s, and the last looks.
        "fault_seconds": 75.0,
        "healed_seconds": 120.0,
        # Its own background, four times over.
        "max_baseline_failed_share": MOST_BAD_BEFORE,
    },
    load={**LOAD, "max_calls": 1_500_000},
    checkers=(
        (CALM, check_calm(MOST_FALSE)),
        (
            DETECTED,
            check_detected(
                from_ready,
                "from its first ready pod to the verdict",
                (api.RULE_FAILURES, api.RULE_PAST),
                WORSE_SECONDS,
                may_miss=True,
            ),
        ),
        # No `attribution`: it asks for attempts of the whole drill, which takes longer than
        # the recorder keeps them (half an hour); each record was given its own in time.
        ("records", check_records),
    ),
    instead={
        TOOK_HOLD: check_releases_came(must_serve=True),
        # Failures are this drill's background and not what it asks about.
        "availability": told_only(check_availability),
        "recovery": told_only(check_recovery),
    },
)
