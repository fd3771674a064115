"""The drill that is without an operator: it comes back, and takes no pod away too soon."""

from collections.abc import Callable
from typing import Any

import pytest

from hailstorm_drills.checkers.base import Verdict
from hailstorm_drills.checkers.static_stability import check_no_shrink, check_operator_away
from hailstorm_drills.cluster import CommandError
from hailstorm_drills.evidence import Evidence
from hailstorm_drills.faults.base import FaultError, guarded
from hailstorm_drills.faults.operator_away import OPERATOR_AWAY, OperatorAway
from hailstorm_drills.faults.stage import Stage
from hailstorm_drills.marks import Mark
from hailstorm_drills.replicas import Count
from unit.drills.fakes import commands, deployment, once, pod

Make = Callable[..., Evidence]
PASS, FAIL, UNKNOWN = Verdict.PASS, Verdict.FAIL, Verdict.UNKNOWN
LOWERED = ("scaler.trip.minReplicas=1",)


def operator(**changes: Any) -> dict[str, Any]:
    found = pod("hailstorm-operator-1", "operator", **changes)
    state = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
    found["status"]["containerStatuses"][0]["state"] = state
    return found


def test_operator_is_away_for_as_long_as_planned_and_comes_back(
    stage: Callable[..., Stage],
) -> None:
    own, watched = stage([], 2, fault_seconds=7.0), list[float]()
    found = own.cluster.found = {  # type: ignore[attr-defined]
        "deployments": [deployment("operator", replicas=1), deployment("recorder", replicas=1)],
        "pods": [operator()],
    }
    own.watch_load = watched.append
    fault = OperatorAway(own, LOWERED)
    fault.set_up()
    fault.inject()
    assert fault.took_hold() == "hailstorm-operator-1 is still there"
    assert own.marks.found == []
    found["pods"] = []
    assert fault.took_hold() is None
    fault.hold()
    assert watched == [7.0]
    assert own.release.set == [LOWERED]  # type: ignore[attr-defined]
    fault.recover()
    fault.clean_up()
    scale = ("scale", "--namespace", "hailstorm-system")
    assert commands(own) == [
        (*scale, "--replicas=0", "deployment/operator"),
        (*scale, "--replicas=1", "deployment/operator"),
    ]
    found["pods"] = [operator(ready=False)]
    assert fault.healed() == "the operator is not ready"
    found["pods"] = [operator()]
    assert fault.healed() is None
    (mark,) = own.marks.found
    # From the start of its process, and not from when it was ready.
    assert (mark.kind, mark.until) == (OPERATOR_AWAY, 1767225600.0)


def test_operator_that_others_bring_back_is_no_absence(stage: Callable[..., Stage]) -> None:
    own = stage([], 2)
    own.cluster.found = {  # type: ignore[attr-defined]
        "deployments": [deployment("operator", replicas=1)], "pods": [operator()],
    }  # fmt: skip
    fault = OperatorAway(own, LOWERED)
    fault.set_up()
    with pytest.raises(FaultError, match="brought the operator back"):
        fault.hold()
    own.cluster.found["pods"] = []  # type: ignore[attr-defined]
    with pytest.raises(FaultError, match="no ready operator"):
        OperatorAway(own, LOWERED).set_up()


def test_operator_is_brought_back_when_the_first_try_fails(stage: Callable[..., Stage]) -> None:
    own, scaled = stage([], 2), list[str]()
    own.cluster.found = {  # type: ignore[attr-defined]
        "deployments": [deployment("operator", replicas=1)], "pods": [operator()],
    }  # fmt: skip

    def kubectl(*words: str, **_: Any) -> str:
        scaled.append(words[3])
        if scaled == ["--replicas=0", "--replicas=1"]:
            raise CommandError("the API server does not answer")
        return ""

    own.cluster.kubectl = kubectl  # type: ignore[method-assign]
    with pytest.raises(CommandError):  # noqa: PT012, SIM117 the block is the subject
        with guarded(OperatorAway(own, LOWERED), 1.0, once) as guard:
            guard.set_up()
            guard.inject()
            raise KeyboardInterrupt
    assert scaled == ["--replicas=0", "--replicas=1", "--replicas=1"]


HELD = (Count(-9.0, 3),)
LOST = (*HELD, Count(125.0, 2))


@pytest.fixture
def away(evidence: Make, parameters: Any) -> Make:
    """The operator was away from 62 to 90; `trip` had a pod to spare and lost it 35 s later."""

    def make(counts: Any = LOST, **changes: Any) -> Evidence:
        values: dict[str, Any] = {
            "parameters": parameters(replicas=3, to_replicas=2, fault_seconds=28.0),
            "replicas": {"trip": tuple(counts), "edge": (Count(-9.0, 2),)},
            "marks": [Mark(OPERATOR_AWAY, "operator", 62.0, 90.0)],
        }
        return evidence(**{**values, **changes})

    return make


def test_absence_is_as_long_as_planned_or_unknown(away: Make, parameters: Any) -> None:
    assert check_operator_away(away()).verdict is PASS
    longer = parameters(fault_seconds=60.0)
    never = Mark(OPERATOR_AWAY, "operator", 62.0)
    few = parameters(fault_seconds=28.0, min_user_calls=9999)
    for changes in ({"parameters": longer}, {"marks": [never]}, {"marks": []}, {"parameters": few}):
        assert check_operator_away(away(**changes)).verdict is UNKNOWN


def test_pod_that_goes_after_a_window_passes(away: Make) -> None:
    found = check_no_shrink(30)(away())
    assert (found.verdict, found.n) == (PASS, 1)
    assert found.figures["first_fall_seconds"] == {"trip": 35.0}
    assert "the first did after 35 s, of 40 s that were watched" in found.why
    assert check_no_shrink(30)(away(HELD)).verdict is PASS


@pytest.mark.parametrize(
    ("at", "told"),
    [(119.0, "trip fell from 3 to 2 29.0 s after its return"), (70.0, "while it was away")],
)
def test_pod_that_goes_before_a_window_fails(at: float, told: str, away: Make) -> None:
    found = check_no_shrink(30)(away((*HELD, Count(at, 2))))
    assert found.verdict is FAIL
    assert told in found.why


def test_nothing_to_lose_or_nobody_who_looked_is_unknown(away: Make) -> None:
    assert check_no_shrink(30)(away((Count(-9.0, 2),))).verdict is UNKNOWN
    # The recovery ends at 130, forty seconds after its return.
    assert check_no_shrink(41)(away(HELD)).verdict is UNKNOWN
    assert check_no_shrink(30)(away(marks=[])).verdict is UNKNOWN
