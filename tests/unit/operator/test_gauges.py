"""One gauge out of Prometheus' text format."""

import pytest
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from hailstorm_operator.edge_stats import StatsError
from hailstorm_operator.gauges import parse_gauge


def test_gauge_is_read_from_what_the_library_writes() -> None:
    registry = CollectorRegistry()
    Gauge("calls", "Calls in flight.", registry=registry).set(7)
    Gauge("calls_limit", "Another one.", registry=registry).set(99)
    assert parse_gauge(generate_latest(registry).decode(), "calls") == 7.0


def test_labelled_gauge_is_summed() -> None:
    registry = CollectorRegistry()
    gauge = Gauge("calls", "Calls in flight.", ("kind",), registry=registry)
    gauge.labels('a "quoted} one').set(2.5)
    gauge.labels("b").set(4)
    assert parse_gauge(generate_latest(registry).decode(), "calls") == 6.5


def test_line_may_carry_a_timestamp() -> None:
    assert parse_gauge("calls 3 1700000000000\n", "calls") == 3.0


@pytest.mark.parametrize("text", ["", "# HELP calls Calls.\n", "calls_total 4\n", "other 1\n"])
def test_missing_gauge_is_an_error_and_not_zero(text: str) -> None:
    with pytest.raises(StatsError, match="no metric 'calls'"):
        parse_gauge(text, "calls")


def test_gauge_below_zero_is_an_error() -> None:
    # One that was taken down twice for a call; how many there are it does not say.
    assert parse_gauge('calls{kind="a"} -1\ncalls{kind="b"} 3\n', "calls") == 2.0
    with pytest.raises(StatsError, match="below zero: -5"):
        parse_gauge("calls -5\n", "calls")


@pytest.mark.parametrize("value", ["NaN", "+Inf", "many"])
def test_gauge_that_is_no_number_is_an_error(value: str) -> None:
    with pytest.raises(StatsError, match="not a number"):
        parse_gauge(f"calls {value}\n", "calls")
