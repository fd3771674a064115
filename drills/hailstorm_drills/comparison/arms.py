"""
The three scalers of a comparison, as manifests, and when each is at work.

An arm is judged from the first call on, so its load begins only when the scaler
says of itself that it sees its signal: an HPA that has no metric yet would lose
by its set-up and not by what it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from hailstorm_drills.comparison import adapter
from hailstorm_drills.comparison.manifests import (
    Manifest,
    labels,
    metadata,
    selector,
)
from hailstorm_drills.comparison.names import EDGE_SERVICE, NAMESPACE, SPARE, STATS_PORT, TARGET
from hailstorm_drills.comparison.settings import (
    CPU_HPA,
    IN_FLIGHT_HPA,
    OURS,
    STEPS_IN_WINDOW,
    Settings,
)
from hailstorm_drills.pod_spec import restricted
from hailstorm_operator import api

SCALER: Final = "rival"
HPA_RESOURCE: Final = "horizontalpodautoscalers.autoscaling"
SVS_RESOURCE: Final = f"{api.SCALER_PLURAL}.{api.GROUP}"
ADAPTER: Final = "in-flight-adapter"
ADAPTER_NAMESPACE: Final = "hailstorm-compare-metrics"
API_SERVICE: Final = "v1beta1.external.metrics.k8s.io"


@dataclass(frozen=True)
class Arm:
    """One scaler: what is applied, where its state is read, what is removed after it."""

    name: str
    manifests: tuple[Manifest, ...]
    resource: str


def make_arm(
    name: str, settings: Settings, image: str, pull_policy: str, *, knows_spares: bool
) -> Arm:
    """The arm of that name."""
    if name == CPU_HPA:
        planned = round(settings.cpu_limit_millicores * settings.planned_share)
        resource = {
            "type": "Resource",
            # In millicores and not in per cent, which would be of the request.
            "resource": {
                "name": "cpu",
                "target": {"type": "AverageValue", "averageValue": f"{planned}m"},
            },
        }
        return Arm(name, (_hpa(name, settings, resource),), HPA_RESOURCE)
    if name == IN_FLIGHT_HPA:
        external = {
            "type": "External",
            "external": {
                "metric": {
                    "name": adapter.METRIC,
                    "selector": {"matchLabels": {"cluster": TARGET}},
                },
                "target": {
                    "type": "AverageValue",
                    "averageValue": f"{round(settings.planned_in_flight * 1000)}m",
                },
            },
        }
        made = (*_adapter(image, pull_policy), _hpa(name, settings, external))
        return Arm(name, made, HPA_RESOURCE)
    if name == OURS:
        return Arm(name, (_service_scaler(settings, knows_spares),), SVS_RESOURCE)
    raise ValueError(f"there is no arm {name!r}")


def _hpa(name: str, settings: Settings, metric: Manifest) -> Manifest:
    """Kubernetes' own defaults in everything else: who tunes one has to tune for a load."""
    behaviour: Manifest = {}
    if settings.stabilisation_seconds is not None:
        window = {"stabilizationWindowSeconds": settings.stabilisation_seconds}
        behaviour = {"behavior": {"scaleDown": window}}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata(SCALER, "scaler"),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": TARGET},
            "minReplicas": settings.least_of(name),
            "maxReplicas": settings.max_replicas,
            "metrics": [metric],
            **behaviour,
        },
    }


def _service_scaler(settings: Settings, knows_spares: bool) -> Manifest:
    # The decider plans for a share of the target; this share of this target is
    # what the HPAs plan for.
    utilisation = 0.7
    spec: Manifest = {
        "targetRef": {"name": TARGET},
        "minReplicas": settings.min_replicas,
        "maxReplicas": settings.max_replicas,
        "signal": {
            "edge": {"cluster": TARGET, "service": EDGE_SERVICE, "port": STATS_PORT},
        },
        "targetInFlight": round(settings.planned_in_flight / utilisation, 2),
        "utilisation": utilisation,
    }
    if knows_spares and settings.spares > 0:
        spec["spares"] = {"count": settings.spares}
    if settings.stabilisation_seconds is not None:
        look_back = settings.stabilisation_seconds
        step = look_back / STEPS_IN_WINDOW
        spec["behavior"] = {"scaleDown": {"windowSeconds": look_back, "stepSeconds": step}}
    return {
        "apiVersion": api.API_VERSION,
        "kind": api.SCALER_KIND,
        "metadata": metadata(SCALER, "scaler"),
        "spec": spec,
    }


