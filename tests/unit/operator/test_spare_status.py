"""What a status says of spares, case by case."""

from typing import Any

import pytest

from hailstorm_operator import api
from hailstorm_operator.spare_pool import PoolFacts
from hailstorm_operator.spare_status import MOVES, describe, keep
from hailstorm_operator.spares import Spare

GOOD = PoolFacts("app", {"app": "app"}, {"app": "app-spare"}, "digest", True)


def state(**more: Any) -> tuple[bool, str]:
    given: dict[str, Any] = {
        "count": 2,
        "spares": [Spare("a", True, False, True), Spare("b", True, False, True)],
        "facts": GOOD,
        "moves": [],
        "error": None,
        "refusal": "",
    }
    (condition,) = describe(**{**given, **more})[1]
    assert condition.type == api.CONDITION_SPARES
    return condition.status, condition.reason


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, (True, api.REASON_SPARES_READY)),
        ({"spares": [Spare("a", True, False, True)]}, (False, api.REASON_SPARES_STARTING)),
        (
            {"spares": [Spare("a", True, True, True), Spare("b", True, False, True)]},
            (True, api.REASON_SPARES_SERVING),
        ),
        ({"count": 0}, (False, api.REASON_NO_SPARES)),
        ({"refusal": "403"}, (False, api.REASON_SPARES_REFUSED)),
        (
            {"error": (api.REASON_SPARES_UNKNOWN, "no answer")},
            (False, api.REASON_SPARES_UNKNOWN),
        ),
        (
            {"facts": PoolFacts(problem=(api.REASON_NO_SERVICE, "none"))},
            (False, api.REASON_NO_SERVICE),
        ),
        (
            {"facts": PoolFacts("app", is_in_step=True, budgets=("pdb",))},
            (True, api.REASON_SPARES_COUNTED),
        ),
        ({"facts": PoolFacts("app")}, (True, api.REASON_SPARES_WAITING)),
    ],
)
def test_condition(more: dict[str, Any], expected: tuple[bool, str]) -> None:
    assert state(**more) == expected


def test_pods_of_an_earlier_template_are_not_in_step() -> None:
    spares = [Spare("a", True, False, False)]
    status, _ = describe(count=1, spares=spares, facts=GOOD, moves=[], error=None, refusal="")
    assert not status["templateInStep"]


def test_oldest_moves_are_dropped() -> None:
    moves = keep([{"pod": str(number)} for number in range(MOVES)], [{"pod": "new"}])
    assert (len(moves), moves[0], moves[-1]) == (MOVES, {"pod": "1"}, {"pod": "new"})
