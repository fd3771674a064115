"""Sliding windows over the signal."""

from hailstorm_operator.windows import SignalWindows


def filled(*values: float) -> SignalWindows:
    windows = SignalWindows(fast_seconds=2.0, stable_seconds=30.0)
    for number, value in enumerate(values):
        windows.add(number * 0.5, value)
    return windows


def test_fast_window_averages_the_last_two_seconds() -> None:
    assert filled(100, 100, 100, 100, 1, 2, 3, 4).fast(3.5) == 2.5


def test_stable_window_averages_what_has_been_seen() -> None:
    assert filled(1, 2, 3).stable(1.0) == 2.0


def test_peak_is_the_highest_fast_average_and_not_a_single_sample() -> None:
    assert filled(0, 0, 0, 40, 0, 0, 0, 0).peak(3.5) == 10.0


def test_windows_forget_what_they_no_longer_reach() -> None:
    windows = filled(50)
    windows.add(31.0, 1.0)
    assert (windows.stable(31.0), windows.peak(31.0)) == (1.0, 1.0)


def test_empty_window_is_none_and_not_zero() -> None:
    windows = filled(5)
    assert windows.fast(10.0) is None
    assert windows.stable(40.0) is None
    assert windows.peak(40.0) is None
