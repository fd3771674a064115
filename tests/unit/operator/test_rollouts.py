"""The decider: every verdict, every rule, and what must not decide."""

import json
from dataclasses import replace
from typing import Any

import pytest

from hailstorm_operator import api
from hailstorm_operator.gate_inputs import (
    DECIDER_VERSION,
    GateRules,
    Inputs,
    LatencyRules,
    inputs_from_json,
    known_seconds,
)
from hailstorm_operator.observations import Second, Tally, Trouble
from hailstorm_operator.rollouts import Decision, decide_rollout, replay

EDGES = (10.0, 20.0, 50.0, 100.0, 200.0, 500.0)
RULES = GateRules(
    alpha=0.02,
    hold_min_seconds=30,
    hold_max_seconds=100,
    min_calls=100,
    ready_deadline_seconds=120,
    watch_seconds=60,
    on_insufficient_evidence="rollback",
)
LATENCY = LatencyRules(max_ratio=1.5, max_delta_ms=50, min_calls=50, cold_start_seconds=10)


def second(
    at: int, failed: int = 0, elsewhere: int = 0, ours: int = 30, theirs: int = 120
) -> Second:
    return Second(at, Tally(ours, failed), Tally(theirs, elsewhere))


def looked(seconds: list[Second], now: float | None = None, **changes: Any) -> Inputs:
    """A look at a canary that is ready since 0."""
    rules = changes.pop("rules", RULES)
    inputs = Inputs(
        now=float(len(seconds)) if now is None else now,
        stage="canary",
        rules=rules,
        started_at=-3.0,
        canary_since=0.0,
        seconds=tuple(seconds),
        edges=EDGES,
    )
    return replace(inputs, **changes)


def judge(seconds: list[Second], now: float | None = None, **changes: Any) -> Decision:
    return decide_rollout(looked(seconds, now, **changes))


def ends(decision: Decision) -> tuple[str, str, str]:
    return decision.verdict, decision.action, decision.rule


# Promotion.


def test_quiet_release_is_promoted_after_the_shortest_hold() -> None:
    seconds = [second(at) for at in range(30)]
    assert ends(judge(seconds[:29])) == ("", "wait", "Looking")
    decision = judge(seconds)
    assert ends(decision) == (api.VERDICT_PROMOTED, "promote", api.RULE_ENOUGH)
    assert "0 of 900 calls failed (at most 0.33%) on the new pods" in decision.explanation


def test_background_errors_on_every_version_stay_calm() -> None:
    # Of five errors each pod gets its one.
    assert judge([second(at, 1, 4) for at in range(30)]).verdict == api.VERDICT_PROMOTED


def test_zero_failures_before_and_one_on_the_canary_do_not_decide() -> None:
    decision = judge([second(at, at == 7) for at in range(30)])
    assert decision.verdict == api.VERDICT_PROMOTED


# Aborts.


def test_four_failures_on_a_fifth_of_the_calls_are_the_least_that_decide() -> None:
    failing = [second(at, 1) for at in range(4)]
    assert judge(failing[:3]).verdict == ""
    decision = judge(failing)
    assert ends(decision) == (api.VERDICT_ABORTED, "rollback", api.RULE_FAILURES)
    assert decision.figures["canaryFailed"] == 4
    assert decision.figures["secondsSinceFirstFailure"] == 4.0
    assert decision.explanation.startswith("4 of 4 failures fell on the new pods, which had 20%")


def test_failures_of_one_second_do_not_decide_alone() -> None:
    assert judge([second(0, 30)]).verdict == ""
    assert judge([second(0, 30), second(1, 30)]).verdict == api.VERDICT_ABORTED


def test_canary_that_fails_less_than_the_others_is_not_aborted() -> None:
    # The factor is far from one, on the other side.
    decision = judge([second(at, 0, 5) for at in range(40)])
    assert decision.figures["bayesFactor"] > 50
    assert decision.verdict == api.VERDICT_PROMOTED


def test_share_is_each_seconds_own() -> None:
    # While it is warming up the canary has a tenth of the calls, then a half.
    few = [second(at, 1, 9, ours=15, theirs=135) for at in range(20)]
    many = [second(at, 5, 5, ours=75, theirs=75) for at in range(20, 40)]
    assert judge(few + many).verdict == api.VERDICT_PROMOTED


