"""Each checker passes what is well, and sees the one thing that is bent."""

from collections.abc import Callable
from typing import Any

import pytest

from hailstorm_drills.checkers import ALL
from hailstorm_drills.checkers.availability import check_availability
from hailstorm_drills.checkers.base import Finding, Verdict, bound95, merge, run_checkers
from hailstorm_drills.checkers.conduct import check_conduct
from hailstorm_drills.checkers.generator import check_generator
from hailstorm_drills.checkers.latency import check_latency
from hailstorm_drills.checkers.recovery import check_recovery
from hailstorm_drills.checkers.took_hold import check_took_hold
from hailstorm_drills.evidence import Evidence
from hailstorm_loadtests.history import Call, History

PASS, FAIL, UNKNOWN = Verdict.PASS, Verdict.FAIL, Verdict.UNKNOWN
Make = Callable[..., Evidence]
MakeCall = Callable[..., Call]


def with_calls(evidence: Make, *more: Call, **changes: Any) -> Evidence:
    good = evidence()
    assert good.history is not None
    calls = tuple(sorted((*good.history.calls, *more), key=lambda c: c.intended))
    return evidence(history=History(calls, good.history.generator), **changes)


def test_verdicts_merge_false_over_unknown_over_true() -> None:
    assert merge([PASS, UNKNOWN, FAIL]) is FAIL
    assert merge([PASS, UNKNOWN]) is UNKNOWN
    assert merge([PASS, PASS]) is PASS
    assert merge([]) is UNKNOWN


def test_crashed_checker_is_unknown_and_the_others_still_speak(evidence: Make) -> None:
    def crash(_: Evidence) -> Finding:
        raise KeyError("nobody thought of this")

    found = run_checkers([("crash", crash), ("availability", check_availability)], evidence())
    assert [finding.verdict for finding in found] == [UNKNOWN, PASS]
    assert "crashed in crash: KeyError" in found[0].why


@pytest.mark.parametrize("name", [name for name, _ in ALL])
def test_no_data_is_unknown_for_every_checker(name: str, evidence: Make) -> None:
    nothing = evidence(
        intervals={}, history=None, lives=[], facts=None, records=None, load=None, health={}
    )
    assert dict(ALL)[name](nothing).verdict is UNKNOWN


@pytest.mark.parametrize("name", [name for name, _ in ALL])
def test_empty_data_never_passes(name: str, evidence: Make) -> None:
    empty = evidence(
        history=History(()),
        lives=[],
        facts={"trips": [], "events": [], "keys": [], "overdue_offers": 0},
        load={"is_complete": True, "lines_received": 0},
    )
    verdict = dict(ALL)[name](empty).verdict
    # Whether the steps went as planned does not depend on data.
    assert verdict is (PASS if name == "conduct" else UNKNOWN)


def test_bound_is_the_rule_of_three_without_failures() -> None:
    assert bound95(0, 30_000) == pytest.approx(0.0001)
    assert bound95(0, 2) == 1.0
    assert bound95(0, 0) is None
    # Wilson's one-sided limit for 10 of 1,000, from a table.
    assert bound95(10, 1000) == pytest.approx(0.0166, abs=0.0002)


def test_availability_passes_with_n_and_bound(evidence: Make) -> None:
    found = check_availability(evidence())
    assert found.verdict is PASS
    assert found.figures["offered"] == 2600
    assert found.figures["failed_bound95"] == pytest.approx(3 / 2600)
    assert found.figures["offered_during_fault"] == 800


def test_availability_fails_on_one_failed_call(evidence: Make, call: MakeCall) -> None:
    bad = call(72.0, code="UNAVAILABLE", outcome="fail")
    found = check_availability(with_calls(evidence, bad))
    assert found.verdict is FAIL
    assert found.figures["failed_during_fault"] == 1


def test_availability_counts_shed_calls_as_failed(evidence: Make, call: MakeCall) -> None:
    bad = call(72.0, code="RESOURCE_EXHAUSTED", outcome="fail")
    found = check_availability(with_calls(evidence, bad))
    assert (found.verdict, found.figures["shed"]) == (FAIL, 1)


