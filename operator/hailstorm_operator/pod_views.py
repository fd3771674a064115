"""
Pods of the Deployments that are scaled, as the watch shows them.

Only pods of Deployments that somebody follows are kept: in a cluster of
thousands the scaler needs those of its targets and of their spares.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hailstorm_operator import api
from hailstorm_operator.targets import deployment_of_pod

Json = Mapping[str, Any]
# Namespace and name of a Deployment.
Key = tuple[str, str]


@dataclass(frozen=True)
class PodView:
    """One pod. `address` and `node` are "" until it has them; `ready` is false while it leaves."""

    name: str
    address: str
    node: str
    ready: bool
    leaving: bool
    created: str
    labels: Mapping[str, str]
    template: str = ""
    deletion_cost: str = ""
    version: int = 0


@dataclass
class FollowedPods:
    """Views by Deployment and name. Fed by watch events, our own writes, and listings."""

    _pods: dict[Key, dict[str, PodView]] = field(default_factory=dict)

    def follow(self, key: Key) -> None:
        """Keep the pods of a Deployment from now on; the present ones come by `replace`."""
        self._pods.setdefault(key, {})

    def forget(self, key: Key) -> None:
        """Keep them no longer."""
        self._pods.pop(key, None)

    def show(self, body: Json, *, deleted: bool = False) -> None:
        """Take the newest state of a pod; older than what is known it is passed over."""
        name = deployment_of_pod(body)
        pods = self._pods.get((body["metadata"]["namespace"], name)) if name else None
        if pods is None:
            return
        view = view_pod(body)
        known = pods.get(view.name)
        # The watch may still tell of the time before our own write.
        if known is not None and view.version < known.version:
            return
        if deleted:
            pods.pop(view.name, None)
        else:
            pods[view.name] = view

    def replace(self, key: Key, bodies: Iterable[Json]) -> None:
        """Take a full listing; pods of other Deployments in it are left out."""
        if key in self._pods:
            self._pods[key] = {
                body["metadata"]["name"]: view_pod(body)
                for body in bodies
                if deployment_of_pod(body) == key[1]
            }

    def of(self, key: Key) -> list[PodView]:
        """Pods of a Deployment, by name."""
        return sorted(self._pods.get(key, {}).values(), key=lambda pod: pod.name)


def view_pod(body: Json) -> PodView:
    """Cut a pod down."""
    metadata, status = body["metadata"], body.get("status") or {}
    notes = metadata.get("annotations") or {}
    leaving = bool(metadata.get("deletionTimestamp")) or status.get("phase") in (
        "Succeeded",
        "Failed",
    )
    is_ready = any(
        one["type"] == "Ready" and one["status"] == "True" for one in status.get("conditions") or []
    )
    version = str(metadata.get("resourceVersion", ""))
    return PodView(
        name=metadata["name"],
        address=str(status.get("podIP") or ""),
        node=str((body.get("spec") or {}).get("nodeName") or ""),
        ready=is_ready and not leaving,
        leaving=leaving,
        created=str(metadata.get("creationTimestamp", "")),
        labels=dict(metadata.get("labels") or {}),
        template=notes.get(api.TEMPLATE_ANNOTATION, ""),
        deletion_cost=notes.get(api.DELETION_COST_ANNOTATION, ""),
        # Opaque by the API's word, a growing number in every server there is.
        version=int(version) if version.isdigit() else 0,
    )
