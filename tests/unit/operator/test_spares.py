"""Which spares go into service and come out again: every branch of the choice."""

from dataclasses import replace
from typing import Any

import pytest

from hailstorm_operator.spares import (
    SETTLE_SECONDS,
    Spare,
    SpareDecision,
    SpareInputs,
    SpareMemory,
    choose_leaving,
    decide_spares,
)

NOW = 1000.0
STABLE = 30.0


def pool(idle: int = 2, serving: int = 0, **more: Any) -> tuple[Spare, ...]:
    waiting = [Spare(f"idle-{n}", True, False, True) for n in range(idle)]
    at_work = [Spare(f"serving-{n}", True, True, True) for n in range(serving)]
    return tuple(replace(one, **more) for one in waiting + at_work)


def inputs(**more: Any) -> SpareInputs:
    """A target of three pods that needs three, and a pool of two."""
    ready = more.get("ready", 3)
    base: dict[str, Any] = {
        "now": NOW,
        "wanted": 3,
        "desired": 3,
        "ready": 3,
        "available": ready,
        "stable_window_seconds": STABLE,
        "spares": pool(),
        "memory": SpareMemory(0, NOW),
    }
    return SpareInputs(**{**base, **more})


def later(first: SpareInputs, seconds: float, **more: Any) -> SpareDecision:
    """Decide now, then again with the memory of it."""
    memory = decide_spares(first).memory
    return decide_spares(replace(first, now=first.now + seconds, memory=memory, **more))


def test_nobody_moves_while_the_target_is_enough() -> None:
    decision = decide_spares(inputs())
    assert (decision.enter, decision.leave, decision.why) == ((), 0, "")


@pytest.mark.parametrize(("wanted", "entered"), [(4, 1), (5, 2), (9, 2)])
def test_step_up_takes_as_many_spares_as_are_missing_and_there(wanted: int, entered: int) -> None:
    decision = decide_spares(inputs(wanted=wanted, desired=wanted))
    assert len(decision.enter) == entered
    assert decision.why == "demand"


def test_spares_in_service_are_capacity() -> None:
    decision = decide_spares(inputs(wanted=4, desired=4, spares=pool(idle=1, serving=1)))
    assert decision.enter == ()


def test_dead_pod_is_stood_in_for() -> None:
    assert len(decide_spares(inputs(ready=2)).enter) == 1


def test_demand_above_the_bound_is_met_by_spares_that_run_anyway() -> None:
    assert len(decide_spares(inputs(wanted=5, desired=3)).enter) == 2


def test_spare_that_is_not_ready_is_not_taken() -> None:
    spares = (Spare("starting", False, False, True), Spare("ready", True, False, True))
    assert decide_spares(inputs(wanted=5, spares=spares)).enter == ("ready",)


def test_serving_spare_that_is_not_ready_is_no_capacity() -> None:
    spares = (Spare("sick", False, True, True), *pool(idle=1))
    assert decide_spares(inputs(wanted=4, desired=4, spares=spares)).enter == ("idle-0",)


def test_spare_of_an_earlier_template_does_not_go_in() -> None:
    spares = pool(idle=1, in_step=False)
    assert decide_spares(inputs(wanted=4, desired=4, spares=spares)).enter == ()


@pytest.mark.parametrize("state", [{"is_rolling": True}, {"is_panicking": True}])
def test_spare_of_an_earlier_template_goes_in_while_the_target_needs_it(
    state: dict[str, Any],
) -> None:
    spares = pool(idle=1, in_step=False)
    assert decide_spares(inputs(wanted=4, desired=4, spares=spares, **state)).enter == ("idle-0",)


def test_spare_of_the_present_template_goes_in_first() -> None:
    spares = (Spare("a-earlier", True, False, False), Spare("b-present", True, False, True))
    decision = decide_spares(inputs(wanted=4, desired=4, spares=spares, is_rolling=True))
    assert decision.enter == ("b-present",)


def test_serving_spare_of_an_earlier_template_comes_out_to_be_rolled() -> None:
    spares = (*pool(idle=0, serving=1), Spare("earlier", True, True, False))
    decision = decide_spares(inputs(wanted=5, desired=5, spares=spares))
    assert (decision.leave, decision.why) == (1, "earlier template")
    assert [one.name for one in decision.among] == ["earlier"]


def test_spares_of_an_earlier_template_that_the_demand_needs_leave_one_in_a_window() -> None:
    spares = pool(idle=0, serving=3, in_step=False)
    needed = inputs(wanted=6, desired=4, spares=spares)
    first = decide_spares(needed)
    assert (first.leave, first.why) == (1, "earlier template")
    gone = replace(needed, spares=spares[1:], memory=first.memory)
    assert decide_spares(replace(gone, now=NOW + STABLE - 0.1)).leave == 0
    assert decide_spares(replace(gone, now=NOW + STABLE)).leave == 1


def test_spares_of_an_earlier_template_that_nobody_needs_leave_at_once() -> None:
    spares = pool(idle=0, serving=3, in_step=False)
    assert decide_spares(inputs(wanted=3, spares=spares)).leave == 3
    assert decide_spares(inputs(wanted=4, desired=4, spares=spares)).leave == 2
    sick = pool(idle=0, serving=3, in_step=False, ready=False)
    assert decide_spares(inputs(wanted=9, desired=9, spares=sick)).leave == 3


@pytest.mark.parametrize("silent", [{"wanted": None}, {"is_signal_whole": False}])
def test_spares_of_an_earlier_template_stay_without_a_whole_signal(silent: dict[str, Any]) -> None:
    assert decide_spares(inputs(spares=pool(idle=0, serving=2, in_step=False), **silent)).leave == 0