def test_availability_is_unknown_when_an_outcome_is(evidence: Make, call: MakeCall) -> None:
    bad = call(72.0, 3.0, code="DEADLINE_EXCEEDED", outcome="unknown")
    assert check_availability(with_calls(evidence, bad)).verdict is UNKNOWN


def test_availability_counts_what_the_edge_retried(evidence: Make, call: MakeCall) -> None:
    found = check_availability(with_calls(evidence, call(72.0, attempts=2)))
    assert (found.verdict, found.figures["retried_ok"]) == (PASS, 1)


def test_latency_compares_phases_and_leaves_streams_out(evidence: Make, call: MakeCall) -> None:
    slow = [call(75.0 + n / 10, 0.5) for n in range(12)]
    streams = [call(75.0 + n / 10, 30.0, method="WatchTrip") for n in range(12)]
    found = check_latency(with_calls(evidence, *slow, *streams))
    assert found.verdict is PASS
    assert found.figures["p99_ms"] == {"baseline": 20.0, "fault": 500.0, "recovery": 20.0}
    assert found.figures["p99_ratio"] == 25.0


def test_latency_fails_above_the_limit(evidence: Make, call: MakeCall) -> None:
    slow = [call(75.0 + n / 10, 1.5) for n in range(12)]
    assert check_latency(with_calls(evidence, *slow)).verdict is FAIL


@pytest.mark.parametrize(
    ("limits", "verdict", "told"),
    [
        ({"max_p99_ratio": 1.5}, FAIL, "the limits are 1000 ms and 1.5 times"),
        ({"max_p99_ratio": 25.0}, PASS, "the limits are 1000 ms and 25 times"),
        ({"max_p99_ratio": 1.5, "max_fault_p99_ms": None}, FAIL, "the limit is 1.5 times"),
        ({"max_p99_ratio": 25.0, "max_fault_p99_ms": 499.0}, FAIL, "the limits are 499 ms and"),
        ({"max_fault_p99_ms": None}, PASS, "not judged in this variant"),
    ],
)
def test_latency_is_held_against_that_before(
    limits: dict[str, Any],
    verdict: Verdict,
    told: str,
    evidence: Make,
    call: MakeCall,
    parameters: Any,
) -> None:
    # 500 ms during, 20 ms before.
    slow = [call(75.0 + n / 10, 0.5) for n in range(12)]
    found = check_latency(with_calls(evidence, *slow, parameters=parameters(**limits)))
    assert found.verdict is verdict
    assert told in found.why
    assert found.figures.get("max_p99_ratio") == limits.get("max_p99_ratio")


def test_latency_counts_from_the_intended_start(evidence: Make, call: MakeCall) -> None:
    late = [call(75.0 + n / 10, 1.5, started=76.4 + n / 10) for n in range(12)]
    assert check_latency(with_calls(evidence, *late)).verdict is FAIL


def test_latency_is_unknown_when_a_phase_is_thin(evidence: Make) -> None:
    good = evidence()
    assert good.history is not None
    thin = tuple(c for c in good.history.calls if not 60 <= c.intended < 99)
    assert check_latency(evidence(history=History(thin))).verdict is UNKNOWN


def test_recovery_is_the_last_bad_window(evidence: Make, call: MakeCall) -> None:
    bad = [call(62.0, code="UNAVAILABLE", outcome="fail"), call(76.0, 0.4), call(77.0, 0.4)]
    found = check_recovery(with_calls(evidence, *bad))
    assert found.verdict is PASS
    assert found.figures["bad_windows"] == 2
    assert found.figures["recovery_seconds"] == 20.0
    assert found.figures["first_failure_seconds"] == pytest.approx(2.02)


def test_recovery_is_zero_when_nobody_felt_it(evidence: Make) -> None:
    found = check_recovery(evidence())
    assert (found.verdict, found.figures["recovery_seconds"]) == (PASS, 0.0)


