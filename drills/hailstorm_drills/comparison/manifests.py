"""
What a comparison puts into its namespace: the target, two Envoys, the load.

All of it satisfies the restricted Pod Security Standard and lies in one
namespace, which is deleted at the end.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from hailstorm_drills.comparison.envoy import envoy_config
from hailstorm_drills.comparison.names import (
    CONTAINER,
    EDGE,
    EDGE_PORT,
    EDGE_SERVICE,
    LOAD,
    NAMESPACE,
    STATS_PORT,
    TARGET,
)
from hailstorm_drills.comparison.settings import Settings
from hailstorm_drills.comparison.target import METHOD, PORT
from hailstorm_drills.load import LOAD_LABEL
from hailstorm_drills.pod_spec import beside_the_control_plane, restricted

Manifest = dict[str, Any]

# As the product's own edge.
EDGE_REPLICAS: Final = 2


def metadata(name: str, component: str = "", namespace: str | None = NAMESPACE) -> Manifest:
    """Name, place and labels of an object."""
    found: Manifest = {"name": name, "labels": labels(component or name)}
    return found if namespace is None else {**found, "namespace": namespace}


def labels(component: str) -> dict[str, str]:
    """Labels of everything that a comparison makes."""
    return {
        "app.kubernetes.io/name": "hailstorm-compare",
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/part-of": "hailstorm",
        "app.kubernetes.io/managed-by": "hailstorm-drills",
    }


def selector(component: str) -> dict[str, str]:
    """The labels that pods are selected by."""
    return {
        key: value
        for key, value in labels(component).items()
        if key.endswith(("/name", "/component"))
    }


def namespace() -> Manifest:
    """Where all of it lies; deleted at the end with everything inside."""
    found = metadata(NAMESPACE, "namespace", None)
    found["labels"]["pod-security.kubernetes.io/enforce"] = "restricted"
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": found}


def rig(settings: Settings, images: Mapping[str, str], pull_policy: str) -> list[Manifest]:
    """The target and the edge in front of it."""
    return [
        namespace(),
        _service(TARGET, TARGET, {"grpc": PORT}),
        target(settings, images["drills"], pull_policy),
        _service(EDGE_SERVICE, EDGE, {"grpc": EDGE_PORT, "stats": STATS_PORT}),
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata(EDGE),
            "data": {"envoy.json": json.dumps(envoy_config())},
        },
        _edge(images["envoy"], pull_policy),
    ]


def target(settings: Settings, image: str, pull_policy: str) -> Manifest:
    """The Deployment that is scaled, at its least."""
    limit = f"{settings.cpu_limit_millicores}m"
    pod = {
        # Drain, and calls under way: PROPAGATION_SECONDS and GRACE_SECONDS of `target`.
        "terminationGracePeriodSeconds": 15,
        "containers": [
            {
                "name": CONTAINER,
                "image": image,
                "imagePullPolicy": pull_policy,
                "command": ["python3", "-m", "hailstorm_drills.comparison.target"],
                "env": [
                    {"name": "COST_MS", "value": f"{settings.cpu_ms_per_call:g}"},
                    {"name": "WAIT_MS", "value": f"{settings.wait_ms:g}"},
                ],
                "ports": [{"name": "grpc", "containerPort": PORT}],
                # Half is asked for, so that the most pods there may be find their
                # place on two workers beside a demo.
                "resources": {
                    "requests": {
                        "cpu": f"{settings.cpu_limit_millicores // 2}m",
                        "memory": "64Mi",
                    },
                    "limits": {"cpu": limit, "memory": "128Mi"},
                },
                # Seen: behind a queue of 5 s a probe timed out, and the pod left its Service
                # when it was needed most. That is not what is compared here, so a pod that
                # was ready stays so for longer than an arm lasts.
                "readinessProbe": {
                    "grpc": {"port": PORT},
                    "periodSeconds": 1,
                    "timeoutSeconds": 15,
                    "failureThreshold": 60,
                },
            }
        ],
    }
    strategy = {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    return _deployment(TARGET, settings.min_replicas, pod, {"strategy": strategy})


def _edge(image: str, pull_policy: str) -> Manifest:
    pod = {
        "terminationGracePeriodSeconds": 2,
        "containers": [
            {
                "name": "envoy",
                "image": image,
                "imagePullPolicy": pull_policy,
                "command": [
                    *("/usr/local/bin/envoy", "--config-path", "/etc/envoy/envoy.json"),
                    *("--concurrency", "1", "--disable-hot-restart", "--log-level", "warn"),
                ],
                "ports": [
                    {"name": "grpc", "containerPort": EDGE_PORT},
                    {"name": "stats", "containerPort": STATS_PORT},
                ],
                "resources": {
                    "requests": {"cpu": "100m", "memory": "64Mi"},
                    "limits": {"cpu": "1", "memory": "256Mi"},
                },
                "readinessProbe": {
                    "httpGet": {"path": "/ready", "port": STATS_PORT},
                    "periodSeconds": 1,
                    "timeoutSeconds": 5,
                },
                "volumeMounts": [{"name": "config", "mountPath": "/etc/envoy"}],
            }
        ],
        "volumes": [{"name": "config", "configMap": {"name": EDGE}}],
    }
    return _deployment(EDGE, EDGE_REPLICAS, pod, {})


def load_pod(settings: Settings, image: str, pull_policy: str) -> Manifest:
    """The caller; the same arguments give the same arrivals."""
    # A large share of a crowded machine, since a caller that is starved sees nothing.
    spec = {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": settings.seconds + 180,
        "terminationGracePeriodSeconds": 1,
        **beside_the_control_plane(),
        "containers": [
            {
                "name": LOAD,
                "image": image,
                "imagePullPolicy": pull_policy,
                "command": ["python3", "-m", "hailstorm_loadtests.unary", "open"],
                "args": [
                    *("--target", f"{EDGE_SERVICE}.{NAMESPACE}.svc.cluster.local:{EDGE_PORT}"),
                    *("--method", METHOD, "--rate", f"{settings.base_rate:g}"),
                    *("--shape", settings.pace, "--seconds", str(settings.seconds)),
                    *("--seed", str(settings.seed)),
                    *("--deadline-seconds", f"{settings.deadline_seconds:g}"),
                ],
                "resources": {
                    "requests": {"cpu": "500m", "memory": "128Mi"},
                    "limits": {"cpu": "2", "memory": "512Mi"},
                },
            }
        ],
    }
    meta = metadata(LOAD)
    meta["labels"][LOAD_LABEL] = "true"
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": restricted(spec)}


def _service(name: str, component: str, ports: Mapping[str, int]) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(name, component),
        "spec": {
            "clusterIP": "None",
            "selector": selector(component),
            "ports": [{"name": key, "port": port} for key, port in ports.items()],
        },
    }


def _deployment(component: str, replicas: int, pod: Manifest, extra: Manifest) -> Manifest:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(component),
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": selector(component)},
            "template": {
                "metadata": {"labels": labels(component)},
                "spec": restricted(pod),
            },
            **extra,
        },
    }
