"""The drill in which our own scaler goes down, and what it is judged by."""

from collections.abc import Callable
from typing import Any

import pytest

from hailstorm_drills.checkers.base import Verdict
from hailstorm_drills.checkers.scaler_steps import check_scaler_steps
from hailstorm_drills.evidence import Evidence
from hailstorm_drills.faults.base import FaultError, guarded
from hailstorm_drills.faults.scaler_steps_down import ScalerStepsDown
from hailstorm_drills.faults.stage import Stage
from hailstorm_drills.marks import Mark
from hailstorm_drills.replicas import Change, Count, changes_between, read_replicas, replicas_at
from hailstorm_drills.scalers import SCALER, writes_of
from hailstorm_drills.scenarios import operator_away, scaler_steps_down
from unit.drills.fakes import deployment, make_stage, once, pod

Make = Callable[..., Evidence]
PASS, FAIL, UNKNOWN = Verdict.PASS, Verdict.FAIL, Verdict.UNKNOWN
LOWERED = ("scaler.trip.minReplicas=1",)


def decision(at: float, before: int, after: int, action: str = "down") -> dict[str, Any]:
    inputs = {"now": at, "capacity": {"replicas": before}}
    return {"inputs": inputs, "desired": after, "action": action, "clamp": "stepDown"}


def scaler(*decisions: dict[str, Any], name: str = "trip") -> dict[str, Any]:
    moves = [{"at": "2100-01-01T00:00:00Z", "pod": "spare", "to": "service", "why": "demand"}]
    return {
        "spec": {"targetRef": {"name": name}},
        "status": {"decisions": list(decisions), "spares": {"moves": moves}},
    }


def counted(at: float, replicas: int, kind: str = "MODIFIED") -> dict[str, Any]:
    body = {"metadata": {"name": "trip"}, "spec": {"replicas": replicas}}
    return {"at": at, "type": kind, "object": body}


def test_replicas_are_read_from_the_watch() -> None:
    events = [
        counted(1, 3, "ADDED"), counted(2, 3), {"at": 3, "type": "GAP"}, counted(4, 2),
        counted(5, 2), counted(6, 4), {**counted(7, 4), "type": "DELETED"},
    ]  # fmt: skip
    counts = read_replicas(events)["trip"]
    assert counts == (Count(1, 3), Count(4, 2), Count(6, 4))
    assert [replicas_at(counts, at) for at in (0, 1, 5, 99)] == [None, 3, 2, 4]
    assert changes_between(counts, 4, 6) == [Change(4, 3, 2)]
    assert changes_between(counts, 0, 99) == [Change(4, 3, 2), Change(6, 2, 4)]


def test_only_writes_since_then_are_the_scalers_own() -> None:
    told = scaler(decision(50, 4, 3), decision(100, 3, 3, "hold"), decision(101, 3, 2))
    assert writes_of(told, 100) == [{"at": 101, "from": 3, "to": 2, "clamp": "stepDown"}]
    assert writes_of({}, 100) == []


def test_scaler_is_let_down_and_watched_to_its_last_step(stage: Callable[..., Stage]) -> None:
    own = stage([pod("a"), pod("b")], 2, to_replicas=1, fault_seconds=9.0)
    own.settings = ("scaler.enabled=true",)
    own.cluster.get = lambda *_: {"items": [scaler(decision(9e9, 2, 1))]}  # type: ignore[method-assign]
    fault = ScalerStepsDown(own, ("trip",), LOWERED)
    with pytest.raises(FaultError, match="last step: trip has 2 replicas"):  # noqa: PT012, SIM117 the block is the subject
        with guarded(fault, 1.0, once) as guard:
            guard.set_up()
            guard.inject()
            assert fault.took_hold() == "trip did not shrink yet"
            own.deployments.objects()[0]["spec"]["replicas"] = 1
            guard.wait_took_hold(1.0)
            own.deployments.objects()[0]["spec"]["replicas"] = 2
            guard.hold()
    assert own.release.set == [("scaler.enabled=true", *LOWERED)]  # type: ignore[attr-defined]
    # Also of one that did not go through, it is kept what the scaler says.
    (mark,) = own.marks.found
    assert (mark.kind, mark.what, mark.until is None) == (SCALER, "trip", False)
    assert [write["to"] for write in mark.figures["writes"]] == [1]
    assert mark.figures["spare_moves"][0]["to"] == "service"


