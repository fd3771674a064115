"""What a decision about the target means for its spares."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from hailstorm_operator import api
from hailstorm_operator.inventory import view_deployment
from hailstorm_operator.pod_views import PodView
from hailstorm_operator.scaler_rules import demand_of, late_pods, round_of
from hailstorm_operator.scaling import Decision, decide_scale
from hailstorm_operator.scaling_inputs import Capacity, Demand, Inputs, Memory, Rules
from hailstorm_operator.signals import Reading
from hailstorm_operator.spares import Round
from hailstorm_operator.windows import SignalWindows
from unit.operator.objects import deployment

RULES = Rules(1, 4, 5.0, 0.1, 4, 30.0, 30.0, startup_seconds=10.0)


def decide(fast: float | None, **more: Any) -> Decision:
    demand = Demand(fast, fast, fast, more.get("state", "fresh"), 0, more.get("slope", 0.0))
    capacity = Capacity(4, 4, rollout_in_progress=False, conflict=more.get("conflict", ""))
    return decide_scale(Inputs(1000.0, RULES, demand, capacity, Memory(False, 0.0, 0.0)))


def round_for(fast: float | None, **more: Any) -> Round:
    view = view_deployment(deployment())
    return round_of(decide(fast, **more), view, is_judged=False)


def test_spares_see_the_demand_above_the_bound() -> None:
    found = round_for(38.0)
    assert (found.wanted, found.desired) == (8, 4)


def test_what_a_slope_will_bring_is_not_for_spares() -> None:
    decision = decide(19.0, slope=2.0)
    assert decision.wanted is not None
    assert decision.wanted > 4
    assert round_of(decision, view_deployment(deployment()), is_judged=False).wanted == 4


def test_all_spares_go_to_a_queue_that_rises_beyond_what_the_replicas_hold() -> None:
    def wanted(fast: float, *, is_rising: bool, lent: int = 0) -> int | None:
        demand = Demand(fast, 18.0, 18.0, "fresh", is_rising=is_rising)
        capacity = Capacity(4, 4, False, spares=6, spares_ready=6, spares_serving=lent)
        decision = decide_scale(Inputs(1000.0, RULES, demand, capacity, Memory(False, 0, 0)))
        view = replace(view_deployment(deployment()), replicas=4, ready=4)
        return round_of(decision, view, is_judged=False).wanted

    assert wanted(26.0, is_rising=True) == 10
    assert wanted(26.0, is_rising=False) == 6
    # Once they carry it, a ripple that rises is none.
    assert wanted(26.0, is_rising=True, lent=2) == 6
    # What the replicas hold needs no spare, however it rises.
    assert wanted(19.0, is_rising=True) == 4


def test_demand_is_what_the_windows_tell() -> None:
    windows = SignalWindows(2.0, 10.0, 60.0)
    for at, value in enumerate((4.0, 4.0, 4.0, 4.0, 10.0)):
        windows.add(float(at), value)
        windows.plan(float(at), value)
    refused = {"shed_per_second": 60.0, "service_seconds": 0.05}
    reading = Reading(10.0, "partial", {"edge-0": 10.0}, (), **refused)
    found = demand_of(windows, reading, 4.0)
    assert (found.fast, found.stable, found.peak) == (7.0, 5.2, 10.0)
    assert (found.state, found.is_rising) == ("partial", True)
    assert found.shed == pytest.approx(3.0)
    assert demand_of(windows, replace(reading, state="stale"), 4.0).fast is None


def test_pods_are_late_by_how_long_they_have_not_been_ready() -> None:
    def at(seconds: int, **more: Any) -> PodView:
        since = f"2026-01-01T00:{seconds // 60:02}:{seconds % 60:02}Z"
        known = {"node": "", "ready": False, "leaving": False, "created": "", "labels": {}}
        return PodView("app", "", **{**known, "unready_since": since, **more})

    now = datetime(2026, 1, 1, 0, 5, tzinfo=UTC).timestamp()
    # For 29, 30, 119 and 120 s; one that leaves, and one that is ready, are not late.
    pods = [at(271), at(270), at(181), at(180), at(0, leaving=True), at(0, unready_since="")]
    assert late_pods(pods, now, RULES) == (3, 1)
    assert late_pods([], now, RULES) == (0, 0)


def test_what_is_put_up_with_is_no_demand() -> None:
    assert decide(21.0).clamp == api.CLAMP_TOLERANCE
    assert round_for(21.0).wanted == 4


def test_missing_signal_conflict_and_partial_signal_are_passed_on() -> None:
    assert round_for(None, state="stale").wanted is None
    assert round_for(10.0, conflict="hpa").is_conflicted
    assert not round_for(10.0, state="partial").is_signal_whole
