"""
Is a cluster really ready? kind only warns when its own wait runs out.

Every function that judges takes what the API server said, so that it is tested
with answers of a cluster that is not ready.
"""

from pathlib import Path
from typing import Any, Final

from hailstorm_platform.context import Context
from hailstorm_platform.errors import CommandError
from hailstorm_platform.kubectl import get, kubectl, wait_until

# Seen: 20 to 40 s on two idle cores; a machine under load takes far longer.
NODES_SECONDS: Final = 240.0
DNS_SECONDS: Final = 180.0
STORAGE_SECONDS: Final = 180.0

_COREFILE: Final = Path(__file__).parent / "files" / "Corefile"


def missing_nodes(nodes: Any, expected: int) -> str:
    """Which nodes are not Ready; empty when all `expected` are."""
    items = nodes.get("items", [])
    unready = [
        item["metadata"]["name"]
        for item in items
        if not any(
            condition["type"] == "Ready" and condition["status"] == "True"
            for condition in item.get("status", {}).get("conditions", [])
        )
    ]
    if len(items) != expected:
        return f"{len(items)} of {expected} nodes registered"
    return f"not Ready: {', '.join(unready)}" if unready else ""


def missing_replicas(deployment: Any) -> str:
    """What a Deployment still lacks; empty when its newest form is all there."""
    wanted = deployment["spec"].get("replicas", 1)
    status = deployment.get("status", {})
    if status.get("observedGeneration", 0) < deployment["metadata"]["generation"]:
        return "its newest form was not looked at yet"
    for field in ("updatedReplicas", "availableReplicas", "replicas"):
        if status.get(field, 0) != wanted:
            return f"{field} is {status.get(field, 0)} of {wanted}"
    return ""


def wait_for_nodes(
    context: Context, cluster: str, expected: int, seconds: float = NODES_SECONDS
) -> None:
    """Return when every node is Ready."""
    wait_until(
        f"cluster {cluster}",
        seconds,
        lambda: missing_nodes(get(context, cluster, "nodes"), expected),
    )


def configure_dns(context: Context, cluster: str) -> None:
    """Give CoreDNS our Corefile and wait until both its replicas serve it."""
    patch = kubectl(
        context,
        cluster,
        *("create", "configmap", "coredns", "--namespace", "kube-system"),
        *(f"--from-file=Corefile={_COREFILE}", "--dry-run=client", "-o", "yaml"),
    )
    kubectl(context, cluster, "replace", "-f", "-", stdin=patch)
    # It would notice by itself within a minute; a drill must not begin before.
    kubectl(context, cluster, "-n", "kube-system", "rollout", "restart", "deployment/coredns")


def wait_for_dns(context: Context, cluster: str, seconds: float = DNS_SECONDS) -> None:
    """Return when every replica of CoreDNS is available."""
    wait_until(
        f"CoreDNS of {cluster}",
        seconds,
        lambda: missing_replicas(
            get(context, cluster, "-n", "kube-system", "deployment", "coredns")
        ),
    )


def render_storage_check(image: str) -> str:
    """A claim on the default StorageClass and a pod that writes to it."""
    return f"""\
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: storage-check, namespace: default}}
spec:
  accessModes: [ReadWriteOnce]
  resources: {{requests: {{storage: 1Mi}}}}
---
apiVersion: v1
kind: Pod
metadata: {{name: storage-check, namespace: default}}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  containers:
    - name: write
      image: {image}
      imagePullPolicy: IfNotPresent
      command: ["python3", "-c", "open('/data/check', 'w').write('ok')"]
      volumeMounts: [{{name: data, mountPath: /data}}]
  volumes:
    - name: data
      persistentVolumeClaim: {{claimName: storage-check}}
"""


def check_storage(context: Context, cluster: str, image: str) -> None:
    """Prove that the default StorageClass gives a pod a volume it can write to."""
    manifest = render_storage_check(image)

    def missing() -> str:
        pod = get(context, cluster, "pod", "storage-check", "-n", "default")
        phase = pod.get("status", {}).get("phase", "unknown")
        return "" if phase == "Succeeded" else f"the pod that writes is {phase}"

    kubectl(context, cluster, "apply", "-f", "-", stdin=manifest)
    try:
        wait_until(f"storage of {cluster}", STORAGE_SECONDS, missing)
    finally:
        try:
            kubectl(context, cluster, "delete", "--wait=false", "-f", "-", stdin=manifest)
        except CommandError as error:
            context.report.say(f"the storage check was not cleaned up: {error.tail.strip()}")
