"""One Envoy's figures out of its text answer."""

import re

import pytest

from hailstorm_operator.edge_stats import EdgeStats, StatsError, parse_edge_stats, stats_filter

ANSWER = """\
cluster.dispatch.grpc.8: 30
cluster.dispatch.upstream_rq_active: 7
cluster.dispatch.upstream_rq_completed: 1200
cluster.dispatch.upstream_rq_pending_overflow: 2
cluster.dispatch.upstream_rq_time: P0(1,1) P25(4.03,3.06) P50(23.5,26.1) P75(30,41) P100(55,99)
"""


def test_figures_are_read_from_a_text_answer() -> None:
    assert parse_edge_stats(ANSWER, "dispatch") == EdgeStats(7.0, 1200.0, 30.0, 23.5, 2.0)


def test_envoy_that_only_knows_the_gauge_is_enough() -> None:
    answer = "cluster.dispatch.upstream_rq_active: 7\n"
    assert parse_edge_stats(answer, "dispatch") == EdgeStats(7.0, None, 0.0, None)


@pytest.mark.parametrize(
    ("time", "median"),
    [
        ("P0(nan,1) P50(nan,26.1)", 26.1),
        ("P0(nan,nan) P50(nan,nan)", None),
        ("No recorded values", None),
        ("P50(soon,later)", None),
    ],
)
def test_median_is_the_last_seconds_else_the_one_since_the_start(
    time: str, median: float | None
) -> None:
    answer = f"cluster.a.upstream_rq_active: 1\ncluster.a.upstream_rq_time: {time}\n"
    assert parse_edge_stats(answer, "a").median_ms == median


@pytest.mark.parametrize("answer", ["", "cluster.other.upstream_rq_active: 7\n"])
def test_answer_without_the_cluster_is_an_error_and_not_zero(answer: str) -> None:
    with pytest.raises(StatsError, match="knows no cluster"):
        parse_edge_stats(answer, "dispatch")


@pytest.mark.parametrize("value", ["P0(nan)", "nan", "", "inf"])
def test_answer_that_is_no_number_is_an_error(value: str) -> None:
    with pytest.raises(StatsError, match="not a number"):
        parse_edge_stats(f"cluster.dispatch.upstream_rq_active: {value}\n", "dispatch")


def test_filter_matches_one_cluster_only() -> None:
    pattern = stats_filter("a.b")
    for name in ("upstream_rq_active", "grpc.8", "upstream_rq_time"):
        assert re.search(pattern, f"cluster.a.b.{name}")
    assert not re.search(pattern, "cluster.axb.upstream_rq_active")
    assert not re.search(pattern, "cluster.a.b.upstream_rq_active_overflow")
    assert not re.search(pattern, "cluster.a.b.grpc.80")
