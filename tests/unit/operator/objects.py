"""Kubernetes objects as small as the operator's rules allow, for its unit tests."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hailstorm_operator.replicasets import Revision
from hailstorm_operator.templates import template_digest

START = datetime(2026, 11, 21, 9, 0, 0, 250_000, tzinfo=UTC)


def at(seconds: float) -> datetime:
    """A moment after the start of the story."""
    return START + timedelta(seconds=seconds)


def stamp(seconds: float) -> str:
    """The same moment as the API stamps it."""
    return at(seconds).strftime("%Y-%m-%dT%H:%M:%SZ")


def template(version: str = "one", image: str = "app:1", **annotations: str) -> dict[str, Any]:
    return {
        "metadata": {"labels": {"app": "app"}, "annotations": dict(annotations)},
        "spec": {
            "containers": [
                {"name": "main", "image": image, "env": [{"name": "VERSION", "value": version}]}
            ]
        },
    }


def deployment(
    pods: dict[str, Any] | None = None, generation: int = 2, revision: int = 2, **extra: Any
) -> dict[str, Any]:
    """A Deployment of two replicas that has arrived, unless `status` says otherwise."""
    status = {
        "observedGeneration": generation,
        "replicas": 2,
        "updatedReplicas": 2,
        "availableReplicas": 2,
        "readyReplicas": 2,
        "conditions": [],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "app",
            "namespace": "place",
            "uid": "uid-1",
            "generation": generation,
            "resourceVersion": str(generation),
            "labels": {"hailstorm.dev/record": "true"},
            "annotations": {"deployment.kubernetes.io/revision": str(revision)},
        },
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "app"}},
            "template": pods or template(),
            **extra.get("spec", {}),
        },
        "status": {**status, **extra.get("status", {})},
    }


def revision(number: int, pods: dict[str, Any], *former: int, cause: str = "") -> Revision:
    return Revision(
        number=number,
        former=former,
        digest=template_digest(pods),
        pod_template_hash=f"hash{number}",
        created=stamp(0),
        template=pods,
        cause=cause,
    )


def pod(name: str = "app-h1-a", template_hash: str = "h1", **extra: Any) -> dict[str, Any]:
    """A pod that has just been created."""
    return {
        "metadata": {
            "name": name,
            "namespace": "place",
            "creationTimestamp": stamp(0),
            "labels": {"pod-template-hash": template_hash},
            "ownerReferences": [{"kind": "ReplicaSet", "name": f"app-{template_hash}"}],
            **extra.get("metadata", {}),
        },
        "spec": extra.get("spec", {}),
        "status": extra.get("status", {}),
    }


def ready_pod(seconds: float, **names: str) -> dict[str, Any]:
    """A pod whose last moment, ready, was so long after the start."""
    return pod(
        **names,
        spec={"nodeName": "node-1"},
        status={
            "conditions": [
                {"type": "PodScheduled", "status": "True", "lastTransitionTime": stamp(0)},
                {"type": "Ready", "status": "True", "lastTransitionTime": stamp(seconds)},
            ],
            "containerStatuses": [
                {"restartCount": 0, "state": {"running": {"startedAt": stamp(seconds)}}}
            ],
        },
    )
