"""Specs: complete by defaults, refused with field and cure."""

import copy
from typing import Any

import pytest

from hailstorm_operator.specs import SpecError, parse_scaler_spec

SPEC: dict[str, Any] = {
    "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "dispatch"},
    "minReplicas": 2,
    "maxReplicas": 4,
    "signal": {"source": "edge", "edge": {"cluster": "dispatch", "service": "edge-headless"}},
    "targetInFlight": 8,
}


def test_defaults_fill_what_is_left_out() -> None:
    spec = parse_scaler_spec(SPEC)
    assert (spec.utilisation, spec.signal.port) == (0.7, 9902)
    assert spec.in_flight_per_pod == pytest.approx(5.6)
    behavior = spec.behavior
    assert (behavior.fast_window_seconds, behavior.stable_window_seconds) == (2, 30)


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        (["targetRef", "kind"], "StatefulSet", "spec.targetRef"),
        (["targetRef", "name"], "", "spec.targetRef.name"),
        (["minReplicas"], 0, "spec.minReplicas"),
        (["minReplicas"], 9, "spec.maxReplicas"),
        (["maxReplicas"], True, "spec.maxReplicas"),
        (["signal"], None, "spec.signal"),
        (["signal", "source"], "cpu", "spec.signal.source"),
        (["signal", "edge", "cluster"], None, "spec.signal.edge.cluster"),
        (["targetInFlight"], "8", "spec.targetInFlight"),
        (["utilisation"], 70, "spec.utilisation"),
        (["behavior"], {"stableWindowSeconds": 5, "fastWindowSeconds": 5},
         "spec.behavior.stableWindowSeconds"),
        (["behavior"], {"tolerance": -1}, "spec.behavior.tolerance"),
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
