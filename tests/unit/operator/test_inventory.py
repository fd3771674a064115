"""What scaling reads from watched objects, and who else owns the replicas."""

from typing import Any

import pytest

from hailstorm_operator.inventory import Inventory, ScalerView, view_deployment, view_endpoints
from unit.operator.objects import deployment


def progressing(reason: str) -> dict[str, Any]:
    return {"conditions": [{"type": "Progressing", "status": "True", "reason": reason}]}


@pytest.mark.parametrize(
    ("status", "rolling"),
    [
        (progressing("NewReplicaSetAvailable"), False),
        (progressing("ReplicaSetUpdated"), True),
        (progressing("ProgressDeadlineExceeded"), True),
        ({"updatedReplicas": 1}, True),
        ({}, False),
    ],
)
def test_rollout_in_progress_is_told_by_condition_and_counts(
    status: dict[str, Any], rolling: bool
) -> None:
    assert view_deployment(deployment(status=status)).rollout_in_progress is rolling


def test_nothing_shrinks_while_a_canary_is_held() -> None:
    # Paused, Kubernetes says neither "arrived" nor "not yet": the counts tell.
    held = deployment(
        spec={"paused": True},
        status={"replicas": 3, "updatedReplicas": 1, **progressing("DeploymentPaused")},
    )
    held["metadata"]["annotations"]["hailstorm.dev/held-by"] = "careful/digest"
    view = view_deployment(held)
    assert (view.rollout_in_progress, view.held_by) == (True, "careful")


