"""
The load of a drill: one master and its workers as pods, and how to talk to them.

Load runs inside the cluster, beside what it loads, so that no port-forward is
measured. The pods satisfy the restricted Pod Security Standard, stop by
themselves, and carry one label by which every run of every drill is swept up.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from hailstorm_drills.cluster import Cluster, CommandError
from hailstorm_drills.pod_spec import UID, beside_the_control_plane, restricted

LOAD_LABEL: Final = "hailstorm.dev/load"
ROLE_LABEL: Final = "hailstorm.dev/load-role"
MASTER: Final = "load-master"
HTTP_PORT: Final = 8089
LOCUST_PORT: Final = 5557
# Three times what the default load takes when measured: 0.1 of a core a worker,
# 0.01 the master, whose work comes in bursts.
MASTER_CPU: Final = "200m"
WORKER_CPU: Final = "300m"
# A history of a million calls is some 60 MB of gzip; kubectl's proxy does 20 MB/s.
HISTORY_SECONDS: Final = 120.0
# The kubelet ends a pod after this, whatever the generator thinks: its own
# longest run and an hour for reading the history.
LINGER_SECONDS: Final = 3_600


@dataclass(frozen=True)
class LoadSpec:
    """What load a drill wants."""

    namespace: str
    image: str
    pull_policy: str
    target: str
    workers: int
    profile: dict[str, Any]
    deadline_seconds: int


def manifests(spec: LoadSpec) -> list[dict[str, Any]]:
    """The Service of the master, the master, the workers."""
    settings = [
        word
        for name, value in sorted(spec.profile.items())
        for word in ("--set", f"{name}={value}")
    ]
    master = [
        *("master", "--target", spec.target, "--workers", str(spec.workers)),
        *("--output", "/data", "--linger-seconds", str(LINGER_SECONDS)),
        *settings,
    ]
    address = f"{MASTER}.{spec.namespace}.svc.cluster.local:{LOCUST_PORT}"
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": _metadata(spec, MASTER, "master"),
            "spec": {
                "clusterIP": "None",
                # Workers look for it before it is ready.
                "publishNotReadyAddresses": True,
                "selector": {LOAD_LABEL: "true", ROLE_LABEL: "master"},
                "ports": [{"name": "locust", "port": LOCUST_PORT}],
            },
        },
        _pod(spec, MASTER, "master", master, MASTER_CPU),
        *(
            _pod(spec, f"load-worker-{n}", "worker", ["worker", "--master", address], WORKER_CPU)
            for n in range(spec.workers)
        ),
    ]


def _metadata(spec: LoadSpec, name: str, role: str) -> dict[str, Any]:
    return {
        "name": name,
        "namespace": spec.namespace,
        "labels": {
            LOAD_LABEL: "true",
            ROLE_LABEL: role,
            "app.kubernetes.io/name": "hailstorm-load",
            "app.kubernetes.io/component": role,
            "app.kubernetes.io/part-of": "hailstorm",
            "app.kubernetes.io/managed-by": "hailstorm-drills",
        },
    }


def _pod(spec: LoadSpec, name: str, role: str, arguments: list[str], cpu: str) -> dict[str, Any]:
    resources = {"cpu": cpu, "memory": "384Mi"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": _metadata(spec, name, role),
        "spec": restricted(
            {
                "restartPolicy": "Never",
                "activeDeadlineSeconds": spec.deadline_seconds + LINGER_SECONDS,
                "terminationGracePeriodSeconds": 1,
                **beside_the_control_plane(),
                "securityContext": {"fsGroup": UID},
                "containers": [
                    {
                        "name": role,
                        "image": spec.image,
                        "imagePullPolicy": spec.pull_policy,
                        "command": ["python3", "-m", "hailstorm_loadtests"],
                        "args": arguments,
                        "ports": [{"name": "http", "containerPort": HTTP_PORT}]
                        if role == "master"
                        else [],
                        # A large share of a crowded machine, and room above it: a witness that
                        # is starved sees nothing, and one that its quota stops after a burst
                        # lags by what is left of the 100 ms.
                        "resources": {"requests": resources, "limits": {**resources, "cpu": "2"}},
                        "volumeMounts": [
                            {"name": "data", "mountPath": "/data"},
                            {"name": "tmp", "mountPath": "/tmp"},
                        ],
                    }
                ],
                "volumes": [
                    {"name": "data", "emptyDir": {"sizeLimit": "1Gi"}},
                    {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
                ],
            }
        ),
    }


class LoadError(RuntimeError):
    """The load did not start, or did not deliver; the message says what was seen."""


@dataclass
class Load:
    """The load in the cluster."""

    cluster: Cluster
    spec: LoadSpec

    def sweep(self) -> None:
        """Delete what this or an earlier drill left. Repeatable."""
        self.cluster.kubectl(
            *("delete", "pod,service", "--namespace", self.spec.namespace),
            *("--selector", f"{LOAD_LABEL}=true", "--ignore-not-found", "--wait=true"),
            *("--grace-period=1", "--timeout=60s"),
            timeout=90,
        )

    def scale(self, share: float) -> None:
        """From the next start on, ask for this share of the profile's demand and fleet."""
        self.spec = replace(self.spec, profile={**self.spec.profile, "scale": share})

    def start(self) -> None:
        """Create the pods; `state` tells when they run."""
        self.cluster.apply(manifests(self.spec))

    def state(self) -> dict[str, Any]:
        """What the master says; raises LoadError while it cannot be asked."""
        try:
            return dict(json.loads(self.cluster.raw(self._path("state"))))
        except (CommandError, ValueError) as error:
            raise LoadError(f"the load's master does not answer: {error}") from error

    def waiting_for(self) -> str | None:
        """None once load runs; until then, what is missing. Raises LoadError when it never will."""
        pods = self.cluster.get("pods", self.spec.namespace, "--selector", f"{LOAD_LABEL}=true")[
            "items"
        ]
        for pod in pods:
            name, status = pod["metadata"]["name"], pod.get("status", {})
            waiting = [
                c["state"]["waiting"].get("reason", "")
                for c in status.get("containerStatuses", [])
                if "waiting" in c.get("state", {})
            ]
            if status.get("phase") in ("Failed", "Succeeded"):
                raise LoadError(f"{name} has ended before the load began: {self.log(name)}")
            hopeless = {"ErrImageNeverPull", "ImagePullBackOff", "InvalidImageName"}
            if hopeless & set(waiting):
                raise LoadError(f"{name} cannot start: {', '.join(waiting)}")
            if status.get("phase") != "Running":
                return f"{name} is {status.get('phase', 'new')}"
        try:
            state = self.state()
        except LoadError as error:
            return str(error)
        if state["state"] in ("incomplete", "complete"):
            raise LoadError(f"the load is over before it began: {state['why']}")
        return None if state["state"] == "running" else f"the load is {state['state']}"

    def finish(self) -> None:
        """No new riders; trips under way end soon."""
        self.cluster.post(self._path("finish"))

    def fetch_history(self, path: Path) -> None:
        """Write the gzip JSON lines of the whole run to `path`."""
        path.write_bytes(self.cluster.raw(self._path("history"), timeout=HISTORY_SECONDS))

    def log(self, pod: str) -> str:
        """The last lines of a load pod's log."""
        try:
            return self.cluster.kubectl(
                "logs", pod, "--namespace", self.spec.namespace, "--tail=40"
            )
        except CommandError as error:
            return str(error)

    def _path(self, leaf: str) -> str:
        namespace = self.spec.namespace
        return f"/api/v1/namespaces/{namespace}/pods/{MASTER}:{HTTP_PORT}/proxy/{leaf}"
