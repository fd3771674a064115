"""
Ten deploys in a row under load, and beside them what a deploy costs without all this.

The release goes to and fro between two versions; each deploy is one like any
other, and ten of them have the calls that a bound of 0.01 % takes. The control
arm is a plain Deployment behind a ClusterIP Service, called directly, rolled as
often: the ratio of the two shares of failures is what the drain is worth.
"""

from typing import Final

from hailstorm_drills.checkers.attempts import check_attribution
from hailstorm_drills.checkers.control import check_control
from hailstorm_drills.checkers.records import check_records
from hailstorm_drills.checkers.repetitions import check_repetitions
from hailstorm_drills.checkers.streams import check_streams
from hailstorm_drills.faults.base import Fault
from hailstorm_drills.faults.repeated import Repeated
from hailstorm_drills.faults.stage import Stage
from hailstorm_drills.marks import DEPLOY
from hailstorm_drills.naive import NaiveControl
from hailstorm_drills.phases import HOLD, INJECT
from hailstorm_drills.plan import Parameters, Step
from hailstorm_drills.registry import Scenario
from hailstorm_drills.scenarios.frame import broken
from hailstorm_drills.scenarios.rolling_deploy import (
    COMPONENTS,
    TWIN_SETTINGS,
    TWIN_SUMMARY,
    rollout,
)

# What the project asks of p99 while it rolls, against that before.
MAX_P99_RATIO: Final = 1.5


def values_of(p: Parameters, number: int) -> tuple[str, ...]:
    """The values of the n-th deploy, from 1: odd ones go forth, even ones come back."""
    return p.next_values if number % 2 else p.values


def steps(p: Parameters) -> list[Step]:
    """To and fro."""
    told = broken(p, TWIN_SETTINGS)
    names = ", ".join(p.components or COMPONENTS)
    there, back = (", ".join(values_of(p, number)) for number in (1, 2))
    return [
        Step(INJECT, f"deploy 1: helm upgrade {p.release} to {there}{told}; the control rolls too"),
        Step(INJECT, f"wait for a new pod of each of {names}"),
        Step(
            HOLD,
            f"deploys 2 to {p.times}, {p.interval_seconds:g} s after the one before is over: "
            f"back to {back}, to {there}, and so on{told}",
        ),
        Step(HOLD, "wait until the last has rolled and its last old pod is gone"),
    ]


def make_fault(stage: Stage) -> Fault:
    """`times` rollouts."""
    p = stage.parameters

    def deploy(number: int) -> Fault:
        return rollout(stage, values_of(p, number))

    def roll_control(_: int) -> None:
        if stage.control is not None:
            stage.control.roll()

    return Repeated(stage, deploy, DEPLOY, lambda n: f"deploy {n}", roll_control)


SCENARIO: Final = Scenario(
    name="ten-deploys",
    summary="ten deploys in a row under load, and a naive Deployment rolled beside them",
    twin_summary=TWIN_SUMMARY,
    twin_settings=TWIN_SETTINGS,
    components=COMPONENTS,
    steps=steps,
    make_fault=make_fault,
    needs_next_values=True,
    end_values=lambda p: values_of(p, p.times),
    # Three deploys of 60 s are the slowest that was seen on two cores.
    defaults={
        "times": 10,
        "interval_seconds": 2.0,
        "took_hold_seconds": 90.0,
        "healed_seconds": 150.0,
        "min_user_calls": 30_000,
        "max_p99_ratio": MAX_P99_RATIO,
        "offers": True,
    },
    checkers=(
        ("repetitions", check_repetitions),
        ("streams", check_streams),
        ("records", check_records),
        ("attribution", check_attribution),
        ("control", check_control),
    ),
    make_control=NaiveControl,
    control_summary="a plain Deployment behind a ClusterIP Service, no drain, its own load",
)
