"""
The pod that is calibrated and the one that loads it.

The pod is a copy of the Deployment's template: same image, same limits, same
policies of network and security. A readiness gate that nobody sets keeps it out
of every Service, so that no user meets it; its ReplicaSet carries none of the
template's labels itself, so that the Deployment does not adopt it.
"""

import copy
from collections.abc import Mapping
from typing import Any, Final

from hailstorm_drills.load import LOAD_LABEL, ROLE_LABEL
from hailstorm_drills.pod_spec import beside_the_control_plane, restricted
from hailstorm_operator import api

CALIBRATION_LABEL: Final = f"{api.GROUP}/calibration"
GATE: Final = f"{api.GROUP}/never-in-service"
ROLE: Final = "calibration"
LOAD: Final = "load-calibration"
Manifest = dict[str, Any]


class TemplateError(ValueError):
    """The Deployment cannot be calibrated as it is; the message says why."""


def pod_name(deployment: str) -> str:
    """Name of the ReplicaSet and of the NetworkPolicy."""
    return f"{deployment}-calibration"


def port_of(deployment: Mapping[str, Any], wanted: str | None) -> int:
    """The port to call: by number, by name, or the one called grpc. Raises TemplateError."""
    ports = [
        (str(port.get("name", "")), int(port["containerPort"]))
        for container in deployment["spec"]["template"]["spec"]["containers"]
        for port in container.get("ports") or []
    ]
    if wanted is not None and wanted.isdigit():
        return int(wanted)
    name = wanted or "grpc"
    for known, number in ports:
        if known == name:
            return number
    if wanted is None and len(ports) == 1:
        return ports[0][1]
    told = ", ".join(f"{known or '-'}={number}" for known, number in ports) or "none"
    raise TemplateError(f"no port called {name} (there is {told}); write --port")


def subject(deployment: Mapping[str, Any]) -> list[Manifest]:
    """The ReplicaSet of the one pod, and the policy that lets the load reach it."""
    name = deployment["metadata"]["name"]
    namespace = deployment["metadata"]["namespace"]
    template = copy.deepcopy(dict(deployment["spec"]["template"]))
    mark = {CALIBRATION_LABEL: name}
    meta = dict(template.get("metadata") or {})
    template["metadata"] = {**meta, "labels": {**(meta.get("labels") or {}), **mark}}
    gates = template["spec"].get("readinessGates") or []
    template["spec"]["readinessGates"] = [*gates, {"conditionType": GATE}]
    place = {"name": pod_name(name), "namespace": namespace, "labels": mark}
    return [
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": place,
            "spec": {
                "podSelector": {"matchLabels": mark},
                "policyTypes": ["Ingress"],
                "ingress": [
                    {
                        "from": [
                            {
                                "namespaceSelector": {},
                                "podSelector": {"matchLabels": {ROLE_LABEL: ROLE}},
                            }
                        ]
                    }
                ],
            },
        },
        {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": place,
            "spec": {"replicas": 1, "selector": {"matchLabels": mark}, "template": template},
        },
    ]


def load(
    namespace: str, image: str, pull_policy: str, arguments: list[str], seconds: int
) -> Manifest:
    """The caller, on the control plane's node where that is allowed."""
    resources = {"cpu": "300m", "memory": "128Mi"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": LOAD,
            "namespace": namespace,
            "labels": {LOAD_LABEL: "true", ROLE_LABEL: ROLE},
        },
        "spec": restricted(
            {
                "restartPolicy": "Never",
                "activeDeadlineSeconds": seconds,
                "terminationGracePeriodSeconds": 1,
                **beside_the_control_plane(),
                "containers": [
                    {
                        "name": "load",
                        "image": image,
                        "imagePullPolicy": pull_policy,
                        "command": ["python3", "-m", "hailstorm_loadtests.unary", "levels"],
                        "args": arguments,
                        "resources": {"requests": resources, "limits": {**resources, "cpu": "2"}},
                    }
                ],
            }
        ),
    }