@pytest.mark.parametrize(
    ("found", "replicas", "told"),
    [([scaler()], 3, "trip has 2 replicas and not 3"), ([], 2, "no ServiceScaler of trip")],
)
def test_scaler_that_cannot_go_down_is_refused(
    found: list[Any], replicas: int, told: str, parameters: Any
) -> None:
    own = make_stage(parameters(replicas=replicas), [pod("a"), pod("b")], [deployment(replicas=2)])
    own.cluster.get = lambda *_: {"items": found}  # type: ignore[method-assign]
    with pytest.raises(FaultError, match=told):
        ScalerStepsDown(own, ("trip",), LOWERED).set_up()


STEPS = (Count(-9.0, 4), Count(70.0, 3), Count(80.2, 2))


@pytest.fixture
def stepped(evidence: Make, parameters: Any, life: Any) -> Make:
    """`trip` went from 4 to 2 in two steps, ten seconds apart; the scaler wrote both."""

    def make(counts: Any = STEPS, writes: Any = ((4, 3), (3, 2)), **changes: Any) -> Evidence:
        figures = {"writes": [{"from": a, "to": b} for a, b in writes], "spare_moves": []}
        values: dict[str, Any] = {
            "parameters": parameters(replicas=4, to_replicas=2),
            "replicas": {"trip": tuple(counts)},
            "marks": [Mark(SCALER, "trip", 60.0, 99.0, figures)],
            "lives": [life("a", "trip", "10.0.0.1", (-9.0, "ready"))],
        }
        return evidence(**{**values, **changes})

    return make


def test_steps_a_window_apart_pass(stepped: Make) -> None:
    found = check_scaler_steps(10)(stepped())
    assert (found.verdict, found.n) == (PASS, 2)
    assert found.figures["trip"]["steps"] == [[10.0, 4, 3], [20.2, 3, 2]]
    assert found.figures["trip"]["shortest_wait_seconds"] == 10.2
    # Forty seconds at twenty a second.
    assert "from 4 to 2 in 2 steps, 10.2 s apart at least" in found.why
    assert "under 800 calls of users to it" in found.why


@pytest.mark.parametrize(
    ("counts", "writes", "told"),
    [
        ((Count(0, 4), Count(70, 2)), ((4, 2),), "trip went from 4 to 2 at once"),
        ((*STEPS[:2], Count(75.0, 2)), ((4, 3), (3, 2)), "two steps within 5.0 s"),
        (STEPS, ((4, 3),), "trip from 3 to 2 was not the scaler's"),
    ],
)
def test_steps_that_a_scaler_does_not_take_fail(
    counts: Any, writes: Any, told: str, stepped: Make
) -> None:
    found = check_scaler_steps(10)(stepped(counts, writes))
    assert found.verdict is FAIL
    assert told in found.why


@pytest.mark.parametrize(
    "changes",
    [
        {"counts": STEPS[:2], "writes": ((4, 3),)},
        {"writes": ()},
        {"marks": []},
        {"counts": ()},
        {"intervals": {}},
        # Down, up, and down again.
        {
            "counts": (*STEPS[:2], Count(75.0, 4), Count(85.0, 3), Count(95.0, 2)),
            "writes": ((4, 3), (3, 4), (4, 3), (3, 2)),
        },
    ],
)
def test_scaler_of_which_too_little_is_known_is_unknown(
    changes: dict[str, Any], stepped: Make
) -> None:
    assert check_scaler_steps(10)(stepped(**changes)).verdict is UNKNOWN


def test_bounds_are_those_of_the_plan(parameters: Any) -> None:
    p = parameters(replicas=8, to_replicas=2)
    assert scaler_steps_down.lowered(p) == (
        "scaler.dispatch.minReplicas=2",
        "scaler.dispatch.maxReplicas=8",
    )
    told = scaler_steps_down.settings(p)
    # Nobody else may change their pods meanwhile.
    assert {"scaler.dispatch.minReplicas=8", "scaler.trip.maxReplicas=2"} <= set(told)
    one = parameters(replicas=3, to_replicas=2, components=("trip",))
    assert {word.split(".")[1] for word in operator_away.lowered(one)} == {"trip"}