def test_seconds_in_which_only_one_side_had_calls_compare_nothing() -> None:
    assert judge([second(at, 5, 0, theirs=0) for at in range(20)]).verdict == ""


@pytest.mark.parametrize(
    ("reason", "detail", "seconds", "verdict"),
    [
        ("CrashLoopBackOff", "", 0, api.VERDICT_ABORTED),
        ("InvalidImageName", "", 0, api.VERDICT_ABORTED),
        ("ErrImagePull", "registry/app:9: not found", 0, api.VERDICT_ABORTED),
        ("ErrImagePull", "dial tcp: i/o timeout", 9, ""),
        ("ImagePullBackOff", "Back-off pulling image", 10, api.VERDICT_ABORTED),
        ("CreateContainerConfigError", 'configmap "app" not ready', 10, api.VERDICT_ABORTED),
        ("Unschedulable", "", 60, ""),
    ],
)
def test_pod_that_cannot_run(reason: str, detail: str, seconds: float, verdict: str) -> None:
    trouble = Trouble("app-1", reason, detail, since=1.0)
    decision = judge([], 1.0 + seconds, canary_since=None, troubles=(trouble,))
    assert decision.verdict == verdict
    if verdict:
        assert decision.rule == reason
        assert "app-1" in decision.explanation


def test_canary_that_is_not_ready_in_time() -> None:
    assert ends(judge([], 116.9, canary_since=None)) == ("", "wait", "WaitingForCanary")
    decision = judge([], 117.0, canary_since=None)
    assert ends(decision) == (api.VERDICT_ABORTED, "rollback", api.REASON_DEADLINE)


def test_deadline_that_kubernetes_reports() -> None:
    decision = judge([], 1.0, canary_since=None, missed_deadline="ReplicaSet has timed out")
    assert ends(decision) == (api.VERDICT_ABORTED, "rollback", api.REASON_DEADLINE)


# Latency.


def timed(at: int, ours: int, theirs: int) -> Second:
    """All calls of a side in one bucket each."""
    return Second(
        at, Tally(30, 0, 0, (*([0] * ours), 30)), Tally(120, 0, 0, (*([0] * theirs), 120))
    )


def test_slow_release_is_caught_within_30_s_and_not_in_its_cold_start() -> None:
    rules = replace(RULES, latency=LATENCY, hold_min_seconds=15)
    seconds = [timed(at, 5, 2) for at in range(30)]
    first = next(n for n in range(31) if judge(seconds[:n], rules=rules).verdict)
    assert first == 19
    decision = judge(seconds[:first], rules=rules)
    assert ends(decision) == (api.VERDICT_ABORTED, "rollback", api.RULE_SLOW)
    assert decision.figures["canaryMedianMs"] == 350.0


def test_cold_start_and_hiccups_are_no_slow_release() -> None:
    rules = replace(RULES, latency=LATENCY)
    seconds = [timed(at, 5 if at < 10 or at % 4 == 0 else 2, 2) for at in range(40)]
    assert judge(seconds, rules=rules).verdict == api.VERDICT_PROMOTED


def test_both_bounds_have_to_be_passed() -> None:
    # 15 ms against 5 ms is three times as much, and ten milliseconds.
    rules = replace(RULES, latency=LATENCY)
    assert judge([timed(at, 1, 0) for at in range(40)], rules=rules).verdict == "promoted"


def test_promotion_waits_until_the_latency_is_known() -> None:
    rules = replace(RULES, latency=LATENCY, hold_min_seconds=12)
    assert judge([timed(at, 2, 2) for at in range(15)], rules=rules).verdict == ""
    assert judge([timed(at, 2, 2) for at in range(20)], rules=rules).verdict == "promoted"


def test_seconds_of_few_calls_are_joined_into_one_look() -> None:
    rules = replace(RULES, latency=LATENCY, min_calls=10, hold_max_seconds=600)
    rare = [
        Second(at, Tally(1, 0, 0, (0, 0, 0, 0, 0, 1)), Tally(4, 0, 0, (0, 0, 4)))
        for at in range(100)
    ]
    assert judge(rare, rules=rules).figures["looks"] == 9


# Too little evidence.


