"""The Bayes factor against its formula, and its promise against chance."""

import random
from math import exp, lgamma, log

import pytest

from hailstorm_operator.bayes import Evidence, fewest_events


def by_formula(x: int, n: int, share: float) -> float:
    beta = lgamma(1 + x) + lgamma(1 + n - x) - lgamma(2 + n)
    return exp(beta - x * log(share) - (n - x) * log(1 - share))


@pytest.mark.parametrize(("x", "n"), [(0, 0), (0, 5), (1, 1), (4, 4), (3, 10), (40, 60)])
def test_factor_is_the_formula_of_the_design(x: int, n: int) -> None:
    evidence = Evidence()
    for number in range(n):
        evidence.add(int(number < x), 1, 0.25)
    assert evidence.factor == pytest.approx(by_formula(x, n, 0.25))


def test_fewest_failures_that_decide() -> None:
    assert [fewest_events(0.2, alpha) for alpha in (0.05, 0.02, 0.01)] == [3, 4, 4]
    assert fewest_events(0.25, 0.02) == 4


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_certain_events_say_nothing(share: float) -> None:
    evidence = Evidence()
    evidence.add(3, 3, share)
    assert (evidence.total, evidence.factor) == (0, 1)


def test_bounded_second_weighs_less_and_says_the_same() -> None:
    bounded, whole = Evidence(), Evidence()
    bounded.add(8, 16, 0.2, most=2)
    whole.add(2, 4, 0.2)
    assert bounded.log_factor == pytest.approx(whole.log_factor)


@pytest.mark.parametrize("shares", [(0.2,), (0.05, 0.5)])
def test_looking_at_every_event_keeps_the_promise(shares: tuple[float, ...]) -> None:
    # With shares that change from second to second, as those of a warming pod do.
    source, alpha, false_alarms, runs = random.Random(7), 0.05, 0, 2000
    for _ in range(runs):
        evidence = Evidence()
        for number in range(60):
            share = shares[number % len(shares)]
            evidence.add(int(source.random() < share), 1, share)
            if evidence.reaches(alpha):
                false_alarms += 1
                break
    # Three standard deviations above alpha.
    assert false_alarms / runs <= alpha + 3 * (alpha * (1 - alpha) / runs) ** 0.5
