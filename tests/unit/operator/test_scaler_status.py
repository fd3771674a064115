"""What a ServiceScaler's status says, and when it is worth a write."""

from dataclasses import replace
from typing import Any

import pytest

from hailstorm_operator.conditions import Condition, merge_conditions
from hailstorm_operator.scaler_status import (
    HISTORY,
    describe,
    history_entry,
    is_news,
    is_worth_writing,
    keep,
)
from hailstorm_operator.scaling import Decision, decide_scale, replay
from hailstorm_operator.scaling_inputs import Capacity, Demand, Inputs, Memory, Rules
from hailstorm_operator.signals import Reading

RULES = Rules(1, 5, 10.0, 0.1, 4, 30.0, 300.0)
FRESH = Reading(12.0, "fresh", {"edge-0": 12.0}, ())


def decide(fast: float = 12.0, replicas: int = 2, now: float = 1000.0, **more: Any) -> Decision:
    memory = Memory(more.pop("panicking", False), now - 1, now - 1, replicas)
    demand = Demand(fast, fast, fast, more.pop("state", "fresh"))
    capacity = Capacity(replicas, replicas, more.pop("rolling", False), more.pop("conflict", ""))
    return decide_scale(Inputs(now, RULES, demand, capacity, memory))


def conditions(decision: Decision, reading: Reading = FRESH, **more: Any) -> dict[str, Condition]:
    found = describe(decision, reading, 1, more.get("conflict"))[1]
    return {one.type: one for one in found}


def test_history_entry_is_enough_for_a_replay() -> None:
    decision = decide(40.0)
    assert replay(history_entry(decision)) == decision


def test_action_is_always_news() -> None:
    assert is_news(decide(40.0), decide(now=999.9))


def test_quiet_hold_is_no_news() -> None:
    assert not is_news(decide(), decide(now=0.0))


def test_new_limit_is_news_but_not_every_second() -> None:
    def limited(now: float) -> Decision:
        before = decide(replicas=5, now=now)
        return replace(decide(500.0, replicas=5, now=now), memory=before.memory)

    assert is_news(limited(1000.0), decide(replicas=5, now=980.0))
    assert not is_news(limited(1000.0), decide(replicas=5, now=995.0))


def test_signal_that_flickers_does_not_fill_the_history() -> None:
    assert is_news(decide(state="partial"), decide(now=980.0))
    assert not is_news(decide(state="partial"), decide(now=995.0))


def test_moves_outlast_holds_in_the_history() -> None:
    history: list[dict[str, Any]] = [{"action": "up", "number": 0}]
    for number in range(1, 60):
        history = keep(history, {"action": "hold", "number": number})
    assert len(history) == HISTORY
    assert history[0] == {"action": "up", "number": 0}
    assert history[-1]["number"] == 59


def test_history_of_moves_alone_is_bounded_too() -> None:
    history: list[dict[str, Any]] = []
    for number in range(60):
        history = keep(history, {"action": "up", "number": number})
    assert [one["number"] for one in history] == list(range(40, 60))


def test_moving_figure_waits_and_a_fact_does_not() -> None:
    written = {"inFlight": 1.0, "desiredReplicas": 2}
    moved, changed = {**written, "inFlight": 2.0}, {**written, "desiredReplicas": 3}
    assert not is_worth_writing(moved, written, 5.0)
    assert is_worth_writing(moved, written, 11.0)
    assert is_worth_writing(changed, written, 0.0)
    assert not is_worth_writing(written, written, 999.0)
    assert is_worth_writing(written, None, 0.0)


@pytest.mark.parametrize(
    ("reading", "reason"),
    [
        (FRESH, "AllSourcesAnswer"),
        (Reading(9.0, "partial", {"edge-0": 9.0}, ("edge-1",)), "SomeSourcesMissing"),
        (Reading(None, "stale", {}, ("edge-0",)), "NoSourceAnswers"),
        (Reading(None, "stale", {}, ()), "ServiceHasNoEndpoints"),
        (Reading(None, "stale", {}, (), problem="403 forbidden"), "NoSourceAnswers"),
        (Reading(None, "stale", {}, (), kind="pods"), "TargetHasNoReadyPods"),
    ],
)
def test_signal_condition_names_the_state(reading: Reading, reason: str) -> None:
    condition = conditions(decide(), reading)["SignalFresh"]
    assert (condition.status, condition.reason) == (reading.state == "fresh", reason)
    assert all(name in condition.message for name in reading.missing)
    assert reading.problem in condition.message


def test_conflict_takes_the_scaler_out_of_action() -> None:
    conflict = ("HorizontalPodAutoscalerOwnsReplicas", "text")
    found = conditions(decide(conflict=conflict[0]), conflict=conflict)
    assert found["Conflict"].status
    assert not found["Active"].status


def test_contested_replicas_are_a_conflict_that_names_the_writer() -> None:
    memory = Memory(False, 0.0, 999.0, 2, 0.0, 3, 999.0)
    capacity = Capacity(2, 2, False, set_by="argocd")
    demand = Demand(12.0, 12.0, 12.0, "fresh")
    found = conditions(decide_scale(Inputs(1000.0, RULES, demand, capacity, memory)))
    assert found["Conflict"].status
    assert not found["Active"].status
    assert "argocd" in found["Conflict"].message


def test_start_is_no_step_of_the_demand() -> None:
    decision = decide(panicking=True)
    assert conditions(decision)["Panicking"].reason == "DemandStep"
    started = replace(decision, memory=replace(decision.memory, is_starting=True))
    found = conditions(started)["Panicking"]
    assert (found.status, found.reason) == (True, "ScalerStarted")


def test_limits_are_named() -> None:
    rules = replace(RULES, connections_per_pod=5, connections=10)
    memory = Memory(False, 0.0, 0.0, 2)
    inputs = Inputs(1000.0, rules, Demand(90.0, 90.0, 90.0, "fresh"), Capacity(2, 2, False), memory)
    limited = conditions(decide_scale(inputs))["Limited"]
    assert (limited.status, limited.reason) == (True, "ConnectionBudget")
    assert "connection budget of 10 holds at 5 a pod" in limited.message


def test_conditions_keep_their_time_until_the_status_flips() -> None:
    first = merge_conditions([], [Condition("Active", True, "A", "")], "t1")
    second = merge_conditions(first, [Condition("Active", True, "B", "text")], "t2")
    assert (second[0]["lastTransitionTime"], second[0]["reason"]) == ("t1", "B")
    third = merge_conditions(second, [Condition("Active", False, "C", "")], "t3")
    assert third[0]["lastTransitionTime"] == "t3"
