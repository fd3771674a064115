"""
Our own scaler takes a service from many pods to few, under load, and nobody may notice.

`scale-down` asks what two pods that go at once cost; here the scaler chooses when and
which, one pod a window, with its warm spares beside it.
"""

from typing import Final

from hailstorm_drills.checkers.attempts import check_attribution
from hailstorm_drills.checkers.pods_gone import check_scaled_down
from hailstorm_drills.checkers.scaler_steps import NAME, check_scaler_steps
from hailstorm_drills.checkers.streams import check_streams
from hailstorm_drills.faults.scaler_steps_down import ScalerStepsDown
from hailstorm_drills.faults.stage import Stage
from hailstorm_drills.phases import HOLD, INJECT
from hailstorm_drills.plan import Parameters, Step
from hailstorm_drills.registry import Scenario
from hailstorm_drills.scalers import SERVICES, bounds, windows
from hailstorm_drills.scenarios.rolling_deploy import TWIN_SETTINGS, TWIN_SUMMARY

SHRINKING: Final = ("dispatch",)
# Six steps in a minute and a bit; the chart's own 30 s and 300 s would take eight.
STABLE_SECONDS: Final = 10
SCALE_DOWN_SECONDS: Final = 20
# The others keep the pods that they have without a scaler, by the chart.
OTHERS: Final = 2
# Dispatch has one call for each trip, and one more where drivers answer: as many calls in
# all as the profile's own load, four in seven of them about trips and not one in five.
LOAD: Final = {"trips_per_minute": 240.0, "views_per_second": 40.0}


def _names(p: Parameters) -> tuple[str, ...]:
    return p.components or SHRINKING


def settings(p: Parameters) -> tuple[str, ...]:
    """The bounds that it begins with, and windows short enough for a drill."""
    own = [bounds(name, p.replicas, p.replicas) for name in _names(p)]
    others = [bounds(name, OTHERS, OTHERS) for name in SERVICES if name not in _names(p)]
    told = (setting for each in (*own, *others) for setting in each)
    return ("scaler.enabled=true", *windows(STABLE_SECONDS, SCALE_DOWN_SECONDS), *told)


def lowered(p: Parameters) -> tuple[str, ...]:
    """What lets the scalers go down; the upper bound stays."""
    return tuple(
        setting for name in _names(p) for setting in bounds(name, p.to_replicas, p.replicas)
    )


def steps(p: Parameters) -> list[Step]:
    """From `--replicas` to `--to-replicas`, a pod at a time."""
    names = ", ".join(_names(p))
    return [
        Step(INJECT, f"helm upgrade {p.release} with {', '.join(lowered(p))}"),
        Step(INJECT, f"wait until the scaler of each of {names} has taken its first step"),
        Step(
            HOLD,
            f"wait up to {p.fault_seconds:g} s for its last one, from {p.replicas} to "
            f"{p.to_replicas} in all, and until the last pod that had to go is gone",
        ),
    ]


def make_fault(stage: Stage) -> ScalerStepsDown:
    """The lower bounds."""
    p = stage.parameters
    return ScalerStepsDown(stage, _names(p), lowered(p))


SCENARIO: Final = Scenario(
    name="scaler-steps-down",
    summary="the ServiceScaler of dispatch goes from 8 to 2, a pod at a time, under load",
    twin_summary=TWIN_SUMMARY,
    twin_settings=TWIN_SETTINGS,
    components=SHRINKING,
    steps=steps,
    make_fault=make_fault,
    settings=settings,
    defaults={"replicas": 8, "to_replicas": 2, "fault_seconds": 180.0, "offers": True},
    load=LOAD,
    checkers=(
        (NAME, check_scaler_steps(STABLE_SECONDS)),
        ("streams", check_streams),
        ("attribution", check_attribution),
    ),
    instead={"took-hold": check_scaled_down},
)