@pytest.mark.parametrize("then", ["promote", "rollback", "hold"])
def test_no_data_at_the_end_of_the_hold_is_what_the_policy_says(then: Any) -> None:
    rules = replace(RULES, on_insufficient_evidence=then)
    gaps = [Second(at, gap=True) for at in range(100)]
    silent = judge(gaps, rules=rules, no_data="the recorder does not answer")
    assert ends(silent) == (api.VERDICT_INSUFFICIENT, then, api.RULE_NO_DATA)
    assert ends(judge(gaps, rules=rules)) == (api.VERDICT_INSUFFICIENT, then, api.RULE_GAP)
    assert judge(gaps[:99], rules=rules).verdict == ""


def test_gap_starts_the_count_for_a_promotion_anew() -> None:
    seconds = [second(at) for at in range(60)]
    seconds[20] = Second(20, gap=True)
    assert judge(seconds[:50]).verdict == ""
    assert judge(seconds[:51]).verdict == api.VERDICT_PROMOTED


def test_failures_before_a_gap_still_testify() -> None:
    seconds = [second(0, 1), second(1, 1), Second(2, gap=True), second(3, 1), second(4, 1)]
    assert judge(seconds).rule == api.RULE_FAILURES


def test_too_few_calls() -> None:
    decision = judge([second(at, ours=0) for at in range(100)])
    assert ends(decision) == (api.VERDICT_INSUFFICIENT, "rollback", api.RULE_FEW_CALLS)


def test_evidence_that_leans_and_does_not_decide_is_looked_at_for_longer() -> None:
    # Two failures, none elsewhere: eight to one against the release.
    seconds = [second(at, at in (3, 9)) for at in range(100)]
    assert judge(seconds[:60]).verdict == ""
    assert judge(seconds).rule == api.RULE_UNDECIDED


def test_without_a_source_of_traffic_nothing_is_waited_for() -> None:
    rules = replace(RULES, has_traffic_source=False, on_insufficient_evidence="promote")
    assert judge([], 29.0, rules=rules).verdict == ""
    decision = judge([], 30.0, rules=rules)
    assert ends(decision) == (api.VERDICT_INSUFFICIENT, "promote", api.RULE_NO_SOURCE)


# New pods that nobody serves beside.

QUIET_BEFORE = tuple(second(at, ours=0, theirs=30) for at in range(-60, 0))


def lonely(at: int, failed: int = 0, calls: int = 30) -> Second:
    """Of one replica without a surge: the old pod went before the new one came."""
    return second(at, failed, ours=calls, theirs=0)


def test_release_that_fails_every_call_is_caught_by_the_past_where_nothing_old_serves() -> None:
    seconds = [lonely(at, 30) for at in range(30)]
    first = next(n for n in range(31) if judge(seconds[:n], before=QUIET_BEFORE).verdict)
    # One second may be a hiccup of what is behind it.
    assert first == 2
    decision = judge(seconds[:2], before=QUIET_BEFORE)
    assert ends(decision) == (api.VERDICT_ABORTED, "rollback", api.RULE_PAST)
    assert decision.explanation.startswith("1 of 1 calls failed on new pods alone; before it was")


def test_release_that_is_as_good_as_the_past_is_promoted_where_nothing_old_serves() -> None:
    assert judge([lonely(at) for at in range(30)], before=QUIET_BEFORE).verdict == "promoted"
    background = tuple(second(at, ours=0, elsewhere=at % 2, theirs=30) for at in range(-60, 0))
    assert judge([lonely(at, at % 2) for at in range(30)], before=background).verdict == "promoted"


@pytest.mark.parametrize("failed", [0, 30])
@pytest.mark.parametrize("before", [(), (Second(-1, gap=True),), (second(-1, ours=0, theirs=3),)])
def test_without_anything_to_compare_with_nothing_is_promoted(
    before: tuple[Second, ...], failed: int
) -> None:
    seconds = [lonely(at, failed) for at in range(100)]
    assert judge(seconds[:99], before=before).verdict == ""
    decision = judge(seconds, before=before)
    assert ends(decision) == (api.VERDICT_INSUFFICIENT, "rollback", api.RULE_UNCOMPARED)


def test_comparison_that_could_not_have_decided_is_none() -> None:
    # All of 40 calls fail, and with 10 of 11 calls that is what chance would do.
    rules = replace(RULES, min_calls=20, hold_min_seconds=4)
    seconds = [second(at, 10, ours=10, theirs=1) for at in range(20)]
    assert judge(seconds[:4], rules=rules).verdict == ""
    assert judge(seconds, rules=rules).rule == api.RULE_FAILURES
    good = [second(at, ours=10, theirs=1) for at in range(20)]
    first = next(n for n in range(21) if judge(good[:n], rules=rules).verdict)
    assert (first > 4, judge(good[:first], rules=rules).verdict) == (True, "promoted")


