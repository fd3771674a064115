"""How long a request waits for others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hailstorm.dispatch.windows import ArrivalRate, decide_window

SHORTEST, LONGEST = 0.05, 0.2


def rate_of(gap_seconds: float, count: int | None = None) -> float:
    """The rate after `count` arrivals that far apart, or ten seconds of them."""
    rate, now = ArrivalRate(), 1000.0
    for _ in range(count or round(10 / gap_seconds)):
        now += gap_seconds
        rate.note(now)
    return rate.per_second(now)


def test_lone_request_does_not_wait() -> None:
    assert decide_window(rate_of(1.0, count=1), SHORTEST, LONGEST) == 0


def test_quiet_cell_has_no_windows_however_long_it_is_quiet() -> None:
    assert decide_window(rate_of(0.5), SHORTEST, LONGEST) == 0


def test_busier_cells_have_shorter_windows() -> None:
    windows = [decide_window(rate_of(gap), SHORTEST, LONGEST) for gap in (0.1, 0.02, 0.01, 0.001)]
    assert windows == sorted(windows, reverse=True)
    assert windows[0] == LONGEST
    assert windows[-1] == SHORTEST


def test_rate_is_that_of_steady_arrivals_and_fades_when_they_end() -> None:
    rate, now = ArrivalRate(), 0.0
    for _ in range(1000):
        now += 0.1
        rate.note(now)
    assert rate.per_second(now) == pytest.approx(10, rel=0.05)
    assert rate.per_second(now + 20) < 0.01


@given(st.floats(0, 1e6))
def test_window_is_none_or_within_its_bounds(rate: float) -> None:
    window = decide_window(rate, SHORTEST, LONGEST)
    assert window == 0 or SHORTEST <= window <= LONGEST
