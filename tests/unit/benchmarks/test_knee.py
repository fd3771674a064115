"""The knee of servers whose knee is known."""

import contextlib
import math
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

import request_trip
from hailstorm_benchmarks.figures import Verdict
from hailstorm_benchmarks.knee import NoKneeError, Step, find_knee, step_of
from hailstorm_loadtests.history import Call, outcome_of
from request_trip import judge


def step(rate: float, capacity: float, lag_ms: float = 1.0) -> Step:
    served = min(rate, capacity)
    return Step(rate, served, 10.0, lag_ms, round(rate), goodput=served)


def test_knee_lies_below_the_capacity_and_near_it() -> None:
    for capacity in (3.0, 10.0, 57.0, 140.0):
        knee = find_knee(partial(step, capacity=capacity), 2.0, 500.0)
        # Where 95 % of what is offered is good, and a step of 1.2 below it at most.
        assert capacity / 0.95 / 1.2 <= knee <= capacity / 0.95


def test_one_bad_moment_is_not_the_knee() -> None:
    bad = iter([False, True])

    def offer(rate: float) -> Step:
        return step(rate, 0.0 if next(bad, False) else 100.0)

    assert find_knee(offer, 2.0, 500.0) > 80


@pytest.mark.parametrize(
    ("capacity", "lag_ms", "words"),
    [(1.0, 1.0, "too many"), (1e9, 1.0, "not enough"), (50.0, 51.0, "generator")],
)
def test_no_knee_is_said_and_never_guessed(capacity: float, lag_ms: float, words: str) -> None:
    with pytest.raises(NoKneeError, match=words):
        find_knee(lambda rate: step(rate, capacity, lag_ms), 2.0, 100.0)


def call(
    key: str,
    intended: float,
    wait: float,
    code: str = "OK",
    method: str = "RequestTrip",
    state: str | None = "MATCHED",
) -> Call:
    return Call(
        intended=intended,
        started=intended + 0.01,
        ended=intended + wait,
        method=method,
        code=code,
        outcome=outcome_of(code),
        key=key,
        state=state if code == "OK" else None,
    )


def test_only_answers_in_time_are_good() -> None:
    calls = [
        call("a", 10.0, 0.1),
        call("late", 10.5, 0.3),
        # Refused at once: quick, and not good.
        call("refused", 11.0, 0.001, "RESOURCE_EXHAUSTED"),
        # Refused, and answered soon after the second tap, but not after the first.
        call("again", 11.5, 0.001, "RESOURCE_EXHAUSTED"),
        call("again", 12.1, 0.1),
        # A tap that was sent twice is one wish.
        call("a", 10.01, 0.1),
        # Before the demand began, after it ended, another method.
        call("before", 9.9, 0.1),
        call("after", 12.0, 0.1),
        call("other", 10.0, 0.1, method="GetTrip"),
    ]
    found = step_of(calls, "RequestTrip", 10.0, 2.0)
    assert (found.wishes, found.offered, found.good) == (4, 2.0, 0.5)
    assert found.p99_ms == 5_000
    assert found.lag_p99_ms == pytest.approx(10)
    assert (found.answered, found.unmatched, found.doubt) == (3, {}, "")


def test_past_the_knee_the_tap_counts_that_brought_a_driver() -> None:
    refused = "RESOURCE_EXHAUSTED"
    calls = [
        call("at once", 10.0, 0.1),
        # Refused twice at once, then served.
        *(call("again", 10.0 + number, 0.001, refused) for number in range(2)),
        call("again", 12.0, 0.1),
        # What is told of a trip that has one is no second one.
        call("again", 12.5, 0.1),
        # Kept waiting for a refusal, or for an answer that never came: both are late,
        # however soon the next tap is told of the trip that the first one made.
        call("slow", 10.0, 0.3, refused),
        call("slow", 11.3, 0.01),
        call("lost", 10.0, 5.0, "DEADLINE_EXCEEDED"),
        call("lost", 12.9, 0.01),
        call("late", 10.0, 0.3),
        # It was there already, waiting, when a doubled tap was told of its driver.
        call("waits", 10.0, 0.1, state="REQUESTED"),
        call("waits", 10.2, 0.1),
        # The wish is of before, its tap of now; and one whose tap is of afterwards.
        call("before", 9.5, 0.001, refused),
        call("before", 10.5, 0.1),
        call("after", 12.9, 0.001, refused),
        call("after", 13.9, 0.1),
        call("alone", 11.0, 0.1, state="UNFULFILLED"),
    ]
    found = step_of(calls, "RequestTrip", 10.0, 3.0)
    assert found.goodput == pytest.approx(3 / 3.0)
    assert found.good == pytest.approx(1 / 3.0)


