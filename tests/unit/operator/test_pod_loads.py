"""Calls on each pod out of what Envoys answer."""

import re

from hailstorm_operator.pod_loads import add_loads, parse_pod_loads, pod_loads_filter

ANSWER = """\
cluster.app.endpoint.10.0.0.1_50051.rq_active: 3
cluster.app.endpoint.10.0.0.2_50051.rq_active: 0
cluster.app.endpoint.10.0.0.12_50051.rq_active: 7
cluster.app.endpoint.[fd00__5]_50051.rq_active: 4
cluster.app.endpoint.10.0.0.1_8080.rq_active: 2
cluster.apple.endpoint.10.0.0.2_50051.rq_active: 9
cluster.app.upstream_rq_active: 16
"""


def test_loads_are_read_by_address() -> None:
    addresses = ["10.0.0.1", "10.0.0.2", "fd00::5", "10.0.0.9"]
    assert parse_pod_loads(ANSWER, "app", addresses) == {
        "10.0.0.1": 5.0,
        "10.0.0.2": 0.0,
        "fd00::5": 4.0,
    }


def test_filter_lets_through_endpoints_of_one_cluster() -> None:
    pattern = re.compile(pod_loads_filter("a.b"))
    assert pattern.search("cluster.a.b.endpoint.10.0.0.1_1.rq_active")
    assert not pattern.search("cluster.a.b.endpoint.10.0.0.1_1.rq_total")
    assert not pattern.search("cluster.axb.endpoint.10.0.0.1_1.rq_active")


def test_envoys_are_added_up() -> None:
    assert add_loads([{"a": 1.0, "b": 0.0}, {"a": 2.0}], ["a", "b", "c"]) == {"a": 3.0, "b": 0.0}


def test_silent_envoy_leaves_nothing_to_choose_by() -> None:
    assert add_loads([{"a": 1.0}, None], ["a"]) == {}
    assert add_loads([{"a": 1.0}, {}], ["a"]) == {}
    assert add_loads([], ["a"]) == {}
