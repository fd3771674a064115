"""A ramp is a slope; a step, noise and a fall are none."""

import random

import pytest

from hailstorm_operator.slopes import (
    MOST_HEADROOM,
    headroom,
    significant_slope,
    steady_slope,
)


def samples(values: list[float]) -> list[tuple[float, float]]:
    return [(1e9 + number * 0.5, value) for number, value in enumerate(values)]


def noise(mean: float, seed: int, deviation: float = 4.0) -> float:
    return max(0.0, random.Random(f"{seed}").gauss(mean, deviation))


def test_ramp_has_its_slope() -> None:
    assert steady_slope(samples([float(number) for number in range(60)])) == pytest.approx(2.0)


def test_ramp_is_found_in_noise() -> None:
    ramp = samples([noise(20 + number, number) for number in range(60)])
    assert steady_slope(ramp) == pytest.approx(2.0, rel=0.5)


@pytest.mark.parametrize("at", [5, 20, 30, 31, 45, 59])
def test_step_is_no_slope_wherever_it_lies(at: int) -> None:
    values = [20.0] * at + [100.0] * (60 - at)
    assert steady_slope(samples(values)) == 0.0


def test_steady_noise_is_seldom_a_slope() -> None:
    found = [
        steady_slope(samples([noise(20, seed * 1000 + number) for number in range(60)]))
        for seed in range(200)
    ]
    assert sum(slope > 0 for slope in found) <= 4


def test_falling_demand_is_no_slope() -> None:
    assert steady_slope(samples([float(60 - number) for number in range(60)])) == 0.0


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 2.0, 3.0]])
def test_few_samples_are_no_slope(values: list[float]) -> None:
    assert steady_slope(samples(values)) == 0.0


def test_samples_of_one_moment_are_no_slope() -> None:
    assert significant_slope([(5.0, float(number)) for number in range(9)]) == 0.0


def test_headroom_is_what_comes_until_a_pod_serves_and_bounded() -> None:
    assert headroom(20.0, 0.5, 10.0) == 5.0
    assert headroom(20.0, 0.5, 0.0) == 0.0
    assert headroom(20.0, 50.0, 10.0) == 20.0 * MOST_HEADROOM