def test_manager_of_the_replicas_is_the_last_one_who_wrote_them() -> None:
    body = deployment()
    body["metadata"]["managedFields"] = [
        {"manager": "helm", "time": "1", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
        {"manager": "kubectl", "time": "2", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
        {"manager": "other", "time": "3", "fieldsV1": {"f:spec": {"f:template": {}}}},
    ]
    assert view_deployment(body).replicas_set_by == "kubectl"


def slice_of(name: str, *endpoints: dict[str, Any]) -> dict[str, Any]:
    return {
        "metadata": {
            "namespace": "place",
            "name": name,
            "labels": {"kubernetes.io/service-name": "edge"},
        },
        "endpoints": list(endpoints),
    }


def test_absent_readiness_stands_for_ready() -> None:
    found = view_endpoints(
        slice_of("s", {"addresses": ["1"]}, {"addresses": ["2"], "conditions": {"ready": False}})
    )
    assert [(pod.address, pod.ready, pod.leaving) for pod in found] == [
        ("1", True, False),
        ("2", False, False),
    ]


def test_endpoint_that_terminates_is_leaving() -> None:
    drains = {"ready": False, "serving": True, "terminating": True}
    (found,) = view_endpoints(slice_of("s", {"addresses": ["1"], "conditions": drains}))
    assert (found.ready, found.leaving) == (False, True)


def test_address_in_two_slices_is_asked_once() -> None:
    inventory = Inventory()
    inventory.show_slice(slice_of("one", {"addresses": ["1"]}, {"addresses": ["2"]}))
    inventory.show_slice(slice_of("two", {"addresses": ["2"]}))
    pods = inventory.edge_pods("place", "edge")
    assert pods is not None
    assert sorted(pod.address for pod in pods) == ["1", "2"]


def test_unknown_service_is_none_and_emptied_service_is_empty() -> None:
    inventory = Inventory()
    assert inventory.edge_pods("place", "edge") is None
    inventory.show_slice(slice_of("one", {"addresses": ["1"]}))
    inventory.show_slice(slice_of("one"), deleted=True)
    assert inventory.edge_pods("place", "edge") == []


def autoscaler(target: str, kind: str = "Deployment") -> dict[str, Any]:
    return {
        "metadata": {"namespace": "place", "name": "hpa"},
        "spec": {"scaleTargetRef": {"kind": kind, "name": target}},
    }


def test_autoscaler_of_the_same_deployment_is_a_conflict_until_it_goes() -> None:
    inventory = Inventory()
    inventory.show_autoscaler(autoscaler("app"))
    conflict = inventory.conflict("place", "mine", "app")
    assert conflict is not None
    assert "HorizontalPodAutoscaler hpa" in conflict[1]
    assert inventory.conflict("elsewhere", "mine", "app") is None
    assert inventory.conflict("place", "mine", "other") is None
    inventory.show_autoscaler(autoscaler("app"), deleted=True)
    assert inventory.conflict("place", "mine", "app") is None


def test_autoscaler_of_another_kind_is_no_conflict() -> None:
    inventory = Inventory()
    inventory.show_autoscaler(autoscaler("app", kind="StatefulSet"))
    assert inventory.conflict("place", "mine", "app") is None


def test_listing_replaces_the_autoscalers_of_its_namespace() -> None:
    inventory = Inventory()
    inventory.show_autoscaler(autoscaler("app"))
    inventory.replace_autoscalers("place", [])
    assert inventory.conflict("place", "mine", "app") is None


def test_older_scaler_keeps_the_target_and_the_younger_keeps_off() -> None:
    inventory = Inventory()
    inventory.scalers[("place", "old")] = ScalerView("app", "2026-01-01T00:00:00Z")
    inventory.scalers[("place", "young")] = ScalerView("app", "2026-01-02T00:00:00Z")
    assert inventory.conflict("place", "old", "app") is None
    conflict = inventory.conflict("place", "young", "app")
    assert conflict is not None
    assert "ServiceScaler old" in conflict[1]


def test_listing_replaces_the_scalers_of_its_namespace() -> None:
    inventory = Inventory()
    inventory.scalers[("place", "gone")] = ScalerView("app", "2026-01-01T00:00:00Z")
    inventory.scalers[("elsewhere", "kept")] = ScalerView("app", "2026-01-01T00:00:00Z")
    body = {
        "metadata": {
            "namespace": "place",
            "name": "there",
            "creationTimestamp": "2026-01-02T00:00:00Z",
        },
        "spec": {"targetRef": {"name": "app"}},
    }
    inventory.replace_scalers("place", [body])
    assert inventory.scalers == {
        ("elsewhere", "kept"): ScalerView("app", "2026-01-01T00:00:00Z"),
        ("place", "there"): ScalerView("app", "2026-01-02T00:00:00Z"),
    }


def test_target_is_judged_while_its_policy_remembers_a_rollout() -> None:
    inventory = Inventory()
    body: dict[str, Any] = {
        "metadata": {"namespace": "place", "name": "careful"},
        "spec": {"targetRef": {"name": "app"}},
        "status": {
            "memory": {"rollout": {"stage": "Watching"}},
            "conditions": [{"type": "Active", "status": "True"}],
        },
    }
    inventory.show_policy(body)
    assert inventory.is_judged("place", "app")
    assert not inventory.is_judged("place", "other")
    assert not inventory.is_judged("elsewhere", "app")
    inventory.show_policy({**body, "status": {**body["status"], "memory": {"rollout": None}}})
    assert not inventory.is_judged("place", "app")
    inventory.show_policy(body)
    inventory.show_policy(body, deleted=True)
    assert not inventory.is_judged("place", "app")


@pytest.mark.parametrize("conditions", [[], [{"type": "Active", "status": "False"}]])
def test_policy_that_was_refused_in_the_middle_of_a_rollout_judges_nothing(
    conditions: list[dict[str, Any]],
) -> None:
    inventory = Inventory()
    memory = {"rollout": {"stage": "Watching"}}
    body = {
        "metadata": {"namespace": "place", "name": "careful"},
        "spec": {"targetRef": {"name": "app"}},
        "status": {"memory": memory, "conditions": conditions},
    }
    inventory.show_policy(body)
    assert not inventory.is_judged("place", "app")
