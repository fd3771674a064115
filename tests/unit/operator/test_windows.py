"""Fast, stable, and the highest plan of the scale-down window."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hailstorm_operator.windows import SignalWindows


def filled(*values: float, every: float = 0.5) -> SignalWindows:
    windows = SignalWindows(2.0, 30.0, 300.0)
    for number, value in enumerate(values):
        windows.add(number * every, value)
    return windows


def test_windows_without_samples_know_nothing() -> None:
    windows = SignalWindows(2.0, 30.0, 300.0)
    assert (windows.fast(0.0), windows.stable(0.0), windows.peak(0.0)) == (None, None, None)
    assert (windows.scatter(0.0), windows.slope(0.0)) == (0.0, 0.0)


def test_fast_window_sees_the_last_samples_only() -> None:
    windows = filled(*([0.0] * 20), 8.0, 8.0, 8.0, 8.0)
    assert windows.fast(11.5) == 8.0
    assert windows.stable(11.5) == 32 / 24


def test_samples_leave_the_windows() -> None:
    windows = filled(8.0)
    assert windows.stable(29.9) == 8.0
    assert windows.stable(30.0) is None


def test_peak_is_the_highest_plan_until_the_scale_down_window_has_passed() -> None:
    windows = SignalWindows(2.0, 30.0, 300.0)
    for at, load in ((0.0, 20.0), (100.0, 8.0), (200.0, 12.0), (250.0, 5.0)):
        windows.plan(at, load)
    assert windows.peak(299.9) == 20.0
    assert windows.peak(300.0) == 12.0
    assert windows.peak(500.0) == 5.0
    assert windows.peak(550.0) is None


@given(st.lists(st.floats(0, 100), min_size=1, max_size=80))
def test_peak_is_what_a_search_through_all_plans_finds(loads: list[float]) -> None:
    windows = SignalWindows(2.0, 5.0, 30.0)
    for at, load in enumerate(loads):
        windows.plan(float(at), load)
        assert windows.peak(float(at)) == max(loads[max(0, at - 29) : at + 1])


def test_slope_needs_half_a_window_of_samples() -> None:
    assert filled(*range(20)).slope(9.5) == 0.0
    assert filled(*range(60)).slope(29.5) > 0


def test_scatter_is_a_deviation_from_sample_to_sample() -> None:
    source = random.Random("scatter")
    values = [source.gauss(20.0, 4.0) for _ in range(60)]
    assert filled(*values).scatter(29.5) == pytest.approx(4.0, rel=0.25)
    assert filled(4.0, 9.0, 2.0).scatter(1.0) == 0.0


@pytest.mark.parametrize("high", [1, 4, 10, 30, 59])
def test_step_is_no_scatter(high: int) -> None:
    values = [5.0] * (60 - high) + [20.0] + [50.0] * (high - 1)
    assert filled(*values).scatter(29.5) == 0.0


def test_rising_is_above_the_sample_before_and_the_fast_window() -> None:
    windows = SignalWindows(2.0, 30.0, 300.0)
    assert not windows.is_rising(0.0)
    windows.add(0.0, 10.0)
    assert not windows.is_rising(0.0)
    for at, value, rising in ((0.5, 20.0, True), (1.0, 40.0, True), (1.5, 30.0, False)):
        windows.add(at, value)
        assert windows.is_rising(at) is rising
    assert (windows.looks(1.5), windows.looks(2.2), windows.looks(9.0)) == (4, 3, 0)
    # Above the one before, and below what the last two seconds had.
    windows.add(2.0, 10.0)
    windows.add(2.5, 12.0)
    assert not windows.is_rising(2.5)
    assert not windows.is_rising(9.0)
