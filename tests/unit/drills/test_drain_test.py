"""What shots at terminating pods say, and when they say nothing."""

from typing import Any

import pytest

from hailstorm_drills.checkers.base import Verdict
from hailstorm_drills.drain_test.judgement import Shot, judge, render, result_of
from hailstorm_drills.drain_test.run import propagation_of
from hailstorm_drills.drain_test.scene import Wanted, scene
from hailstorm_drills.faults.base import FaultError


def told(way: str, at: float, **changes: Any) -> dict[str, Any]:
    return {"way": way, "at": at, "code": "OK", "pod": "", "not_serving": False, **changes}


def shot(edge: float = 0.4, service: float = 0.6, had_second: bool = True) -> Shot:
    """A pod deleted at 100; the edge and the Service send there for so many seconds."""
    calls = []
    for n in range(-20, 80):
        at = 100 + n / 20
        mine = n / 20 >= 0
        calls.append(told("direct", at, not_serving=mine))
        there = at - 100 <= edge + 0.001
        calls.append(told("edge", at, pod="10.0.0.1:50051" if there else "10.0.0.2:50051"))
        calls.append(told("service", at, not_serving=mine and at - 100 <= service + 0.001))
    return Shot("trip-a", "10.0.0.1", 100.0, calls, had_second)


def test_propagation_is_the_last_call_that_was_sent_there() -> None:
    result = result_of(shot())
    assert (result.edge_seconds, result.service_seconds) == (0.4, 0.6)
    assert result.served_seconds == 3.95
    assert result.failed == {"edge": 0, "service": 0}
    # One call each way every 50 ms, for the four seconds from the deletion on.
    assert result.n == {"edge": 80, "service": 80, "direct": 80}


def test_pass_has_the_worst_of_each_way_and_the_margin() -> None:
    found = judge([shot(), shot(edge=1.1)], 2.0, 2)
    assert found["verdict"] == Verdict.PASS
    assert found["propagation_seconds"] == {"edge": 1.1, "service": 0.6}
    assert found["margin_seconds"] == 0.9
    assert found["failed_bound95"] == pytest.approx(3 / 320)
    assert "the margin is 0.90 s" in found["why"]


@pytest.mark.parametrize("bad", [shot(edge=2.5), shot(service=2.5)])
def test_propagation_above_what_the_chart_waits_fails(bad: Shot) -> None:
    found = judge([bad], 2.0, 1)
    assert found["verdict"] == Verdict.FAIL
    assert "the chart waits 0.50 s too short" in found["why"]


@pytest.mark.parametrize("way", ["edge", "service"])
def test_failed_call_on_either_way_fails(way: str) -> None:
    good = shot()
    bad = Shot(
        good.pod,
        good.address,
        good.deleted_at,
        [*good.calls, told(way, 101.5, code="UNAVAILABLE")],
        good.had_second,
    )
    found = judge([bad], 2.0, 1)
    assert found["verdict"] == Verdict.FAIL
    assert "1 of 161 calls failed, at 1 of 1 pods" in found["why"]


def test_pod_without_a_second_ready_one_decides_nothing() -> None:
    lone = shot(edge=9.0, had_second=False)
    lone = Shot(lone.pod, lone.address, 100.0, [*lone.calls, told("edge", 101, code="X")], False)
    found = judge([shot(), lone], 2.0, 2)
    assert found["verdict"] == Verdict.UNKNOWN
    assert "1 pods had no second ready pod" in found["why"]
    assert (found["failed"], found["margin_seconds"]) == (0, 1.4)


@pytest.mark.parametrize(
    ("shots", "wanted", "why"),
    [
        ([], 2, "0 of 2 pods were shot at"),
        ([shot()], 2, "1 of 2 pods were shot at"),
        ([Shot("a", "10.0.0.1", 100.0, [], True)], 1, "fewer than 20 calls"),
        ([shot(edge=-1.0)], 1, "no call reached a terminating pod by edge"),
    ],
)
def test_what_was_not_measured_is_unknown(shots: list[Shot], wanted: int, why: str) -> None:
    found = judge(shots, 2.0, wanted)
    assert found["verdict"] == Verdict.UNKNOWN
    assert why in found["why"]


def test_table_has_a_row_for_each_pod_and_ends_with_the_verdict() -> None:
    lines = render(judge([shot(), shot(had_second=False)], 2.0, 2)).splitlines()
    assert lines[0].split()[:2] == ["pod", "edge"]
    assert lines[1].split()[:4] == ["trip-a", "0.40", "0.60", "3.95"]
    assert lines[2].split()[-1] == "no"
    assert lines[-1].startswith("UNKNOWN")


def test_propagation_comes_from_the_pods_own_environment() -> None:
    variable = {"name": "HAILSTORM_LIFECYCLE_PROPAGATION_SECONDS", "value": "2"}
    template = {"spec": {"containers": [{"env": [variable]}]}}
    labels = {"app.kubernetes.io/component": "trip"}
    deployment = {"metadata": {"labels": labels}, "spec": {"template": template}}
    assert propagation_of([deployment], "trip") == 2.0
    with pytest.raises(FaultError, match="location does not say"):
        propagation_of([deployment], "location")


def test_test_leaves_nothing_that_its_label_does_not_find() -> None:
    wanted = Wanted("hailstorm", "hailstorm-load", "trip", 10, 12.0, "image", "Never")
    things = scene(wanted)
    assert {thing["kind"] for thing in things} == {"Service", "NetworkPolicy", "Pod"}
    for thing in things:
        assert thing["metadata"]["labels"]["hailstorm.dev/load"] == "drain-test"
    (pod,) = [thing["spec"] for thing in things if thing["kind"] == "Pod"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["activeDeadlineSeconds"] > 0
