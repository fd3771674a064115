"""
What the watches have shown, cut down to what scaling decisions need.

Keeping whole objects of every Deployment would cost memory by the size of the
cluster; a dozen numbers each do not.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from hailstorm_operator import api
from hailstorm_operator.calibration import images_of
from hailstorm_operator.pod_views import PodView, PodViews

Json = Mapping[str, Any]
Key = tuple[str, str]


@dataclass(frozen=True)
class DeploymentView:
    """A Deployment as far as scaling needs it."""

    uid: str
    version: str
    replicas: int
    ready: int
    rollout_in_progress: bool
    replicas_set_by: str
    held_by: str = ""
    images: tuple[tuple[str, str], ...] = ()
    generation: int = 0
    available: int = 0


# What there is of a Deployment that is not there: as one that was scaled to 0.
NO_DEPLOYMENT: Final = DeploymentView("", "", 0, 0, rollout_in_progress=False, replicas_set_by="")


@dataclass(frozen=True)
class EdgePod:
    """One address behind the edge's Service. One that drains is leaving and not ready."""

    name: str
    address: str
    ready: bool
    leaving: bool = False


@dataclass(frozen=True)
class ScalerView:
    """A ServiceScaler's claim on its target."""

    target: str
    created: str


@dataclass
class Inventory:
    """Views by (namespace, name). Fed by watch events and, to be sure, by listings."""

    deployments: dict[Key, DeploymentView] = field(default_factory=dict)
    slices: dict[Key, dict[str, list[EdgePod]]] = field(default_factory=dict)
    autoscalers: dict[Key, str] = field(default_factory=dict)
    scalers: dict[Key, ScalerView] = field(default_factory=dict)
    pods: PodViews = field(default_factory=PodViews)
    judged: dict[Key, str] = field(default_factory=dict)

    def show_deployment(self, body: Json, *, deleted: bool = False) -> None:
        """Take the newest state of a Deployment."""
        key = _key(body)
        if deleted:
            self.deployments.pop(key, None)
        else:
            self.deployments[key] = view_deployment(body)

    def show_slice(self, body: Json, *, deleted: bool = False) -> None:
        """Take the newest state of an EndpointSlice."""
        service = (body["metadata"].get("labels") or {}).get(api.SERVICE_NAME_LABEL)
        if not service:
            return
        namespace, name = _key(body)
        slices = self.slices.setdefault((namespace, service), {})
        if deleted:
            slices.pop(name, None)
        else:
            slices[name] = view_endpoints(body)

    def replace_slices(self, namespace: str, service: str, bodies: Iterable[Json]) -> None:
        """Take a full listing of a Service's EndpointSlices."""
        self.slices[(namespace, service)] = {
            body["metadata"]["name"]: view_endpoints(body) for body in bodies
        }

    def show_autoscaler(self, body: Json, *, deleted: bool = False) -> None:
        """Take the newest state of a HorizontalPodAutoscaler."""
        target = (body.get("spec") or {}).get("scaleTargetRef") or {}
        if deleted or target.get("kind") != "Deployment":
            self.autoscalers.pop(_key(body), None)
        else:
            self.autoscalers[_key(body)] = str(target.get("name", ""))

    def replace_autoscalers(self, namespace: str, bodies: Iterable[Json]) -> None:
        """Take a full listing of a namespace's HorizontalPodAutoscalers."""
        for key in [key for key in self.autoscalers if key[0] == namespace]:
            del self.autoscalers[key]
        for body in bodies:
            self.show_autoscaler(body)

    def show_scaler(self, body: Json, *, deleted: bool = False) -> None:
        """Take the newest state of a ServiceScaler; one that is refused claims its target, too."""
        if deleted:
            self.scalers.pop(_key(body), None)
            return
        target = ((body.get("spec") or {}).get("targetRef") or {}).get("name", "")
        created = str(body["metadata"].get("creationTimestamp", ""))
        self.scalers[_key(body)] = ScalerView(str(target), created)

    def replace_scalers(self, namespace: str, bodies: Iterable[Json]) -> None:
        """Take a full listing of a namespace's ServiceScalers."""
        for key in [key for key in self.scalers if key[0] == namespace]:
            del self.scalers[key]
        for body in bodies:
            self.show_scaler(body)

    def show_policy(self, body: Json, *, deleted: bool = False) -> None:
        """
        Take the newest state of a RolloutPolicy: which Deployment it judges just now, if any.

        One that is refused keeps its memory of a rollout, and judges nothing.
        """
        status = body.get("status") or {}
        memory = status.get("memory") or {}
        is_active = any(
            one["type"] == api.CONDITION_ACTIVE and one["status"] == "True"
            for one in status.get("conditions") or []
        )
        if deleted or not is_active or not memory.get("rollout"):
            self.judged.pop(_key(body), None)
        else:
            self.judged[_key(body)] = str(body["spec"]["targetRef"]["name"])

    def is_judged(self, namespace: str, target: str) -> bool:
        """Whether a RolloutPolicy still looks at a rollout of the target, after it too."""
        return any(
            place == namespace and judged == target for (place, _), judged in self.judged.items()
        )

    def show_pod(self, body: Json, *, deleted: bool = False) -> None:
        """Take the newest state of a pod; those of no Deployment are not kept."""
        self.pods.show(body, deleted=deleted)

    def replace_pods(self, namespace: str, deployment: str, bodies: Iterable[Json]) -> None:
        """Take a full listing of a Deployment's pods."""
        self.pods.replace((namespace, deployment), bodies)

    def pods_of(self, namespace: str, deployment: str) -> list[PodView]:
        """Pods of a Deployment that have an address."""
        return [pod for pod in self.pods.of((namespace, deployment)) if pod.address]

    def edge_pods(self, namespace: str, service: str) -> list[EdgePod] | None:
        """Addresses behind a Service, or None when nothing is known of it yet."""
        slices = self.slices.get((namespace, service))
        if slices is None:
            return None
        # An address can move from one slice to another and be in both for a moment.
        unique = {pod.address: pod for pods in slices.values() for pod in pods}
        return list(unique.values())

    def conflict(self, namespace: str, scaler: str, target: str) -> tuple[str, str] | None:
        """Who else owns the target's replicas: (reason, message), or None."""
        for (place, name), wanted in sorted(self.autoscalers.items()):
            if place == namespace and wanted == target:
                return (
                    api.REASON_HPA_CONFLICT,
                    f"HorizontalPodAutoscaler {name} scales {target} too; delete one of the two",
                )
        mine = self.scalers.get((namespace, scaler))
        for (place, name), other in sorted(self.scalers.items()):
            if place != namespace or name == scaler or other.target != target:
                continue
            if mine is None or (other.created, name) < (mine.created, scaler):
                return (
                    api.REASON_SCALER_CONFLICT,
                    f"ServiceScaler {name} is older and scales {target} too; delete one of the two",
                )
        return None


