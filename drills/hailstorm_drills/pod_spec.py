"""
What every pod that a drill makes has in common: how it is confined, and where it runs.

The demo's namespaces enforce the restricted Pod Security Standard
(https://kubernetes.io/docs/concepts/security/pod-security-standards/), so a pod
that lacks one of these fields is not admitted at all.
"""

from collections.abc import Mapping
from typing import Any, Final

# Label and taint of the nodes that Kubernetes itself runs on.
CONTROL_PLANE_LABEL: Final = "node-role.kubernetes.io/control-plane"
# The uid that the project's images run as.
UID: Final = 65532


def restricted(spec: Mapping[str, Any]) -> dict[str, Any]:
    """`spec` of a pod as the restricted standard asks for it; what `spec` says itself stays."""
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        **spec,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": UID,
            "runAsGroup": UID,
            "seccompProfile": {"type": "RuntimeDefault"},
            **spec.get("securityContext", {}),
        },
        "containers": [_confined(container) for container in spec["containers"]],
    }


def _confined(container: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **container,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }


def beside_the_control_plane() -> dict[str, Any]:
    """
    Affinity and toleration of a witness: on the control plane's node where that is allowed.

    Away from the pods that roll and from the nodes that drain, on a node that is
    within its share of a crowded machine when the others are not.
    """
    exists = {"key": CONTROL_PLANE_LABEL, "operator": "Exists"}
    return {
        "affinity": {
            "nodeAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {"weight": 100, "preference": {"matchExpressions": [exists]}}
                ]
            }
        },
        "tolerations": [{**exists, "effect": "NoSchedule"}],
    }
