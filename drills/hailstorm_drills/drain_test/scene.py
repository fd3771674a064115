"""What the drain test puts into the cluster, and takes away again."""

from dataclasses import dataclass
from typing import Any, Final

from hailstorm_drills.load import LOAD_LABEL
from hailstorm_drills.pod_spec import restricted
from hailstorm_drills.pods import COMPONENT_LABEL

NAME: Final = "drain-test"
GRPC_PORT: Final = 50051


@dataclass(frozen=True)
class Wanted:
    """What is to be tested."""

    namespace: str
    load_namespace: str
    component: str
    pods: int
    seconds: float
    image: str
    pull_policy: str


def scene(w: Wanted) -> list[dict[str, Any]]:
    """The manifests of the test's own things."""
    labels = {LOAD_LABEL: NAME, "app.kubernetes.io/name": NAME}
    selector = {COMPONENT_LABEL: w.component}
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": NAME, "namespace": w.namespace, "labels": labels},
            "spec": {"selector": selector, "ports": [{"name": "grpc", "port": GRPC_PORT}]},
        },
        {
            # The release lets nobody but its edge reach its pods.
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": NAME, "namespace": w.namespace, "labels": labels},
            "spec": {
                "podSelector": {"matchLabels": selector},
                "policyTypes": ["Ingress"],
                "ingress": [
                    {
                        "from": [
                            {
                                "namespaceSelector": {
                                    "matchLabels": {"kubernetes.io/metadata.name": w.load_namespace}
                                }
                            }
                        ],
                        "ports": [{"port": GRPC_PORT}],
                    }
                ],
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": NAME, "namespace": w.load_namespace, "labels": labels},
            "spec": restricted(
                {
                    "restartPolicy": "Never",
                    "activeDeadlineSeconds": 3_600,
                    "containers": [
                        {
                            "name": NAME,
                            "image": w.image,
                            "imagePullPolicy": w.pull_policy,
                            "command": ["sleep", "3600"],
                            "resources": {
                                "requests": {"cpu": "100m", "memory": "64Mi"},
                                "limits": {"cpu": "1", "memory": "192Mi"},
                            },
                        }
                    ],
                }
            ),
        },
    ]
