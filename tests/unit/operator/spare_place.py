"""
A namespace with a target, its spares, their Service and budget, as the API server keeps them.

Refusals can be set; the ReplicaSet controllers are played by `settle`.
"""

import copy
from typing import Any

from hailstorm_operator import api
from hailstorm_operator.cluster import ClusterError, ConflictError, NotFoundError
from hailstorm_operator.inventory import Inventory
from unit.operator.fake_cluster import merge
from unit.operator.objects import deployment, pod, template

Json = dict[str, Any]

SCALER: Json = {"metadata": {"name": "scaler", "namespace": "place", "uid": "uid-s"}}


def ready(name: str, owner: str, labels: dict[str, str], address: str, **notes: str) -> Json:
    """A pod that is ready, of the first ReplicaSet of a Deployment."""
    return pod(
        name,
        metadata={
            "labels": {api.POD_TEMPLATE_HASH_LABEL: "h1", **labels},
            "ownerReferences": [{"kind": "ReplicaSet", "name": f"{owner}-h1"}],
            "annotations": notes,
            "resourceVersion": "1",
        },
        spec={"nodeName": "node-1"},
        status={"podIP": address, "conditions": [{"type": "Ready", "status": "True"}]},
    )


class Place:
    """Calls of `Cluster` that spares and shrinking make."""

    def __init__(self, replicas: int = 3) -> None:
        self.inventory = Inventory()
        self.deployments: dict[str, Json] = {}
        self.pods: dict[str, Json] = {}
        self.services: list[Json] = [
            {"metadata": {"name": "app"}, "spec": {"selector": {"app": "app"}}}
        ]
        self.budgets: list[Json] = []
        self.refuses: set[str] = set()
        self.calls: list[str] = []
        self.show_watch = True
        target = deployment(spec={"replicas": replicas, "minReadySeconds": 2})
        target["status"] |= dict.fromkeys(
            ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), replicas
        )
        self.put(target)
        for number in range(replicas):
            self.add_pod(ready(f"app-{number}", "app", {"app": "app"}, f"10.0.0.{number}"))

    def put(self, body: Json) -> None:
        """An object as the watch shows it."""
        self.deployments[body["metadata"]["name"]] = body
        self.inventory.show_deployment(body)

    def add_pod(self, body: Json) -> None:
        self.pods[body["metadata"]["name"]] = body
        self.inventory.show_pod(body)

    def roll(self, version: str, *, arrived: bool) -> None:
        """A new template of the target, with or without its rollout being over."""
        target = copy.deepcopy(self.deployments["app"])
        target["spec"]["template"] = template(version)
        target["metadata"]["generation"] += 1
        target["status"]["observedGeneration"] = target["metadata"]["generation"]
        target["status"]["updatedReplicas"] = target["spec"]["replicas"] if arrived else 1
        self.put(target)

    def settle(self) -> None:
        """The spares' ReplicaSet controller makes the pods that are asked for."""
        spares = self.deployments["app-spare"]
        labels = spares["spec"]["template"]["metadata"]["labels"]
        notes = spares["spec"]["template"]["metadata"]["annotations"]
        for number in range(spares["spec"]["replicas"]):
            name = f"app-spare-{number}"
            if name not in self.pods:
                self.add_pod(ready(name, "app-spare", labels, f"10.0.1.{number}", **notes))

    def labels(self, name: str) -> dict[str, str]:
        labels: dict[str, str] = self.pods[name]["metadata"]["labels"]
        return labels

    async def get_deployment(self, namespace: str, name: str) -> Json:
        self._called(f"get {name}")
        if name not in self.deployments:
            raise NotFoundError(name, 404)
        return copy.deepcopy(self.deployments[name])

    async def create_deployment(self, namespace: str, body: Json) -> Json:
        self._called("create")
        made = copy.deepcopy(body)
        made["metadata"] |= {"uid": "uid-spare", "generation": 1, "resourceVersion": "1"}
        made["status"] = {}
        self.put(made)
        return made

    async def patch_deployment(self, namespace: str, name: str, patch: Json) -> Json:
        self._called(f"patch {name}")
        before = self.deployments[name]
        if patch["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"]:
            raise ConflictError(name, 409)
        after = merge(before, {**patch, "metadata": {}})
        after["metadata"]["generation"] += 1
        after["metadata"]["resourceVersion"] += "1"
        self.put(after)
        return after

    async def list_services(self, namespace: str) -> list[Json]:
        self._called("services")
        return self.services

    async def list_budgets(self, namespace: str) -> list[Json]:
        self._called("budgets")
        return self.budgets

    async def list_pods(self, namespace: str, selector: dict[str, str]) -> list[Json]:
        self._called("pods")
        return [
            one
            for one in self.pods.values()
            if selector.items() <= one["metadata"]["labels"].items()
        ]

    async def patch_pod(self, namespace: str, name: str, patch: Json) -> Json:
        self._called(f"patch pod {name}")
        if name not in self.pods:
            raise NotFoundError(name, 404)
        after = merge(self.pods[name], patch)
        version = int(after["metadata"]["resourceVersion"]) + 1
        after["metadata"]["resourceVersion"] = str(version)
        self.pods[name] = after
        if self.show_watch:
            self.inventory.show_pod(after)
        return copy.deepcopy(after)

    def _called(self, what: str) -> None:
        self.calls.append(what)
        if what in self.refuses or what.rsplit(" ", 1)[0] in self.refuses:
            raise ClusterError(f"{what}: forbidden", 403)
