"""From the Envoys' answers to one figure, and how sure it is."""

import re

import pytest

from hailstorm_operator.signals import (
    Sample,
    Source,
    StatsError,
    active_calls_filter,
    combine,
    parse_active_calls,
)

ANSWER = "cluster.dispatch.upstream_rq_active: 7\n"


def test_gauge_is_read_from_a_text_answer() -> None:
    assert parse_active_calls(ANSWER, "dispatch") == 7.0


@pytest.mark.parametrize("answer", ["", "cluster.other.upstream_rq_active: 7\n"])
def test_answer_without_the_cluster_is_an_error_and_not_zero(answer: str) -> None:
    with pytest.raises(StatsError, match="knows no cluster"):
        parse_active_calls(answer, "dispatch")


def test_answer_that_is_no_number_is_an_error() -> None:
    with pytest.raises(StatsError, match="not a number"):
        parse_active_calls("cluster.dispatch.upstream_rq_active: P0(nan)\n", "dispatch")


def test_filter_matches_one_cluster_only() -> None:
    pattern = active_calls_filter("a.b")
    assert re.search(pattern, "cluster.a.b.upstream_rq_active")
    assert not re.search(pattern, "cluster.axb.upstream_rq_active")
    assert not re.search(pattern, "cluster.a.b.upstream_rq_active_overflow")


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


def test_envoy_that_leaves_counts_while_it_answers() -> None:
    sources = [Source("a"), Source("b", optional=True)]
    reading = combine(sources, {"a": Sample(3, 10.0), "b": Sample(5, 10.0)}, 10.5)
    assert reading.in_flight == 8


@pytest.mark.parametrize("sources", [SOURCES, []])
def test_no_answer_is_stale_and_not_zero(sources: list[Source]) -> None:
    reading = combine(sources, {}, 10.0)
    assert (reading.in_flight, reading.state) == (None, "stale")
