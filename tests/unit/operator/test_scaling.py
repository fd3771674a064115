"""The decider: Little's law, and everything that keeps it from doing harm."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hailstorm_operator import api
from hailstorm_operator.explanations import contested_message, explain
from hailstorm_operator.scaling import Decision, ceiling, decide_scale, patience, replay
from hailstorm_operator.scaling_inputs import (
    Capacity,
    Demand,
    Inputs,
    Memory,
    Rules,
    first_memory,
)
from hailstorm_operator.what_if import load_that_grows

RULES = Rules(
    min_replicas=2,
    max_replicas=10,
    in_flight_per_pod=5.0,
    tolerance=0.1,
    max_pods_in_creation=4,
    stable_window_seconds=30.0,
    scale_down_window_seconds=30.0,
)
# Calm for a long time, nothing changed lately.
CALM = Memory(panicking=False, last_crossing=0.0, last_change=0.0, replicas=None)


def decide(
    fast: float | None,
    replicas: int = 4,
    *,
    stable: float | None = None,
    peak: float | None = None,
    ready: int | None = None,
    state: Any = "fresh",
    memory: Memory = CALM,
    rules: Rules = RULES,
    now: float = 1000.0,
    **capacity: Any,
) -> Decision:
    stable = fast if stable is None else stable
    demand = Demand(
        fast,
        stable,
        stable if peak is None else peak,
        state,
        scatter=capacity.pop("scatter", 0.0),
        slope=capacity.pop("slope", 0.0),
        shed=capacity.pop("shed", 0.0),
        is_rising=capacity.pop("is_rising", False),
        looks=capacity.pop("looks", 0),
    )
    seen = Capacity(
        replicas=replicas,
        ready=replicas if ready is None else ready,
        rollout_in_progress=capacity.pop("rolling", False),
        **capacity,
    )
    return decide_scale(Inputs(now, rules, demand, seen, memory))


@pytest.mark.parametrize(
    ("in_flight", "wanted"), [(0.0, 0), (0.1, 1), (5.0, 1), (5.1, 2), (16.8, 4), (50.0, 10)]
)
def test_wanted_pods_follow_littles_law(in_flight: float, wanted: int) -> None:
    assert decide(in_flight).wanted == wanted


def test_rounding_error_asks_for_no_pod() -> None:
    assert decide(16.8, rules=replace(RULES, in_flight_per_pod=8 * 0.7)).wanted == 3


def test_growth_follows_the_fast_window_at_once() -> None:
    decision = decide(30.0, stable=10.0)
    assert (decision.action, decision.desired, decision.clamp) == ("up", 6, api.CLAMP_NONE)


def test_growth_ignores_a_fast_window_that_the_pods_can_hold() -> None:
    roomy = replace(RULES, knee_per_pod=8.0)
    assert decide(31.0, stable=19.0, rules=roomy).action == "hold"
    assert decide(33.0, stable=19.0, rules=roomy).wanted == 7


def test_growth_ignores_a_fast_window_that_may_be_chance() -> None:
    assert decide(40.9, stable=16.0, scatter=5.0).action == "hold"
    assert decide(41.1, stable=16.0, scatter=5.0).action == "up"
    # Never less than a Poisson count would scatter.
    assert decide(35.9, stable=16.0, scatter=1.0).action == "hold"
    assert decide(36.1, stable=16.0, scatter=1.0).action == "up"


def test_chance_is_no_panic() -> None:
    assert not decide(55.9, replicas=2, stable=26.0, scatter=6.0).memory.panicking
    assert decide(56.1, replicas=2, stable=26.0, scatter=6.0).memory.panicking


def test_stable_window_that_still_averages_a_queue_that_is_gone_grows_nothing() -> None:
    assert decide(10.0, stable=60.0).action == "hold"
    panicking = replace(CALM, panicking=True, last_crossing=999.0)
    assert decide(10.0, stable=60.0, memory=panicking).desired == 4


def test_steady_slope_is_planned_for_until_a_new_pod_serves() -> None:
    ahead = replace(RULES, startup_seconds=10.0)
    assert decide(20.0, slope=0.5, rules=RULES).desired == 4
    decision = decide(20.0, slope=0.5, rules=ahead)
    assert (decision.planned, decision.desired) == (25.0, 5)


def test_slope_is_never_planned_beyond_half_of_what_there_is() -> None:
    ahead = replace(RULES, startup_seconds=10.0)
    assert decide(20.0, slope=100.0, rules=ahead).planned == 30.0


def test_growth_waits_within_the_tolerance() -> None:
    decision = decide(21.9)
    assert (decision.action, decision.clamp) == ("hold", api.CLAMP_TOLERANCE)
    assert decide(22.1).action == "up"


def test_growth_stops_at_max_replicas() -> None:
    decision = decide(500.0, replicas=8)
    assert (decision.desired, decision.clamp) == (10, api.CLAMP_MAX)


BUDGET = replace(RULES, connections_per_pod=6, connections=40)


def test_growth_stops_at_the_connection_budget_which_names_itself() -> None:
    decision = decide(500.0, replicas=5, rules=BUDGET)
    assert (decision.desired, decision.clamp) == (6, api.CLAMP_CONNECTIONS)
    assert "connection budget of 40 holds no more pods of 6 each" in explain(decision)


def test_spares_hold_connections_too() -> None:
    assert decide(500.0, replicas=3, rules=BUDGET, spares=2).desired == 4


def test_connection_budget_takes_back_what_was_set_by_hand() -> None:
    decision = decide(500.0, replicas=9, rules=BUDGET)
    assert (decision.desired, decision.clamp) == (6, api.CLAMP_CONNECTIONS)


def test_connection_budget_never_goes_below_min_replicas() -> None:
    assert decide(500.0, replicas=2, rules=BUDGET, spares=6).desired == 2


def test_wide_connection_budget_leaves_max_replicas_to_win() -> None:
    wide = replace(BUDGET, connections=600)
    assert decide(500.0, replicas=8, rules=wide).clamp == api.CLAMP_MAX


def test_growth_is_capped_by_pods_in_creation() -> None:
    decision = decide(45.0, replicas=4, ready=3)
    assert (decision.desired, decision.clamp) == (7, api.CLAMP_CREATION)


# Planned for are 5 calls in flight a pod, and 8 it can hold.
ROOMY = replace(RULES, knee_per_pod=8.0)


def test_pods_that_only_bring_room_are_created_one_by_one() -> None:
    # Four pods hold 32; planned for are 30 of them with six.
    first = decide(30.0, replicas=4, rules=ROOMY)
    assert (first.desired, first.wanted, first.clamp) == (5, 6, api.CLAMP_ROOM)
    starting = decide(30.0, replicas=5, ready=4, rules=ROOMY, memory=first.memory)
    assert (starting.desired, starting.clamp) == (5, api.CLAMP_ROOM)
    there = decide(30.0, replicas=5, ready=5, rules=ROOMY, memory=first.memory)
    assert (there.desired, there.clamp) == (6, api.CLAMP_NONE)


def test_pods_that_the_load_lacks_to_be_held_start_together() -> None:
    # 56 are seven pods at the knee, and more than ten as planned.
    lacking = decide(56.0, replicas=4, rules=ROOMY)
    assert (lacking.desired, lacking.clamp) == (7, api.CLAMP_ROOM)
    most = decide(500.0, replicas=4, rules=ROOMY)
    assert (most.desired, most.clamp) == (8, api.CLAMP_CREATION)


def test_lacking_is_what_a_slope_adds_until_a_pod_serves_too() -> None:
    slow = replace(ROOMY, startup_seconds=60.0)
    # 20 and another 10 until then: four at the knee, six as planned.
    ahead = decide(20.0, replicas=2, rules=slow, slope=1.0)
    assert (ahead.desired, ahead.planned) == (4, 30.0)
    assert decide(15.0, replicas=2, rules=slow).desired == 3


def test_lacking_is_not_what_the_last_seconds_saw_by_chance() -> None:
    wide = replace(ROOMY, max_replicas=20)
    # Wanted are 12; within chance more was seen than the nine pods can hold: twelve's worth.
    chance = decide(96.0, replicas=9, stable=58.0, scatter=8.0, rules=wide)
    assert (chance.desired, chance.wanted) == (10, 12)
    assert decide(96.0, replicas=9, stable=58.0, rules=wide).desired == 12


def test_room_for_many_comes_by_the_tenth() -> None:
    many = replace(ROOMY, max_replicas=200, max_pods_in_creation=8)
    share = decide(300.0, replicas=40, rules=many)
    assert (share.desired, share.clamp) == (44, api.CLAMP_ROOM)
    few_at_once = replace(many, max_pods_in_creation=2)
    capped = decide(300.0, replicas=40, rules=few_at_once)
    assert (capped.desired, capped.clamp) == (42, api.CLAMP_CREATION)


def test_of_a_load_that_is_refused_nobody_knows_what_holds_it() -> None:
    # A door that lets in no more than the pods hold hides how many pods there should be.
    assert decide(30.0, replicas=2, rules=ROOMY, shed=2.0).desired == 4
    refused = decide(30.0, replicas=2, rules=ROOMY, shed=20.0)
    assert (refused.desired, refused.clamp) == (6, api.CLAMP_NONE)


def test_pod_that_never_starts_does_not_keep_others_from_bringing_room() -> None:
    held = decide(30.0, replicas=5, ready=4, rules=ROOMY, overdue=1)
    assert (held.desired, held.clamp) == (5, api.CLAMP_ROOM)
    stuck = decide(30.0, replicas=5, ready=4, rules=ROOMY, overdue=1, stuck=1)
    assert (stuck.desired, stuck.clamp) == (6, api.CLAMP_NONE)
    # 34 are more than the four hold: it is waited for no longer, and one more is lacking.
    assert decide(34.0, replicas=5, ready=4, rules=ROOMY).desired == 5
    assert decide(34.0, replicas=5, ready=4, rules=ROOMY, overdue=1).desired == 6
    # Beside it the others still come one by one.
    beside = decide(39.0, replicas=7, ready=5, rules=ROOMY, overdue=1, stuck=1)
    assert (beside.desired, beside.wanted, beside.clamp) == (7, 8, api.CLAMP_ROOM)


def test_pods_that_never_start_use_up_no_place_of_those_that_may() -> None:
    one_by_one = replace(RULES, max_pods_in_creation=1)
    held: dict[str, Any] = {"replicas": 5, "ready": 4, "rules": one_by_one}
    assert decide(90.0, **held).desired == 5
    assert decide(90.0, overdue=1, **held).desired == 6
    # As many as may be in creation, none of which ever serves.
    assert decide(90.0, replicas=8, ready=4).desired == 8
    assert decide(90.0, replicas=8, ready=4, overdue=4, stuck=4).desired == 10


def test_surge_that_does_not_start_is_no_replica_that_is_missing() -> None:
    rolling = decide(90.0, replicas=4, ready=4, rolling=True, overdue=1, stuck=1)
    assert (rolling.desired, rolling.clamp) == (8, api.CLAMP_CREATION)


def test_pod_is_overdue_after_a_start_and_stuck_after_four_windows() -> None:
    assert patience(RULES) == (30.0, 120.0)
    assert patience(replace(RULES, startup_seconds=40.0)) == (80.0, 120.0)
    # Who takes 100 s to start is not stuck after 120.
    assert patience(replace(RULES, startup_seconds=100.0)) == (200.0, 200.0)


def test_load_about_what_the_replicas_hold_is_not_beyond_it_by_chance() -> None:
    # Four hold 24: an average of four looks scatters by 2.4, of sixteen by half of that.
    tight = replace(RULES, knee_per_pod=6.0)
    step: dict[str, Any] = {"stable": 8.0, "peak": 20.0, "rules": tight, "scatter": 2.0}
    assert decide(28.8, 4, looks=4, **step).desired == 4
    assert decide(29.0, 4, looks=4, **step).desired == 5
    assert decide(26.5, 4, looks=16, **step).desired == 5
    # Who does not say how many looks there were is believed.
    assert decide(24.5, 4, **step).desired == 5
    # What lasts is planned for as ever, be it beyond or not.
    assert decide(24.5, 4, looks=4, rules=tight).desired == 5


def test_bound_that_moved_the_replicas_is_what_is_told() -> None:
    six = replace(ROOMY, min_replicas=6)
    lifted = decide(8.0, replicas=2, rules=six)
    assert (lifted.desired, lifted.clamp) == (6, api.CLAMP_MIN)
    held = decide(40.0, replicas=2, ready=2, rules=six, stable=40.0)
    assert (held.desired, held.clamp) == (6, api.CLAMP_MIN)
    more = decide(90.0, replicas=5, ready=5, rules=six)
    assert (more.desired > 6, more.clamp != api.CLAMP_MIN) == (True, True)


def test_spares_are_no_reason_to_start_what_only_brings_room_at_once() -> None:
    held = decide(30.0, 4, rules=ROOMY, **SPARED)
    assert (held.desired, held.wanted, held.clamp) == (5, 6, api.CLAMP_ROOM)


def test_cap_on_creation_never_takes_pods_back() -> None:
    decision = decide(45.0, replicas=8, ready=1)
    assert (decision.desired, decision.clamp) == (8, api.CLAMP_CREATION)


def test_shrinking_takes_one_step_a_window() -> None:
    first = decide(1.0, replicas=8)
    assert (first.action, first.desired, first.clamp) == ("down", 7, api.CLAMP_STEP)
    second = decide(1.0, replicas=7, memory=first.memory, now=1029.0)
    assert (second.action, second.clamp) == ("hold", api.CLAMP_WINDOW)
    third = decide(1.0, replicas=7, memory=second.memory, now=1030.0)
    assert (third.action, third.desired) == ("down", 6)


def test_steps_down_come_as_often_as_the_spec_says() -> None:
    often = replace(RULES, step_seconds=6.0)
    first = decide(1.0, replicas=8, rules=often)
    second = decide(1.0, replicas=7, memory=first.memory, now=1005.0, rules=often)
    assert (second.action, second.clamp) == ("hold", api.CLAMP_WINDOW)
    assert "one step down each 6 s" in explain(second)
    third = decide(1.0, replicas=7, memory=second.memory, now=1006.0, rules=often)
    assert (third.action, third.desired) == ("down", 6)
    # What was recorded before there was such a word decides as it did.
    recorded = second.as_json()
    del recorded["inputs"]["rules"]["step_seconds"]
    assert replay(recorded).inputs.rules.step == RULES.stable_window_seconds


def test_shrinking_takes_a_tenth_of_many_pods() -> None:
    rules = replace(RULES, max_replicas=300)
    assert decide(1.0, replicas=200, rules=rules).desired == 180


def test_shrinking_satisfies_the_peak_of_the_window() -> None:
    assert decide(1.0, replicas=4, peak=10.3).action == "hold"
    assert decide(1.0, replicas=4, peak=10.2).desired == 3


def test_shrinking_expects_the_others_to_wait_longer() -> None:
    # 14 in flight fit on three pods of 5; but with three there will be more in flight.
    assert decide(14.0, replicas=4).action == "hold"
    calm = replace(RULES, tolerance=0.0)
    # 11.2 on four become 15 on three.
    assert decide(11.2, replicas=4, rules=calm).desired == 3
    assert decide(11.4, replicas=4, rules=calm).action == "hold"


def test_shrinking_stops_at_min_replicas() -> None:
    decision = decide(0.0, replicas=2)
    assert (decision.action, decision.clamp) == ("hold", api.CLAMP_MIN)


@pytest.mark.parametrize(
    ("held", "clamp"),
    [
        ({"rolling": True}, api.CLAMP_ROLLOUT),
        ({"state": "partial"}, api.CLAMP_PARTIAL),
        ({"memory": replace(CALM, panicking=True, last_crossing=999.0)}, api.CLAMP_PANIC),
    ],
)
def test_nothing_shrinks(held: dict[str, Any], clamp: str) -> None:
    decision = decide(1.0, replicas=8, **held)
    assert (decision.action, decision.clamp) == ("hold", clamp)


def test_growth_goes_on_during_a_rollout() -> None:
    assert decide(30.0, rolling=True).action == "up"


def test_partial_signal_may_grow() -> None:
    assert decide(30.0, state="partial").action == "up"


@pytest.mark.parametrize("fast", [None, 0.0])
def test_stale_signal_holds_and_is_never_zero(fast: float | None) -> None:
    decision = decide(fast, replicas=8, state="stale")
    assert (decision.action, decision.clamp) == ("hold", api.CLAMP_STALE)


def test_bounds_need_no_signal() -> None:
    assert decide(None, replicas=1, state="stale").desired == 2
    assert decide(None, replicas=12, state="stale").desired == 10


def test_panic_begins_when_twice_the_ready_pods_are_asked_for() -> None:
    assert not decide(35.0).memory.panicking
    assert decide(35.1).memory.panicking


def test_panic_begins_by_what_is_ready_not_by_what_was_asked_for() -> None:
    assert decide(20.0, replicas=4, ready=2).memory.panicking


def test_panic_ends_only_when_everything_asked_for_is_ready() -> None:
    panicking = replace(CALM, panicking=True, last_crossing=900.0)
    assert decide(10.0, replicas=4, ready=3, memory=panicking).memory.panicking
    assert not decide(10.0, replicas=4, ready=4, memory=panicking).memory.panicking


def test_pod_that_never_starts_does_not_keep_the_panic_for_ever() -> None:
    def after(seconds: float) -> bool:
        panicking = replace(CALM, panicking=True, last_crossing=1000.0 - seconds)
        return decide(10.0, replicas=4, ready=3, memory=panicking).memory.panicking

    assert after(119.0)
    assert not after(120.0)


def test_panic_that_has_run_out_shrinks_again() -> None:
    memory = replace(CALM, panicking=True, last_crossing=0.0, replicas=8)
    decision = decide(10.0, replicas=8, ready=7, memory=memory)
    assert (decision.action, decision.desired) == ("down", 7)


def test_panic_lasts_a_stable_window() -> None:
    panicking = replace(CALM, panicking=True, last_crossing=971.0)
    assert decide(10.0, memory=panicking).memory.panicking


def test_panic_ignores_the_tolerance() -> None:
    panicking = replace(CALM, panicking=True, last_crossing=999.0)
    assert decide(21.0, memory=panicking).action == "up"


def test_restart_begins_in_panic_and_cannot_shrink() -> None:
    memory = first_memory(1000.0)
    for now in range(1000, 1030):
        decision = decide(0.0, replicas=8, memory=memory, now=float(now))
        assert decision.action == "hold"
        memory = decision.memory
    assert decide(0.0, replicas=8, memory=memory, now=1030.0).action == "down"


def test_restart_shrinks_nothing_before_everything_is_ready() -> None:
    decision = decide(0.0, replicas=8, ready=7, memory=first_memory(900.0))
    assert (decision.action, decision.clamp) == ("hold", api.CLAMP_PANIC)


def test_nothing_shrinks_before_the_scale_down_window_has_been_seen() -> None:
    memory = replace(CALM, seen_since=971.0)
    decision = decide(1.0, replicas=8, memory=memory)
    assert (decision.action, decision.clamp) == ("hold", api.CLAMP_UNSEEN)
    assert decide(1.0, replicas=8, memory=memory, now=1001.0).action == "down"


def test_signal_that_was_away_has_to_be_seen_for_a_window_again() -> None:
    away = decide(None, replicas=8, state="stale")
    assert away.memory.seen_since == 1000.0
    back = decide(1.0, replicas=8, memory=away.memory, now=1029.0)
    assert back.clamp == api.CLAMP_UNSEEN


def test_conflict_holds_even_out_of_bounds() -> None:
    decision = decide(500.0, replicas=1, conflict="HorizontalPodAutoscalerOwnsReplicas")
    assert (decision.action, decision.clamp) == ("hold", api.CLAMP_CONFLICT)


def in_conflict(times: int, memory: Memory, fast: float = 500.0) -> Memory:
    """An autoscaler, known as the owner, sets another count each time."""
    for number in range(times):
        decision = decide(
            fast,
            replicas=4 + number % 2,
            memory=memory,
            now=1000.0 + 10 * number,
            conflict="HorizontalPodAutoscalerOwnsReplicas",
            set_by="kube-controller-manager",
        )
        assert (decision.clamp, decision.scaled_by_other) == (api.CLAMP_CONFLICT, False)
        memory = decision.memory
    return memory


def test_writes_of_a_known_owner_are_no_contest_once_it_is_gone() -> None:
    memory = in_conflict(6, replace(CALM, replicas=9))
    decision = decide(500.0, replicas=5, memory=memory, now=1051.0)
    assert (decision.action, decision.clamp) == ("up", api.CLAMP_CREATION)


def test_contest_from_before_a_conflict_is_over_with_it() -> None:
    contested = overrule(3).memory
    assert in_conflict(1, contested).overruled == 0


def test_count_that_a_known_owner_set_stands_for_a_window_when_it_is_gone() -> None:
    memory = in_conflict(2, replace(CALM, replicas=9), fast=1.0)
    assert memory.last_change == 1010.0
    kept = decide(1.0, replicas=5, memory=memory, now=1039.0)
    assert (kept.action, kept.clamp) == ("hold", api.CLAMP_WINDOW)
    assert decide(1.0, replicas=5, memory=memory, now=1040.0).action == "down"


def test_zero_by_hand_switches_scaling_off() -> None:
    decision = decide(500.0, replicas=0)
    assert (decision.desired, decision.clamp) == (0, api.CLAMP_ZERO)


def test_count_set_by_hand_is_noticed_and_stands_for_a_window() -> None:
    memory = replace(CALM, replicas=4)
    decision = decide(1.0, replicas=8, memory=memory)
    assert decision.scaled_by_other
    assert (decision.action, decision.clamp) == ("hold", api.CLAMP_WINDOW)
    later = decide(1.0, replicas=8, memory=decision.memory, now=1030.0)
    assert not later.scaled_by_other
    assert later.desired == 7


def test_own_write_that_shows_late_is_nobody_elses() -> None:
    memory = replace(CALM, replicas=4)
    assert not decide(1.0, replicas=8, memory=memory, set_by=api.FIELD_MANAGER).scaled_by_other


def overrule(times: int, every: float = 10.0) -> Decision:
    """Somebody sets 9 each time after the scaler has decided something else."""
    memory, now, decision = replace(CALM, replicas=4), 1000.0, None
    for _ in range(times):
        now += every
        decision = decide(1.0, replicas=9, memory=memory, now=now, set_by="argocd")
        memory = replace(decision.memory, replicas=4)
    assert decision is not None
    return decision


def test_twice_is_a_correction_and_three_times_another_controller() -> None:
    assert not overrule(2).is_contested
    contested = overrule(3)
    assert (contested.action, contested.clamp) == ("hold", api.CLAMP_CONTESTED)
    assert "argocd has set the replicas 3 times" in contested_message(contested)


def test_contest_needs_its_writes_within_a_window() -> None:
    assert not overrule(5, every=31.0).is_contested


def test_contested_replicas_are_left_alone_even_out_of_bounds_and_under_load() -> None:
    memory = replace(overrule(3).memory, replicas=12)
    decision = decide(500.0, replicas=12, memory=memory, now=1040.0)
    assert (decision.desired, decision.clamp) == (12, api.CLAMP_CONTESTED)


def test_contest_is_over_when_nobody_wrote_for_a_window() -> None:
    memory = replace(overrule(3).memory, replicas=9)
    decision = decide(500.0, replicas=9, memory=memory, now=1060.0)
    assert (decision.action, decision.memory.overruled) == ("up", 0)


def test_count_set_by_hand_beyond_the_bounds_is_brought_back() -> None:
    assert decide(1.0, replicas=40, memory=replace(CALM, replicas=4)).desired == 10


rules = st.builds(
    Rules,
    min_replicas=st.integers(1, 10),
    max_replicas=st.integers(10, 60),
    in_flight_per_pod=st.floats(0.1, 100),
    tolerance=st.floats(0, 1),
    max_pods_in_creation=st.integers(1, 20),
    stable_window_seconds=st.floats(5, 600),
    scale_down_window_seconds=st.floats(5, 600),
    knee_per_pod=st.just(0.0) | st.floats(0.1, 200),
    startup_seconds=st.floats(0, 600),
    connections_per_pod=st.integers(0, 20),
    connections=st.integers(0, 200),
)
figures = st.none() | st.floats(0, 100_000)
inputs = st.builds(
    Inputs,
    now=st.floats(1_000, 2_000),
    rules=rules,
    demand=st.builds(
        Demand,
        figures,
        figures,
        figures,
        st.sampled_from(["fresh", "partial", "stale"]),
        st.floats(0, 1000),
        st.floats(0, 1000),
        st.floats(0, 1000),
        st.booleans(),
        st.integers(0, 10),
    ),
    capacity=st.builds(
        Capacity,
        replicas=st.integers(0, 80),
        ready=st.integers(0, 80),
        rollout_in_progress=st.booleans(),
        conflict=st.sampled_from(["", "Other"]),
        set_by=st.sampled_from(["", api.FIELD_MANAGER, "kubectl"]),
        spares=st.integers(0, 5),
        spares_serving=st.integers(0, 5),
        spares_ready=st.integers(0, 5),
        overdue=st.integers(0, 80),
        stuck=st.integers(0, 80),
    ),
    memory=st.builds(
        Memory,
        panicking=st.booleans(),
        last_crossing=st.floats(0, 2_000),
        last_change=st.floats(0, 2_000),
        replicas=st.none() | st.integers(0, 80),
        seen_since=st.floats(0, 2_000),
        overruled=st.integers(0, 4),
        overruled_at=st.floats(0, 2_000),
        leaning_since=st.just(0.0) | st.floats(0, 2_000),
        lacking_since=st.just(0.0) | st.floats(0, 2_000),
        carried_since=st.just(0.0) | st.floats(0, 2_000),
        is_starting=st.booleans(),
    ),
)


@given(inputs)
def test_every_decision_keeps_the_rules_and_can_be_replayed(given_inputs: Inputs) -> None:
    decision = decide_scale(given_inputs)
    capacity, bounds = given_inputs.capacity, given_inputs.rules
    before, after = capacity.replicas, decision.desired
    most, _ = ceiling(bounds, capacity)
    if capacity.conflict or before == 0 or decision.clamp == api.CLAMP_CONTESTED:
        assert after == before
    else:
        assert bounds.min_replicas <= after <= most <= bounds.max_replicas
    if bounds.connections_per_pod and after > max(before, bounds.min_replicas):
        held = (after + capacity.spares) * bounds.connections_per_pod
        assert held <= bounds.connections
    within = bounds.min_replicas <= before <= most
    if within and decision.memory.panicking:
        assert after >= before
    if within and after < before:
        assert given_inputs.demand.state == "fresh"
        assert not capacity.rollout_in_progress
    if after > max(before, bounds.min_replicas):
        # Those that never start are in nobody's way.
        lost = min(max(capacity.overdue, capacity.stuck), max(0, before - capacity.ready))
        assert after <= capacity.ready + lost + bounds.max_pods_in_creation
    assert (decision.action == "hold") == (after == before)
    assert explain(decision)
    assert replay(json.loads(json.dumps(decision.as_json()))) == decision


def test_spares_in_service_keep_a_demand_from_being_a_panic() -> None:
    # Eight pods' worth: twice what is ready, but not twice what serves.
    assert decide(40.0, replicas=4).memory.panicking
    assert not decide(40.0, replicas=4, spares_serving=1).memory.panicking


# Five pods' worth of calls at two: beyond what those hold, and within what the spares add.
SPARED = {"spares": 4, "spares_ready": 4, "spares_serving": 4}


def test_successors_of_spares_that_carry_the_load_are_created_one_by_one_and_later() -> None:
    step = decide(25.0, 2, stable=5.0, **SPARED)
    assert (step.desired, step.clamp) == (2, api.CLAMP_SPARED)
    soon = decide(25.0, 2, now=1004.9, memory=step.memory, **SPARED)
    assert (soon.desired, soon.clamp) == (2, api.CLAMP_SPARED)
    calm = decide(25.0, 2, now=1005.0, memory=soon.memory, **SPARED)
    assert (calm.desired, calm.clamp) == (3, api.CLAMP_SPARED)
    starting = decide(25.0, 3, ready=2, now=1006.0, memory=calm.memory, **SPARED)
    assert (starting.desired, starting.clamp) == (3, api.CLAMP_SPARED)
    started = decide(25.0, 3, ready=3, now=1008.0, memory=starting.memory, **SPARED)
    assert (started.desired, started.clamp) == (4, api.CLAMP_SPARED)
    there = decide(25.0, 5, ready=5, now=1020.0, memory=started.memory, **SPARED)
    assert (there.memory.leaning_since, there.memory.carried_since) == (0.0, 0.0)


def test_patience_with_spares_begins_when_the_queue_of_the_step_is_gone() -> None:
    step = decide(90.0, 2, stable=5.0, **SPARED)
    assert (step.desired, step.clamp) == (2, api.CLAMP_SPARED)
    carried = decide(25.0, 2, now=1003.0, memory=step.memory, **SPARED)
    assert carried.memory.carried_since == 1003.0
    soon = decide(25.0, 2, now=1007.9, memory=carried.memory, **SPARED)
    assert soon.desired == 2
    assert decide(25.0, 2, now=1008.0, memory=soon.memory, **SPARED).desired == 3


def test_load_that_spares_do_not_carry_is_left_to_them_for_a_moment_only() -> None:
    step = decide(90.0, 2, stable=5.0, **SPARED)
    queued = decide(90.0, 2, now=1004.9, memory=step.memory, **SPARED)
    assert (queued.desired, queued.clamp) == (2, api.CLAMP_SPARED)
    lasting = decide(90.0, 2, now=1005.0, memory=queued.memory, **SPARED)
    assert (lasting.desired, lasting.clamp) == (6, api.CLAMP_CREATION)


def test_queue_of_a_start_is_no_want_of_pods() -> None:
    calm = replace(CALM, leaning_since=900.0, carried_since=910.0)
    queue = decide(40.0, 3, ready=2, stable=25.0, memory=calm, **SPARED)
    assert (queue.desired, queue.clamp) == (3, api.CLAMP_SPARED)
    still = decide(40.0, 3, ready=3, now=1004.9, memory=queue.memory, **SPARED)
    assert (still.desired, still.clamp) == (3, api.CLAMP_SPARED)
    # 40 are eight pods' worth, of which seven serve.
    lasting = decide(40.0, 3, ready=3, now=1005.0, memory=still.memory, **SPARED)
    assert (lasting.desired, lasting.clamp) == (4, api.CLAMP_SPARED)
    gone = decide(25.0, 3, ready=3, now=1003.0, memory=still.memory, **SPARED)
    assert (gone.desired, gone.memory.carried_since) == (3, 1003.0)


def test_successors_of_many_spares_come_by_the_tenth() -> None:
    many = replace(RULES, max_replicas=200, max_pods_in_creation=8)
    calm = replace(CALM, leaning_since=900.0, carried_since=910.0)
    spares = {"spares": 40, "spares_ready": 40, "spares_serving": 40}
    assert decide(300.0, 40, stable=150.0, rules=many, memory=calm, **spares).desired == 44
    few_at_once = replace(many, max_pods_in_creation=2)
    assert decide(300.0, 40, stable=150.0, rules=few_at_once, memory=calm, **spares).desired == 42


def test_queue_that_still_rises_with_the_spares_is_left_to_them_for_a_second() -> None:
    step = decide(90.0, 2, stable=5.0, is_rising=True, **SPARED)
    assert (step.desired, step.clamp) == (2, api.CLAMP_SPARED)
    turning = decide(90.0, 2, now=1001.0, memory=step.memory, **SPARED)
    assert turning.desired == 2
    rising = decide(90.0, 2, now=1001.0, memory=step.memory, is_rising=True, **SPARED)
    assert (rising.desired, rising.clamp) == (6, api.CLAMP_CREATION)


def test_spares_that_are_kept_out_of_the_service_carry_nothing() -> None:
    refused = SPARED | {"spares_serving": 0}
    step = decide(25.0, 2, stable=5.0, **refused)
    assert (step.desired, step.memory.carried_since) == (2, 0.0)
    still = decide(25.0, 2, now=1005.0, memory=step.memory, **refused)
    assert (still.desired, still.clamp) == (5, api.CLAMP_NONE)


def test_load_about_the_limit_of_the_spares_does_not_begin_the_wait_anew() -> None:
    memory = CALM
    for at, fast in ((1000.0, 31.0), (1002.0, 29.0), (1004.0, 31.0), (1005.0, 31.0)):
        decision = decide(fast, 2, now=at, stable=25.0, memory=memory, **SPARED)
        memory = decision.memory
    assert (decision.desired, decision.clamp) == (3, api.CLAMP_SPARED)


def test_pod_that_never_starts_and_refusals_count_beside_spares_too() -> None:
    # Ten pods' worth, of which two and four spares serve; two more were asked for.
    leaning = replace(CALM, leaning_since=900.0, lacking_since=990.0)
    held: dict[str, Any] = {"ready": 2, "stable": 5.0, "is_rising": True, **SPARED}
    young = decide(39.0, 4, memory=leaning, **held)
    assert (young.desired, young.clamp) == (4, api.CLAMP_SPARED)
    stuck = decide(39.0, 4, memory=leaning, overdue=2, **held)
    assert (stuck.desired, stuck.clamp) == (6, api.CLAMP_SPARED)
    refused = decide(39.0, 4, memory=leaning, shed=20.0, **held)
    assert (refused.desired, refused.clamp) == (6, api.CLAMP_CREATION)


def test_successor_that_never_starts_keeps_no_other_from_it() -> None:
    carried = replace(CALM, leaning_since=900.0, carried_since=910.0, last_change=995.0)
    assert decide(25.0, 3, ready=2, memory=carried, **SPARED).desired == 3
    stuck = decide(25.0, 3, ready=2, memory=carried, overdue=1, stuck=1, **SPARED)
    assert (stuck.desired, stuck.clamp) == (4, api.CLAMP_SPARED)


def test_first_growth_after_a_long_calm_with_spares_is_one_pod() -> None:
    # A contest has ended: for minutes nobody was missing, and nothing changed.
    carried = replace(CALM, leaning_since=600.0, carried_since=610.0)
    grown = decide(25.0, 2, memory=carried, **SPARED)
    assert (grown.desired, grown.clamp) == (3, api.CLAMP_SPARED)


def test_load_that_is_refused_is_not_carried() -> None:
    # The spares hold what their doors let in; of the rest nobody knows.
    step = decide(25.0, 2, stable=5.0, shed=5.0, **SPARED)
    assert (step.memory.carried_since, step.memory.lacking_since) == (0.0, 1000.0)
    lasting = decide(25.0, 2, now=1005.0, memory=step.memory, shed=5.0, **SPARED)
    assert (lasting.desired, lasting.clamp) == (5, api.CLAMP_NONE)
    # A few refusals are within the tolerance.
    assert decide(25.0, 2, stable=5.0, shed=2.0, **SPARED).memory.carried_since == 1000.0


def test_nobody_leans_on_spares_that_have_left() -> None:
    # Above the plan of the pods, and within what they hold.
    left: dict[str, Any] = {"spares": 4, "spares_ready": 4, "spares_serving": 0}
    leaning = replace(CALM, leaning_since=900.0, carried_since=910.0)
    held = decide(30.0, 4, rules=ROOMY, memory=leaning, **left)
    assert (held.memory.leaning_since, held.memory.carried_since) == (0.0, 0.0)
    assert (held.desired, held.clamp) == (5, api.CLAMP_ROOM)
    # Not so while one serves.
    left["spares_serving"] = 1
    assert decide(30.0, 4, rules=ROOMY, memory=leaning, **left).memory.leaning_since == 900.0


def test_load_that_lasts_beyond_the_knee_is_no_chance() -> None:
    # 42 where four pods hold 32: both windows agree, so nothing tells one from the other.
    lasting = decide(42.0, 4, rules=ROOMY, scatter=4.0, **SPARED)
    assert lasting.memory.leaning_since == 1000.0
    ripple = decide(33.0, 4, rules=ROOMY, stable=31.0, scatter=4.0, **SPARED)
    assert ripple.memory.leaning_since == 0.0


def test_hiccup_that_rises_after_the_spares_had_it_all_starts_nothing_for_a_second() -> None:
    step = decide(90.0, 2, stable=5.0, **SPARED)
    carried = decide(25.0, 2, now=1002.0, memory=step.memory, **SPARED)
    hiccup = decide(50.0, 2, now=1003.5, memory=carried.memory, is_rising=True, **SPARED)
    assert (hiccup.desired, hiccup.memory.lacking_since) == (2, 1003.5)
    still = decide(50.0, 2, now=1004.4, memory=hiccup.memory, is_rising=True, **SPARED)
    assert still.desired == 2
    # Ten pods' worth, of which six serve.
    more = decide(50.0, 2, now=1004.5, memory=still.memory, is_rising=True, **SPARED)
    assert (more.desired, more.clamp) == (6, api.CLAMP_CREATION)
    over = decide(25.0, 2, now=1004.5, memory=still.memory, **SPARED)
    assert (over.desired, over.memory.lacking_since) == (2, 0.0)


def test_spares_that_are_not_ready_carry_nothing() -> None:
    decision = decide(25.0, 2, stable=5.0, spares=4)
    assert (decision.desired, decision.clamp) == (5, api.CLAMP_NONE)


def test_load_that_the_replicas_hold_leans_on_nobody() -> None:
    # Wanted is a pod more; the knee of two holds it without the spares.
    roomy = replace(RULES, knee_per_pod=8.0)
    held = decide(12.0, 2, rules=roomy, **SPARED)
    assert (held.memory.leaning_since, held.desired) == (0.0, 3)
    assert decide(17.0, 2, rules=roomy, **SPARED).memory.leaning_since == 1000.0
    leaning = replace(CALM, leaning_since=7.0)
    assert decide(None, memory=leaning, **SPARED).memory.leaning_since == 7.0


def test_start_grows_by_no_chance_and_shrinks_nothing() -> None:
    starting = first_memory(990.0)
    # One sample is both windows: two pods are to hold 10, and 14 is within their knee.
    roomy = replace(RULES, knee_per_pod=8.0)
    first = decide(14.0, 2, rules=roomy, memory=starting)
    assert (first.desired, first.clamp) == (2, api.CLAMP_STARTING)
    assert decide(17.0, 2, rules=roomy, memory=starting).action == "up"
    later = decide(14.0, 2, rules=roomy, now=1005.0, memory=first.memory)
    assert later.desired == 3
    assert decide(10.6, 2, now=1005.0, memory=starting).clamp == api.CLAMP_TOLERANCE
    assert decide(1.0, 4, memory=starting).clamp == api.CLAMP_PANIC


def test_start_becomes_a_panic_by_a_demand_and_ends_without_one() -> None:
    starting = first_memory(990.0)
    assert decide(11.0, 2, memory=starting).memory.is_starting
    demand = decide(30.0, 2, stable=9.0, memory=starting)
    assert (demand.desired, demand.memory.is_starting) == (6, False)
    later = decide(30.0, 2, stable=22.0, scatter=6.0, memory=demand.memory)
    assert later.wanted == 6
    over = decide(9.0, 2, now=1030.0, memory=replace(starting, last_crossing=1000.0))
    assert (over.memory.panicking, over.memory.is_starting) == (False, False)


def test_spares_put_off_no_load_that_lasts() -> None:
    bare = decide(9.0, 2).inputs
    spared = decide(9.0, 2, **SPARED).inputs
    assert load_that_grows(spared) == load_that_grows(bare)
    assert load_that_grows(bare) == pytest.approx(11.0)
