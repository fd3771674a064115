"""
Pods of Deployments, cut down to what asking, labelling and choosing them needs.

Our own writes land here before the watch tells of them, so an event that is
older than what is known is passed over.
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
    """
    One pod. `address` and `node` are "" until it has them; `ready` is false while it leaves.

    `unready_since` is since when it has not been ready, by the API's words; "" while it is.
    """

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
    unready_since: str = ""


@dataclass
class PodViews:
    """Views by Deployment and name. Fed by watch events, our own writes, and listings."""

    _pods: dict[Key, dict[str, PodView]] = field(default_factory=dict)

    def show(self, body: Json, *, deleted: bool = False) -> None:
        """Take the newest state of a pod; those of no Deployment are not kept."""
        name = deployment_of_pod(body)
        if name is None:
            return
        key, view = (body["metadata"]["namespace"], name), view_pod(body)
        pods = self._pods.setdefault(key, {})
        known = pods.get(view.name)
        if known is not None and view.version < known.version:
            return
        if not deleted:
            pods[view.name] = view
            return
        pods.pop(view.name, None)
        if not pods:
            del self._pods[key]

    def replace(self, key: Key, bodies: Iterable[Json]) -> None:
        """Take a full listing; pods of other Deployments in it are left out."""
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
    conditions = {one["type"]: one for one in status.get("conditions") or []}
    ready = conditions.get("Ready") or {}
    is_ready = ready.get("status") == "True"
    created = str(metadata.get("creationTimestamp", ""))
    version = str(metadata.get("resourceVersion", ""))
    return PodView(
        name=metadata["name"],
        address=str(status.get("podIP") or ""),
        node=str((body.get("spec") or {}).get("nodeName") or ""),
        ready=is_ready and not leaving,
        leaving=leaving,
        created=created,
        labels=dict(metadata.get("labels") or {}),
        template=notes.get(api.TEMPLATE_ANNOTATION, ""),
        deletion_cost=notes.get(api.DELETION_COST_ANNOTATION, ""),
        # Opaque by the API's word, a growing number in every server there is.
        version=int(version) if version.isdigit() else 0,
        # One that no node has taken yet has no such condition.
        unready_since="" if is_ready else str(ready.get("lastTransitionTime") or created),
    )
