"""What a RolloutPolicy may say, and what is said to one that may not."""

from typing import Any

import pytest

from hailstorm_operator.policy_specs import parse_policy_spec
from hailstorm_operator.specs import SpecError

LEAST: dict[str, Any] = {"targetRef": {"name": "app"}, "onInsufficientEvidence": "rollback"}


def test_least_spec_has_the_defaults() -> None:
    spec = parse_policy_spec(LEAST)
    assert (spec.enforce, spec.cluster, spec.hold_by, spec.latency) == (
        True,
        "",
        "minReadySeconds",
        None,
    )
    rules = spec.rules(600)
    assert (rules.alpha, rules.hold_min_seconds, rules.hold_max_seconds) == (0.02, 30, 100)
    assert (rules.ready_deadline_seconds, rules.has_traffic_source) == (600, False)


def test_own_deadline_goes_before_the_targets() -> None:
    spec = parse_policy_spec({**LEAST, "progressDeadlineSeconds": 20})
    assert spec.rules(600).ready_deadline_seconds == 20


@pytest.mark.parametrize(
    ("change", "field", "cure"),
    [
        (
            {"onInsufficientEvidence": None},
            "spec.onInsufficientEvidence",
            "promote, rollback or hold",
        ),
        ({"targetRef": {"name": "x", "kind": "StatefulSet"}}, "spec.targetRef", "Deployment"),
        ({"alpha": 0.5}, "spec.alpha", "1e-06 to 0.2"),
        ({"mode": "dry"}, "spec.mode", "enforce or observe"),
        ({"canary": {"holdSeconds": {"min": 9, "max": 3}}}, "spec.canary.holdSeconds.max", "9 or"),
        ({"canary": {"holdBy": "hand"}}, "spec.canary.holdBy", "minReadySeconds or paused"),
        ({"latency": {}}, "spec.latency", "spec.edge.cluster"),
        ({"edge": {}}, "spec.edge.cluster", "Write a name"),
        ({"postPromotionWatchSeconds": 601}, "spec.postPromotionWatchSeconds", "0 to 600"),
    ],
)
def test_mistake_names_field_and_cure(change: dict[str, Any], field: str, cure: str) -> None:
    with pytest.raises(SpecError) as refused:
        parse_policy_spec({**LEAST, **change})
    assert refused.value.field == field
    assert cure in str(refused.value)
