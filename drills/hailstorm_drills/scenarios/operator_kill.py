"""A rolling deploy whose operator is killed half-way: traffic does not care, records are whole."""

from typing import Final

from hailstorm_drills.checkers.records import check_records
from hailstorm_drills.checkers.repetitions import check_operator_kills
from hailstorm_drills.checkers.streams import check_streams
from hailstorm_drills.faults.operator_kill import OperatorKill
from hailstorm_drills.phases import HOLD
from hailstorm_drills.plan import Parameters, Step
from hailstorm_drills.registry import Scenario
from hailstorm_drills.scenarios import rolling_deploy
from hailstorm_drills.scenarios.rolling_deploy import COMPONENTS, TWIN_SETTINGS, TWIN_SUMMARY


def steps(p: Parameters) -> list[Step]:
    """A rolling deploy, and a kill in it."""
    *begin, end = rolling_deploy.steps(p)
    kill = Step(HOLD, f"SIGKILL the operator, {p.times} times, each when it is back")
    return [*begin, kill, end]


SCENARIO: Final = Scenario(
    name="operator-kill",
    summary="roll the three services and SIGKILL the operator in the middle of it",
    twin_summary=TWIN_SUMMARY,
    twin_settings=TWIN_SETTINGS,
    components=COMPONENTS,
    steps=steps,
    make_fault=lambda stage: OperatorKill(stage, rolling_deploy.make_fault(stage)),
    needs_next_values=True,
    checkers=(
        ("operator", check_operator_kills),
        ("streams", check_streams),
        ("records", check_records),
    ),
)