def view_deployment(body: Json) -> DeploymentView:
    """Cut a Deployment down."""
    metadata, spec, status = body["metadata"], body["spec"], body.get("status") or {}
    total = int(status.get("replicas", 0))
    return DeploymentView(
        uid=str(metadata.get("uid", "")),
        version=str(metadata.get("resourceVersion", "")),
        replicas=int(spec.get("replicas", 1)),
        ready=int(status.get("readyReplicas", 0)),
        rollout_in_progress=_is_rolling(status, total),
        replicas_set_by=_replicas_manager(metadata.get("managedFields") or []),
        generation=int(metadata.get("generation", 0)),
        available=int(status.get("availableReplicas", 0)),
        held_by=(metadata.get("annotations") or {}).get(api.HELD_ANNOTATION, "").split("/")[0],
        images=tuple(sorted(images_of(body).items())),
    )


def view_endpoints(body: Json) -> list[EdgePod]:
    """Cut an EndpointSlice down."""
    found = []
    for endpoint in body.get("endpoints") or []:
        conditions = endpoint.get("conditions") or {}
        for address in endpoint.get("addresses") or []:
            name = (endpoint.get("targetRef") or {}).get("name") or address
            # An absent condition stands for ready and for not terminating, says the API.
            is_ready = conditions.get("ready") is not False
            is_leaving = conditions.get("terminating") is True
            found.append(EdgePod(str(name), str(address), is_ready, is_leaving))
    return found


def _is_rolling(status: Json, total: int) -> bool:
    if int(status.get("updatedReplicas", 0)) < total:
        return True
    for condition in status.get("conditions") or []:
        if condition["type"] == "Progressing":
            return bool(condition.get("reason") != api.REASON_ARRIVED)
    return False


def _replicas_manager(managed_fields: Iterable[Json]) -> str:
    owners = [
        (str(entry.get("time", "")), str(entry.get("manager", "")))
        for entry in managed_fields
        if "f:replicas" in ((entry.get("fieldsV1") or {}).get("f:spec") or {})
    ]
    return max(owners, default=("", "somebody"))[1]


def _key(body: Json) -> Key:
    return body["metadata"]["namespace"], body["metadata"]["name"]