def test_spare_of_the_present_template_takes_the_place_of_an_earlier_one() -> None:
    earlier = Spare("earlier", True, True, False)
    short = inputs(wanted=5, desired=5, spares=(*pool(idle=1), earlier))
    assert decide_spares(short).enter == ("idle-0",)
    entered = replace(short, spares=(*pool(idle=0, serving=2), earlier))
    assert decide_spares(entered).among == (earlier,)


def test_way_out_of_earlier_templates_is_remembered_while_others_go_in_and_out() -> None:
    memory = SpareMemory(0, NOW, retired_at=NOW - 1)
    assert decide_spares(inputs(wanted=4, memory=memory)).memory.retired_at == NOW - 1
    assert decide_spares(inputs(wanted=9, spares=(), memory=memory)).memory.retired_at == NOW - 1
    covered = inputs(spares=pool(1, 1), memory=replace(memory, surplus=1, since=NOW - STABLE))
    decision = decide_spares(covered)
    assert (decision.leave, decision.memory.retired_at) == (1, NOW - 1)


@pytest.mark.parametrize("state", [{"is_rolling": True}, {"is_panicking": True}])
def test_serving_spare_of_an_earlier_template_stays_while_the_target_needs_it(
    state: dict[str, Any],
) -> None:
    spares = pool(idle=0, serving=1, in_step=False)
    decision = decide_spares(inputs(wanted=4, desired=4, spares=spares, **state))
    assert decision.leave == 0


def test_spare_stays_until_the_new_pods_are_there() -> None:
    waiting = inputs(wanted=4, desired=4, ready=3, spares=pool(1, 1))
    assert later(waiting, STABLE * 2).leave == 0


def test_spare_leaves_a_while_after_the_new_pods_are_there() -> None:
    arrived = inputs(wanted=4, desired=4, ready=4, spares=pool(1, 1))
    assert decide_spares(arrived).leave == 0
    assert later(arrived, SETTLE_SECONDS - 0.1).leave == 0
    decision = later(arrived, SETTLE_SECONDS)
    assert (decision.leave, decision.why) == (1, "covered")


def test_ready_pod_that_is_not_available_yet_replaces_no_spare() -> None:
    arrived = inputs(wanted=4, desired=4, ready=4, available=3, spares=pool(1, 1))
    assert later(arrived, STABLE).leave == 0


def test_spares_leave_one_by_one_as_pods_arrive() -> None:
    arrived = inputs(wanted=5, desired=5, ready=4, spares=pool(0, 2))
    assert later(arrived, SETTLE_SECONDS).leave == 1


def test_pods_that_surge_in_a_rollout_replace_no_spare() -> None:
    rolling = inputs(wanted=4, desired=3, ready=4, available=4, spares=pool(1, 1), is_rolling=True)
    assert later(rolling, STABLE * 2).leave == 0


def test_only_the_least_surplus_of_the_while_leaves() -> None:
    arrived = inputs(wanted=3, desired=3, ready=3, spares=pool(0, 2))
    decision = later(arrived, SETTLE_SECONDS, available=2, ready=2)
    assert decision.leave == 1


def test_new_shortage_starts_the_while_anew() -> None:
    arrived = inputs(wanted=4, desired=4, ready=4, spares=pool(1, 1))
    first = decide_spares(arrived)
    short = decide_spares(replace(arrived, now=NOW + 1, available=3, memory=first.memory))
    again = replace(arrived, now=NOW + SETTLE_SECONDS, memory=short.memory)
    assert decide_spares(again).leave == 0


def test_spares_above_the_bound_wait_for_a_stable_window() -> None:
    bounded = inputs(wanted=4, desired=3, ready=3, spares=pool(0, 2))
    assert later(bounded, SETTLE_SECONDS).leave == 0
    assert later(bounded, STABLE).leave == 1


def test_serving_spare_that_is_not_ready_leaves_though_all_are_needed() -> None:
    spares = (Spare("sick", False, True, True), *pool(0, 1))
    short = inputs(wanted=4, desired=4, ready=3, spares=spares)
    assert later(short, SETTLE_SECONDS).leave == 1


def test_missing_signal_moves_nobody() -> None:
    decision = decide_spares(inputs(wanted=None, spares=pool(1, 1)))
    assert (decision.enter, decision.leave) == ((), 0)


def test_partial_signal_brings_nobody_out_but_lets_spares_in() -> None:
    arrived = inputs(wanted=4, desired=4, ready=4, spares=pool(1, 1), is_signal_whole=False)
    assert later(arrived, STABLE).leave == 0
    assert decide_spares(inputs(wanted=4, desired=4, is_signal_whole=False)).enter == ("idle-0",)


def test_conflict_moves_nobody() -> None:
    decision = decide_spares(inputs(wanted=9, spares=pool(1, 1), is_conflicted=True))
    assert (decision.enter, decision.leave) == ((), 0)


def test_target_scaled_to_zero_takes_all_out_at_once() -> None:
    decision = decide_spares(inputs(wanted=9, spares=pool(1, 2), is_stopped=True))
    assert (decision.enter, decision.leave, decision.why) == ((), 2, "stopped")
    assert decide_spares(inputs(is_stopped=True)).why == ""


def test_leaving_order_is_sick_then_earlier_then_least_busy_then_unknown() -> None:
    among = [
        Spare("unknown", True, True, True, None),
        Spare("busy", True, True, True, 7),
        Spare("quiet", True, True, True, 1),
        Spare("earlier", True, True, False, 9),
        Spare("sick", False, True, True, 9),
    ]
    assert choose_leaving(among, 9) == ("sick", "earlier", "quiet", "busy", "unknown")
    assert choose_leaving(among, 1) == ("sick",)
