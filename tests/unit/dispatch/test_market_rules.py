"""Prices and gates: the pure rules behind them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hailstorm.dispatch.gate import is_gated
from hailstorm.dispatch.surge import multiplier_of, pressure_of, smoothed


@pytest.mark.parametrize(
    ("requests", "idle", "multiplier"),
    [(0, 0, 1.0), (5, 10, 1.0), (10, 10, 1.0), (12, 10, 1.2), (4, 0, 3.0), (999, 1, 3.0)],
)
def test_multiplier_is_the_pressure_within_its_bounds(
    requests: int, idle: int, multiplier: float
) -> None:
    assert multiplier_of(pressure_of(requests, idle)) == multiplier


@given(st.floats(0, 1e9))
def test_multiplier_is_a_step_of_a_tenth_that_trip_accepts(pressure: float) -> None:
    multiplier = multiplier_of(pressure)
    assert 1.0 <= multiplier <= 3.0
    assert multiplier == round(multiplier, 1)


@given(st.floats(0, 100), st.floats(0, 100), st.floats(0, 600))
def test_smoothing_stays_between_before_and_now(before: float, now: float, elapsed: float) -> None:
    after = smoothed(before, now, elapsed, 30)
    low, high = sorted((before, now))
    assert low - 1e-9 <= after <= high + 1e-9


def test_smoothing_does_not_depend_on_how_often_one_looks() -> None:
    often = 1.0
    for _ in range(30):
        often = smoothed(often, 3.0, 1.0, 30)
    assert often == pytest.approx(smoothed(1.0, 3.0, 30.0, 30))
    assert often == pytest.approx(3 - 2 / math.e)


def test_gate_closes_when_the_unallocated_outrun_drivers_and_opens_again() -> None:
    assert not is_gated(9, 0, ratio=2, allowance=10)
    assert is_gated(10, 0, ratio=2, allowance=10)
    # Drivers come back, or the minute goes by.
    assert not is_gated(10, 1, ratio=2, allowance=10)
    assert not is_gated(3, 0, ratio=2, allowance=10)


@given(st.integers(0, 500), st.integers(0, 100))
def test_gate_never_closes_for_more_drivers_or_fewer_riders(unallocated: int, idle: int) -> None:
    if not is_gated(unallocated, idle, ratio=2, allowance=10):
        assert not is_gated(unallocated, idle + 1, ratio=2, allowance=10)
        assert not is_gated(max(0, unallocated - 1), idle, ratio=2, allowance=10)
