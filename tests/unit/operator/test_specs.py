"""Specs: complete by defaults, refused with field and cure."""

import copy
from typing import Any

import pytest

from hailstorm_operator.specs import EdgeSignal, PodsSignal, SpecError, parse_scaler_spec

SPEC: dict[str, Any] = {
    "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "dispatch"},
    "minReplicas": 2,
    "maxReplicas": 4,
    "signal": {"edge": {"cluster": "dispatch", "service": "edge-headless"}},
    "targetInFlight": 8,
}


def test_defaults_fill_what_is_left_out() -> None:
    spec = parse_scaler_spec(SPEC)
    assert spec.utilisation == 0.7
    assert spec.signal == EdgeSignal("dispatch", "edge-headless", None, 9902)
    assert spec.connection_budget is None
    assert spec.in_flight_per_pod == pytest.approx(5.6)
    behavior = spec.behavior
    assert (behavior.fast_window_seconds, behavior.stable_window_seconds) == (2, 30)
    assert (behavior.scale_down_window_seconds, behavior.startup_seconds) == (300, None)


def test_scale_down_window_is_never_shorter_than_a_long_stable_window() -> None:
    spec = parse_scaler_spec({**SPEC, "behavior": {"stableWindowSeconds": 900}})
    assert spec.behavior.scale_down_window_seconds == 900


def test_pods_are_asked_at_metrics_unless_said_otherwise() -> None:
    pods = {"metric": "calls", "port": 8080}
    spec = parse_scaler_spec({**SPEC, "signal": {"pods": pods}})
    assert spec.signal == PodsSignal("calls", 8080, "/metrics")
    spec = parse_scaler_spec({**SPEC, "signal": {"pods": {**pods, "path": "/m"}}})
    assert spec.signal == PodsSignal("calls", 8080, "/m")


def test_connection_budget_leaves_what_is_reserved_to_others() -> None:
    budget = {"connectionsPerPod": 5, "max": 100, "reserved": 20}
    spec = parse_scaler_spec({**SPEC, "connectionBudget": budget})
    assert spec.connection_budget is not None
    assert spec.connection_budget.for_replicas == 80


def test_connection_budget_has_room_for_the_spares_that_wait_too() -> None:
    budget = {"connectionsPerPod": 5, "max": 20, "reserved": 5}
    parse_scaler_spec({**SPEC, "connectionBudget": budget, "spares": {"count": 1}})
    with pytest.raises(SpecError, match=r"spares.count 2 hold 20 .* is 15.*max: 25 or more"):
        parse_scaler_spec({**SPEC, "connectionBudget": budget, "spares": {"count": 2}})


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        (["targetRef", "kind"], "StatefulSet", "spec.targetRef"),
        (["targetRef", "name"], "", "spec.targetRef.name"),
        (["minReplicas"], 0, "spec.minReplicas"),
        (["minReplicas"], 9, "spec.maxReplicas"),
        (["maxReplicas"], True, "spec.maxReplicas"),
        (["signal"], None, "spec.signal"),
        (["signal"], {}, "spec.signal"),
        (["signal", "pods"], {"metric": "calls", "port": 80}, "spec.signal"),
        (["signal"], {"pods": {"port": 80}}, "spec.signal.pods.metric"),
        (["signal"], {"pods": {"metric": "calls"}}, "spec.signal.pods.port"),
        (["signal"], {"pods": {"metric": "calls", "port": 80, "path": "metrics"}},
         "spec.signal.pods.path"),
        (["connectionBudget"], {"max": 10}, "spec.connectionBudget.connectionsPerPod"),
        (["connectionBudget"], {"connectionsPerPod": 6, "max": 20, "reserved": 10},
         "spec.connectionBudget"),
        (["signal", "edge", "cluster"], None, "spec.signal.edge.cluster"),
        (["targetInFlight"], "8", "spec.targetInFlight"),
        (["utilisation"], 70, "spec.utilisation"),
        (["behavior"], {"stableWindowSeconds": 5, "fastWindowSeconds": 5},
         "spec.behavior.stableWindowSeconds"),
        (["behavior"], {"tolerance": -1}, "spec.behavior.tolerance"),
        (["behavior"], {"startupSeconds": 601}, "spec.behavior.startupSeconds"),
        (["behavior"], {"scaleDown": {"windowSeconds": 29}},
         "spec.behavior.scaleDown.windowSeconds"),
        (["behavior"], {"scaleDown": {"stepSeconds": 1}}, "spec.behavior.scaleDown.stepSeconds"),
    ],
)  # fmt: skip
def test_mistake_is_named_by_field_with_a_cure(path: list[str], value: Any, field: str) -> None:
    spec = copy.deepcopy(SPEC)
    parent = spec
    for part in path[:-1]:
        parent = parent[part]
    parent[path[-1]] = value
    with pytest.raises(SpecError) as caught:
        parse_scaler_spec(spec)
    assert caught.value.field == field
    assert caught.value.cure
