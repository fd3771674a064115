"""From the Envoys' answers to one figure, and how sure it is."""

import pytest

from hailstorm_operator.signals import Reading, Sample, Source, combine

SOURCES = [Source("a"), Source("b")]


def test_signal_sums_every_envoy() -> None:
    reading = combine(SOURCES, {"a": Sample(3, 10.0), "b": Sample(4, 9.0)}, 10.5)
    assert (reading.in_flight, reading.state) == (7, "fresh")


def test_silent_envoy_counts_as_much_as_the_others_and_is_named() -> None:
    reading = combine(SOURCES, {"a": Sample(3, 10.0), "b": Sample(9, 7.0)}, 10.5)
    assert (reading.in_flight, reading.state, reading.missing) == (6, "partial", ("b",))


def test_envoy_that_leaves_may_be_silent() -> None:
    sources = [Source("a"), Source("b", optional=True)]
    reading = combine(sources, {"a": Sample(3, 10.0)}, 10.5)
    assert (reading.in_flight, reading.state) == (3, "fresh")


def test_zero_of_the_only_envoy_that_leaves_is_no_signal() -> None:
    sources = [Source("a"), Source("b", optional=True)]
    reading = combine(sources, {"b": Sample(0, 10.0)}, 10.5)
    assert (reading.in_flight, reading.state, reading.missing) == (None, "stale", ("a",))
    assert combine(sources[1:], {"b": Sample(0, 10.0)}, 10.5).state == "stale"


def test_envoy_that_leaves_counts_while_it_answers() -> None:
    sources = [Source("a"), Source("b", optional=True)]
    reading = combine(sources, {"a": Sample(3, 10.0), "b": Sample(5, 10.0)}, 10.5)
    assert reading.in_flight == 8


def test_those_that_may_be_silent_do_not_thin_the_estimate_for_the_silent() -> None:
    sources = [*SOURCES, Source("spare-0", optional=True), Source("spare-1", optional=True)]
    samples = {"a": Sample(8, 10.0), "spare-0": Sample(0, 10.0), "spare-1": Sample(1, 10.0)}
    reading = combine(sources, samples, 10.5)
    assert (reading.in_flight, reading.state, reading.missing) == (17, "partial", ("b",))


@pytest.mark.parametrize("sources", [SOURCES, []])
def test_no_answer_is_stale_and_not_zero(sources: list[Source]) -> None:
    reading = combine(sources, {}, 10.0)
    assert (reading.in_flight, reading.state) == (None, "stale")


def test_refused_calls_count_for_the_time_they_would_have_taken() -> None:
    reading = Reading(10.0, "fresh", {"a": 10.0}, (), shed_per_second=40.0, service_seconds=0.05)
    assert reading.shed_in_flight == 2.0