def test_past_the_knee_is_judged_by_the_tap_and_the_wish_stands_beside_it() -> None:
    at = replace(step(100.0, 90.0), goodput=100.0)
    beyond = replace(step(300.0, 30.0), goodput=95.0)
    _, goodput = judge(100.0, [at], 100.0, [at], [beyond], "apart")
    assert goodput.verdict is Verdict.PASS
    assert (goodput.measured.median, goodput.rival.median) == (95.0, 100.0)
    assert "from the first tap on 30.0 trips/s beyond and 90.0 at it" in goodput.why


def test_answer_without_a_driver_is_no_match() -> None:
    calls = [
        call("a", 10.0, 0.1),
        # By the second tap the trip may be further than MATCHED.
        call("further", 10.1, 0.001, "UNAVAILABLE"),
        call("further", 10.2, 0.1, state="ARRIVING"),
        # Quick, and OK on the wire.
        call("alone", 10.5, 0.01, state="UNFULFILLED"),
        # The driver took it back; the rider had one in time all the same.
        call("was", 10.6, 0.1),
        call("was", 10.7, 0.1, state="CANCELLED"),
    ]
    found = step_of(calls, "RequestTrip", 10.0, 2.0)
    assert (found.wishes, found.answered, found.good) == (4, 4, 1.5)
    assert found.unmatched == {"UNFULFILLED": 1}
    # Who was told that nobody is near was not kept waiting.
    assert found.p99_ms == pytest.approx(200)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("UNFULFILLED", "drivers ran out"),
        ("OFFERED", "autoAccept"),
        ("REQUESTED", "autoAccept"),
        (None, "without a state"),
    ],
)
def test_step_without_drivers_says_nothing_of_the_server(state: str | None, words: str) -> None:
    some = [call(f"m{number}", 10.0, 0.1) for number in range(98)]
    alone = [call(f"u{number}", 10.0, 0.1, state=state) for number in range(3)]
    assert step_of(some + alone[:2], "RequestTrip", 10.0, 1.0).doubt == ""
    found = step_of(some + alone, "RequestTrip", 10.0, 1.0)
    assert words in found.doubt
    with pytest.raises(NoKneeError, match=words):
        find_knee(lambda _: found, 2.0, 100.0)
    # Nobody at all: no p99 to speak of, and the same reason.
    nobody = step_of(alone, "RequestTrip", 10.0, 1.0)
    assert math.isnan(nobody.p99_ms)
    assert words in nobody.doubt


def test_figures_say_how_many_had_no_driver() -> None:
    few = replace(step(100.0, 100.0), answered=100, unmatched={"UNFULFILLED": 2})
    figures = judge(100.0, [few], 50.0, [few], [few], "apart")
    assert [figure.verdict for figure in figures] == [Verdict.PASS, Verdict.PASS]
    p99, goodput = figures
    assert "2 of 100 answers without a driver" in p99.why
    assert "4 of 200 answers without a driver" in goodput.why


@pytest.mark.parametrize(
    ("place", "name", "doubtful"),
    [(0, "half", "p99"), (1, "1x", "goodput"), (2, "3x", "goodput")],
)
@pytest.mark.parametrize(
    ("changes", "words"),
    [({"unmatched": {"UNFULFILLED": 3}}, "drivers ran out"), ({"lag_p99_ms": 60.0}, "60 ms late")],
)
def test_figure_is_unknown_for_a_doubt_of_its_own_steps_alone(
    place: int, name: str, doubtful: str, changes: dict[str, Any], words: str
) -> None:
    good = replace(step(100.0, 100.0), answered=100)
    steps = [good, good, good]
    steps[place] = replace(good, **changes)
    for figure in judge(100.0, [steps[0]], 50.0, [steps[1]], [steps[2]], "apart"):
        if doubtful in figure.name:
            assert figure.verdict is Verdict.UNKNOWN
            assert f"at {name} the knee" in figure.why
            assert words in figure.why
        else:
            assert figure.verdict is Verdict.PASS


def test_step_without_a_call_is_an_error() -> None:
    with pytest.raises(ValueError, match="no wishes"):
        step_of([call("a", 1.0, 0.1, method="GetTrip")], "RequestTrip", 0.0, 2.0)


def test_no_knee_with_cores_apart_leaves_what_was_measured_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    good = replace(step(100.0, 100.0), answered=100)

    def none(*_: Any) -> float:
        raise NoKneeError("12 calls a second are too many already")

    monkeypatch.setattr(request_trip, "offer", lambda *_, **__: good)
    monkeypatch.setattr(request_trip, "find_knee", none)
    monkeypatch.setattr(request_trip, "apart", lambda _: contextlib.nullcontext((True, "apart")))
    monkeypatch.setattr(request_trip, "as_many_pods", lambda _: contextlib.nullcontext("held"))
    p99, goodput = request_trip.measure("here", "hailstorm", 1, 1.0, knee=100.0)
    assert p99.verdict is Verdict.PASS
    assert goodput.verdict is Verdict.UNKNOWN
    assert goodput.why == "apart, held: 12 calls a second are too many already"
