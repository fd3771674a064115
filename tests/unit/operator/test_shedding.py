"""Refused calls as demand: rates from counters, and the service time that goes with them."""

import pytest

from hailstorm_operator.edge_stats import EdgeStats
from hailstorm_operator.shedding import Shedding


def run(
    shedding: Shedding, *, start: int, seconds: int, per_second: float, shed: float, **stats: float
) -> None:
    """An Envoy that answers and refuses so many calls a second, asked twice a second."""
    for half in range(start * 2, (start + seconds) * 2 + 1):
        at = half / 2
        shedding.add(
            at,
            {
                "a": EdgeStats(
                    stats.get("active", 5.0),
                    per_second * at,
                    shed * (at - start) + stats.get("before", 0.0),
                    stats.get("median_ms"),
                )
            },
        )


def test_nothing_is_known_before_two_looks() -> None:
    shedding = Shedding(2.0)
    assert (shedding.per_second(), shedding.service_seconds()) == (0.0, 0.0)
    shedding.add(0.0, {"a": EdgeStats(5.0, 100.0, 50.0, 20.0)})
    assert shedding.per_second() == 0.0


def test_refused_calls_are_a_rate_over_the_fast_window() -> None:
    shedding = Shedding(2.0)
    run(shedding, start=0, seconds=10, per_second=100, shed=0)
    run(shedding, start=10, seconds=4, per_second=100, shed=40)
    assert shedding.per_second() == pytest.approx(40)


def test_service_time_is_the_median_of_quiet_times_and_stays_while_calls_are_refused() -> None:
    shedding = Shedding(2.0)
    run(shedding, start=0, seconds=10, per_second=100, shed=5, median_ms=25.0)
    run(shedding, start=10, seconds=9, per_second=100, shed=60, median_ms=2.0, before=50)
    assert shedding.service_seconds() == pytest.approx(0.025)


def test_median_of_the_first_quiet_seconds_still_has_refusals_in_it() -> None:
    shedding = Shedding(2.0)
    run(shedding, start=0, seconds=10, per_second=100, shed=5, median_ms=25.0)
    run(shedding, start=10, seconds=5, per_second=100, shed=60, median_ms=2.0, before=50)
    run(shedding, start=16, seconds=8, per_second=100, shed=0, median_ms=3.0, before=350)
    assert shedding.service_seconds() == pytest.approx(0.025)
    run(shedding, start=25, seconds=8, per_second=100, shed=0, median_ms=30.0, before=350)
    assert shedding.service_seconds() == pytest.approx(0.03)


def test_service_time_is_littles_law_before_a_quiet_moment() -> None:
    shedding = Shedding(2.0)
    run(shedding, start=0, seconds=9, per_second=100, shed=60, median_ms=2.0, active=8.0)
    # 8 in flight, 40 answered a second.
    assert shedding.service_seconds() == pytest.approx(0.2)


def test_what_envoy_refuses_itself_takes_nothing_from_what_pods_serve() -> None:
    """100 in flight and 400 served a second take 0.25 s each, however many Envoy turns away."""
    for overflow in (300.0, 500.0):
        shedding = Shedding(2.0)
        for half in range(18):
            at = half / 2
            stats = EdgeStats(100.0, 400.0 * at, median_ms=2.0, overflow=overflow * at)
            shedding.add(at, {"a": stats})
        assert shedding.service_seconds() == pytest.approx(0.25)
        assert shedding.per_second() == pytest.approx(overflow)


def test_everything_refused_leaves_no_service_time_to_guess() -> None:
    shedding = Shedding(2.0)
    run(shedding, start=0, seconds=4, per_second=50, shed=50)
    assert shedding.service_seconds() == 0.0


def test_counter_that_fell_counts_from_zero() -> None:
    shedding = Shedding(2.0)
    shedding.add(0.0, {"a": EdgeStats(5.0, 1000.0, 500.0)})
    shedding.add(1.0, {"a": EdgeStats(5.0, 10.0, 6.0)})
    assert shedding.per_second() == 6.0


def test_envoy_that_is_forgotten_starts_anew() -> None:
    shedding = Shedding(2.0)
    shedding.add(0.0, {"a": EdgeStats(5.0, 0.0, 0.0)})
    shedding.forget({"a", "never there"})
    shedding.add(1.0, {"a": EdgeStats(5.0, 900.0, 900.0)})
    assert shedding.per_second() == 0.0


def test_silent_envoy_brings_its_refusals_when_it_answers_again() -> None:
    shedding = Shedding(2.0)
    shedding.add(0.0, {"a": EdgeStats(5.0, 0.0, 0.0)})
    shedding.add(1.0, {})
    shedding.add(2.0, {"a": EdgeStats(5.0, 0.0, 8.0)})
    assert shedding.per_second() == 4.0


def test_refusals_after_a_silence_of_all_are_those_of_one_window() -> None:
    """Ten a second all the while, of which a minute was not heard."""
    shedding = Shedding(2.0)
    for at in (0.0, 0.5, 1.0):
        shedding.add(at, {"a": EdgeStats(5.0, 0.0, 10.0 * at)})
    shedding.add(61.0, {"a": EdgeStats(5.0, 0.0, 610.0)})
    assert shedding.per_second() == pytest.approx(10.0)


def test_long_silence_does_not_end_in_a_burst_of_refusals() -> None:
    """40 calls refused in 10 s are four a second, and not twenty in the window of two."""
    shedding = Shedding(2.0)
    last = EdgeStats(5.0, 0.0, 0.0)
    shedding.add(0.0, {"a": last, "b": EdgeStats(5.0, 0.0, 0.0)})
    # What it said last counts while it is young, and stays as old as it is.
    shedding.add(1.5, {"a": last, "b": EdgeStats(5.0, 0.0, 0.0)})
    for at in range(3, 10):
        shedding.add(at, {"b": EdgeStats(5.0, 0.0, 0.0)})
    shedding.add(10.0, {"a": EdgeStats(5.0, 0.0, 40.0), "b": EdgeStats(5.0, 0.0, 0.0)})
    assert shedding.per_second() == pytest.approx(4.0)