def spares_of(arm: Arm) -> int:
    """How many warm spares an arm asks for."""
    specs = [one.get("spec") or {} for one in arm.manifests if one["kind"] == api.SCALER_KIND]
    return sum(int((spec.get("spares") or {}).get("count", 0)) for spec in specs)


def crd_knows_spares(crd: Mapping[str, Any]) -> bool:
    """Whether the installed kind of ServiceScaler has `spec.spares.count`."""
    for version in crd["spec"]["versions"]:
        if version["name"] == api.VERSION:
            schema = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
            return "count" in (schema.get("spares") or {}).get("properties", {})
    return False


def waiting_for(body: Mapping[str, Any]) -> str | None:
    """None once a scaler sees its signal and acts on it; until then, what is missing."""
    status = body.get("status") or {}
    conditions = {c["type"]: c for c in status.get("conditions") or []}
    if body["kind"] == api.SCALER_KIND:
        wanted = (api.CONDITION_ACTIVE, api.CONDITION_SIGNAL)
    else:
        wanted = ("AbleToScale", "ScalingActive")
    for kind in wanted:
        condition = conditions.get(kind)
        if condition is None:
            return f"{kind} is not known yet"
        if condition["status"] != "True":
            return f"{kind}: {condition.get('reason')}: {condition.get('message')}"
    if body["kind"] != api.SCALER_KIND and not status.get("currentMetrics"):
        return "no metric yet"
    return None


def spares_missing(deployments: list[Mapping[str, Any]], count: int) -> str | None:
    """None once that many spares are ready; else how many are."""
    for one in deployments:
        if one["metadata"]["name"] == SPARE:
            ready = (one.get("status") or {}).get("readyReplicas", 0)
            return None if ready >= count else f"{ready} of {count} spares are ready"
    return f"there is no Deployment {SPARE} yet"


def _adapter(image: str, pull_policy: str) -> tuple[Manifest, ...]:
    """The adapter in a namespace of its own, and the APIService that leads to it."""
    home = ADAPTER_NAMESPACE
    place = metadata(home, "namespace", None)
    place["labels"]["pod-security.kubernetes.io/enforce"] = "restricted"
    pod = restricted(
        {
            "terminationGracePeriodSeconds": 1,
            "containers": [
                {
                    "name": "adapter",
                    "image": image,
                    "imagePullPolicy": pull_policy,
                    "command": ["python3", "-m", "hailstorm_drills.comparison.adapter"],
                    "env": [
                        {"name": "EDGE_CLUSTER", "value": TARGET},
                        {
                            "name": "EDGE_SERVICE",
                            # Whole, so that no search domain is asked first.
                            "value": f"{EDGE_SERVICE}.{NAMESPACE}.svc.cluster.local.",
                        },
                        {"name": "EDGE_PORT", "value": str(STATS_PORT)},
                    ],
                    "ports": [{"name": "https", "containerPort": adapter.PORT}],
                    "resources": {
                        "requests": {"cpu": "50m", "memory": "48Mi"},
                        "limits": {"cpu": "1", "memory": "128Mi"},
                    },
                    "readinessProbe": {
                        "httpGet": {
                            "path": f"/apis/{adapter.GROUP_VERSION}",
                            "port": adapter.PORT,
                            "scheme": "HTTPS",
                        },
                        "periodSeconds": 1,
                        "timeoutSeconds": 5,
                    },
                    "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
                }
            ],
            "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "8Mi"}}],
        }
    )
    return (
        {"apiVersion": "v1", "kind": "Namespace", "metadata": place},
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata(ADAPTER, ADAPTER, home),
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": selector(ADAPTER)},
                "template": {"metadata": {"labels": labels(ADAPTER)}, "spec": pod},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata(ADAPTER, ADAPTER, home),
            "spec": {
                "selector": selector(ADAPTER),
                "ports": [{"name": "https", "port": 443, "targetPort": adapter.PORT}],
            },
        },
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": metadata(API_SERVICE, ADAPTER, None),
            "spec": {
                "group": adapter.GROUP,
                "version": adapter.GROUP_VERSION.split("/")[1],
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
                # A test rig: the certificate is made by the pod itself and lives as long.
                "insecureSkipTLSVerify": True,
                "service": {"name": ADAPTER, "namespace": home, "port": 443},
            },
        },
    )