def test_recovery_fails_when_it_is_bad_to_the_end(evidence: Make, call: MakeCall) -> None:
    bad = [call(60.0 + n, code="UNAVAILABLE", outcome="fail") for n in range(70)]
    assert check_recovery(with_calls(evidence, *bad)).verdict is FAIL


def test_recovery_takes_silence_for_bad(evidence: Make) -> None:
    good = evidence()
    assert good.history is not None
    gap = tuple(c for c in good.history.calls if not 80 <= c.intended < 90)
    assert check_recovery(evidence(history=History(gap))).figures["bad_windows"] == 2


def test_generator_is_believed_when_on_time_and_complete(evidence: Make) -> None:
    found = check_generator(evidence())
    assert found.verdict is PASS
    assert found.figures["lag_p99_ms"] == 1.0
    assert found.figures["calls_per_second"] == 20.0


@pytest.mark.parametrize(
    ("changes", "doubt"),
    [
        ({"is_complete": False, "why": "1 of 2 workers went missing"}, "went missing"),
        ({"lines_received": 2602}, "2602 lines were received"),
        ({"calls_per_second": 30.0}, "30 were wanted"),
        ({"calls_per_second": None}, "0 were wanted"),
    ],
)
def test_generator_is_doubted(changes: dict[str, Any], doubt: str, evidence: Make) -> None:
    found = check_generator(evidence(load={**(evidence().load or {}), **changes}))
    assert found.verdict is UNKNOWN
    assert doubt in found.why


def test_generator_is_doubted_when_it_lags(evidence: Make, call: MakeCall) -> None:
    late = [call(10.0 + n, 0.2, started=10.0 + n + 0.09) for n in range(40)]
    found = check_generator(
        with_calls(evidence, *late, load={**(evidence().load or {}), "lines_received": 2641})
    )
    assert found.verdict is UNKNOWN
    assert "its lag was 90 ms" in found.why


def test_generator_is_doubted_when_a_worker_was_cut_short(evidence: Make) -> None:
    good = evidence()
    assert good.history is not None
    cut = ({"kind": "generator", "worker": 1, "is_capped": True},)
    found = check_generator(evidence(history=History(good.history.calls, cut)))
    assert "worker 1 was cut short" in found.why


def test_took_hold_wants_every_old_pod_gone(evidence: Make) -> None:
    good = evidence()
    assert check_took_hold(good).verdict is PASS
    stayed = check_took_hold(evidence(lives=good.lives[1:]))
    assert stayed.verdict is UNKNOWN
    assert "0 of 0 old pods went, 1 new came" in stayed.why
    assert check_took_hold(evidence(lives=good.lives[:1])).verdict is UNKNOWN
    assert check_took_hold(evidence(components=("trip", "location"))).verdict is UNKNOWN
    assert check_took_hold(evidence(components=())).verdict is UNKNOWN


def test_took_hold_wants_enough_users(evidence: Make, parameters: Any) -> None:
    found = check_took_hold(evidence(parameters=parameters(min_user_calls=10_000)))
    assert found.verdict is UNKNOWN
    assert "2600 user calls, 10000 are needed" in found.why


@pytest.mark.parametrize(
    ("changes", "verdict", "told"),
    [
        ({}, PASS, "as planned"),
        ({"problems": {"facts": "no route"}}, UNKNOWN, "facts: no route"),
        ({"health": {"before": None, "after": "trip-1 is not ready"}}, FAIL, "trip-1"),
        ({"health": {"before": None}}, UNKNOWN, "was not looked at"),
        ({"health": {"before": "sick", "after": None}}, UNKNOWN, "not healthy before"),
    ],
)
def test_conduct(changes: dict[str, Any], verdict: Verdict, told: str, evidence: Make) -> None:
    found = check_conduct(evidence(**changes))
    assert found.verdict is verdict
    assert told in found.why


def test_conduct_is_unknown_when_a_phase_was_not_reached(evidence: Make) -> None:
    intervals = dict(evidence().intervals)
    del intervals["hold"]
    assert check_conduct(evidence(intervals=intervals)).verdict is UNKNOWN
