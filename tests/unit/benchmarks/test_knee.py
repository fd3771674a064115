"""The knee of servers whose knee is known."""

from functools import partial

import pytest

from hailstorm_benchmarks.knee import NoKneeError, Step, find_knee, step_of
from hailstorm_loadtests.history import Call, outcome_of


def step(rate: float, capacity: float, lag_ms: float = 1.0) -> Step:
    return Step(rate, min(rate, capacity), 10.0, lag_ms, round(rate))


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
    key: str, intended: float, wait: float, code: str = "OK", method: str = "RequestTrip"
) -> Call:
    return Call(
        intended=intended,
        started=intended + 0.01,
        ended=intended + wait,
        method=method,
        code=code,
        outcome=outcome_of(code),
        key=key,
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


def test_step_without_a_call_is_an_error() -> None:
    with pytest.raises(ValueError, match="no values"):
        step_of([call("a", 1.0, 0.1, method="GetTrip")], "RequestTrip", 0.0, 2.0)
