"""
Static stability: five minutes without an operator, and its return, under load.

Nobody may notice that it is away. When it comes back it could take a pod from each
service, since the bounds were lowered meanwhile, and must not before it has watched
for a full window. The twin's scalers forget sooner: they must be seen to shrink.
"""

from typing import Final

from hailstorm_drills.checkers.attempts import check_attribution
from hailstorm_drills.checkers.static_stability import (
    NAME,
    check_no_shrink,
    check_operator_away,
)
from hailstorm_drills.checkers.streams import check_streams
from hailstorm_drills.faults.operator_away import OperatorAway
from hailstorm_drills.faults.stage import Stage
from hailstorm_drills.phases import HOLD, INJECT
from hailstorm_drills.plan import Parameters, Step
from hailstorm_drills.registry import Scenario
from hailstorm_drills.scalers import SERVICES, bounds, windows

# The chart's own stable window; the scale-down window may not be shorter.
STABLE_SECONDS: Final = 30
# As short as a ServiceScaler may have it.
TWIN_SECONDS: Final = 5


def _names(p: Parameters) -> tuple[str, ...]:
    return p.components or SERVICES


def settings(p: Parameters) -> tuple[str, ...]:
    """A pod more of each service than it will have to keep."""
    own = (setting for name in _names(p) for setting in bounds(name, p.replicas, p.replicas))
    return ("scaler.enabled=true", *windows(STABLE_SECONDS, STABLE_SECONDS), *own)


def lowered(p: Parameters) -> tuple[str, ...]:
    """What the operator finds changed on its return."""
    return tuple(
        setting for name in _names(p) for setting in bounds(name, p.to_replicas, p.replicas)
    )


def steps(p: Parameters) -> list[Step]:
    """Away, and back."""
    return [
        Step(INJECT, f"kubectl scale the operator in {p.operator_namespace} to 0"),
        Step(INJECT, "wait until its last pod is gone"),
        Step(HOLD, f"helm upgrade {p.release} with {', '.join(lowered(p))}"),
        Step(HOLD, f"watch {p.fault_seconds:g} s without an operator"),
        Step(HOLD, "kubectl scale the operator to what it was, and wait until it is ready"),
    ]


def make_fault(stage: Stage) -> OperatorAway:
    """The operator's absence."""
    return OperatorAway(stage, lowered(stage.parameters))


SCENARIO: Final = Scenario(
    name="operator-away",
    summary="no operator for 5 minutes under load, and no shrinking on its return",
    twin_summary=f"the same with scalers whose windows are {TWIN_SECONDS} s: they shrink too soon",
    twin_settings=windows(TWIN_SECONDS, TWIN_SECONDS),
    components=SERVICES,
    steps=steps,
    make_fault=make_fault,
    settings=settings,
    defaults={
        "replicas": 3,
        "to_replicas": 2,
        "fault_seconds": 300.0,
        # Twice the window: a shrink that comes in its time is seen, too.
        "recover_seconds": 60.0,
    },
    checkers=(
        (NAME, check_no_shrink(STABLE_SECONDS)),
        ("streams", check_streams),
        ("attribution", check_attribution),
    ),
    instead={"took-hold": check_operator_away},
)
