"""
How far Deployments have rolled, read from their own status and their pods; pure.

Deployment status forgets pods that are terminating, and those still serve, so
a rollout is only over when they are gone as well.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from hailstorm_drills.pods import COMPONENT_LABEL, HASH_LABEL

Object = Mapping[str, Any]


def component_of(thing: Object) -> str:
    """The component label of any object; empty without one."""
    return str(thing["metadata"].get("labels", {}).get(COMPONENT_LABEL, ""))


def incomplete(deployment: Object) -> str | None:
    """None when the Deployment has fully rolled; until then, what is missing."""
    name, spec = deployment["metadata"]["name"], deployment["spec"]
    status = deployment.get("status", {})
    wanted = spec.get("replicas", 1)
    if status.get("observedGeneration", 0) < deployment["metadata"]["generation"]:
        return f"{name}: the controller has not seen the latest change"
    counts = {
        key: status.get(key, 0) for key in ("replicas", "updatedReplicas", "availableReplicas")
    }
    short = [f"{key} {count} of {wanted}" for key, count in counts.items() if count != wanted]
    return f"{name}: {', '.join(short)}" if short else None


def unsettled(deployments: Iterable[Object], pods: Iterable[Object]) -> str | None:
    """None when every Deployment has rolled and no pod is terminating or unready."""
    deployments = list(deployments)
    if not deployments:
        return "there is no Deployment"
    missing = [told for told in map(incomplete, deployments) if told]
    for pod in pods:
        name = pod["metadata"]["name"]
        owners = {owner["kind"] for owner in pod["metadata"].get("ownerReferences", [])}
        if "Job" in owners:
            # It ends, well or badly, and serves nobody.
            continue
        if pod["metadata"].get("deletionTimestamp"):
            missing.append(f"{name} is terminating")
        elif pod.get("status", {}).get("phase") not in ("Running", "Succeeded"):
            missing.append(f"{name} is {pod.get('status', {}).get('phase', 'new')}")
        elif pod["status"]["phase"] == "Running" and not is_ready(pod):
            missing.append(f"{name} is not ready")
    return "; ".join(missing) or None


def is_ready(pod: Object) -> bool:
    """Whether the pod's Ready condition is true."""
    return any(
        c["type"] == "Ready" and c["status"] == "True"
        for c in pod.get("status", {}).get("conditions", [])
    )


def hashes(pods: Iterable[Object], component: str) -> set[str]:
    """Template hashes of the component's pods that are not terminating."""
    return {
        pod["metadata"]["labels"].get(HASH_LABEL, "")
        for pod in pods
        if component_of(pod) == component and not pod["metadata"].get("deletionTimestamp")
    }