def test_gap_takes_away_what_there_was_to_compare_with() -> None:
    beside = [second(at) for at in range(10)]
    seconds = [*beside, Second(10, gap=True), *(lonely(at) for at in range(11, 60))]
    # What the others showed before the gap is a past to compare with.
    assert judge(seconds).verdict == "promoted"
    few = [second(at, ours=30, theirs=1) for at in range(2)]
    seconds = [*few, Second(2, gap=True), *(lonely(at) for at in range(3, 60))]
    assert judge(seconds).verdict == ""


def test_what_was_decided_by_earlier_rules_is_replayed_by_those() -> None:
    stored = looked([lonely(at, 30) for at in range(30)]).as_json()
    assert stored["decider"] == DECIDER_VERSION
    assert replay(stored).verdict == ""
    # The number came with the second rules.
    del stored["decider"]
    assert replay(stored).verdict == "promoted"
    with pytest.raises(ValueError, match="decided by rules 99"):
        replay({**stored, "decider": 99})


# The watch after a promotion.


def watched(alone: list[Second], now: float, **changes: Any) -> Decision:
    held = [second(at, 0, at % 2) for at in range(30)]
    changes = {"promoted_at": 30.0, "arrived_at": 40.0, **changes}
    return judge(held + alone, now, stage="watch", **changes)


def alone(at: int, failed: int) -> Second:
    return second(at, failed, ours=150, theirs=0)


def test_watch_ends_when_its_time_is_over() -> None:
    calm = [alone(at, at % 2) for at in range(30, 100)]
    assert ends(watched(calm[:60], 99.0)) == ("", "wait", "Watching")
    assert ends(watched(calm, 100.0)) == (api.VERDICT_PROMOTED, "finish", api.RULE_WATCHED)


def test_watch_does_not_end_before_every_pod_is_new() -> None:
    assert ends(watched([], 500.0, arrived_at=None)) == ("", "wait", "Rolling")


def test_release_that_fails_when_nothing_old_is_left_is_caught_by_the_past() -> None:
    decision = watched([alone(at, 8) for at in range(40, 46)], 46.0)
    assert ends(decision) == (api.VERDICT_ABORTED, "rollback", api.RULE_PAST)
    assert "since every pod is new" in decision.explanation


def test_new_pods_are_compared_with_old_ones_as_long_as_there_are_any() -> None:
    rolling = [second(at, 2, 0, ours=75, theirs=75) for at in range(30, 40)]
    assert watched(rolling, 40.0).rule == api.RULE_FAILURES


def test_watch_without_data_says_so_and_takes_nothing_back() -> None:
    gaps = [Second(at, gap=True) for at in range(40, 100)]
    decision = watched(gaps, 100.0)
    assert decision.action == "finish"
    assert "60 s are not known" in decision.explanation


# Replay, and what the seconds are made of.


@pytest.mark.parametrize(
    "inputs",
    [
        looked([second(at, 1) for at in range(4)]),
        looked([timed(at, 5, 2) for at in range(40)], rules=replace(RULES, latency=LATENCY)),
        looked([], 200.0, canary_since=None, troubles=(Trouble("a", "ErrImagePull", "x", 3.0),)),
        looked([second(0)], 100.0, stage="watch", arrived_at=9.0, before=(second(-1, 0, 3),)),
    ],
)
def test_recorded_inputs_lead_to_the_same_decision(inputs: Inputs) -> None:
    stored = json.loads(json.dumps(inputs.as_json()))
    assert inputs_from_json(stored) == inputs
    assert replay(stored) == decide_rollout(inputs)
    assert "null" not in json.dumps(stored)


def test_second_that_nobody_told_of_is_a_gap_once_it_is_settled() -> None:
    told = {0: second(0), 2: second(2), 3: Second(3)}
    known = known_seconds(told, 0.4, now=4.5, settled=2.5)
    # 3 is quiet so far and 4 is on its way: neither is known yet.
    assert known == (second(0), Second(1, gap=True), second(2))
    assert known_seconds(told, 0.4, now=6.0, settled=4.0)[3] == Second(3)


def test_gap_is_a_gap_before_it_is_settled() -> None:
    assert known_seconds({0: Second(0, gap=True)}, 0, now=1.0, settled=-1.0)[0].gap
