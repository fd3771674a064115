"""
The naive arm: the same server without drain, behind a ClusterIP Service, called directly.

What most Deployments are. It lies in the load's namespace, away from the release's
policies, budgets, scalers and recorder, and is asked what every server of ours
answers without a store: its health. It is swept with the load.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from hailstorm_drills.cluster import QUERY_SECONDS, CommandError
from hailstorm_drills.faults.stage import Stage
from hailstorm_drills.load import LOAD_LABEL
from hailstorm_drills.pod_spec import restricted
from hailstorm_drills.rollouts import component_of

NAME: Final = "control-naive"
LOAD_NAME: Final = "control-load"
GRPC_PORT: Final = 50051
HTTP_PORT: Final = 8081
# Of the release's components the one whose server starts without Postgres.
MODEL: Final = "location"
REPLICAS: Final = 2
# Calls a second: a hundredth of a core, and some 15,000 calls in ten deploys.
CALLS_PER_SECOND: Final = 40
# The control's pods lie beside what is measured; these are a tenth of a service's.
CPU: Final = "50m"
# The Job's worth of a pod that nobody came back for.
DEADLINE_SECONDS: Final = 7_200
LOG_LINES: Final = 5
SWEEP_SECONDS: Final = 90.0


class NaiveControl:
    """See the module; nothing here raises, and a problem is what `finish` says."""

    def __init__(self, stage: Stage, image: str, pull_policy: str) -> None:
        self._stage, self._image, self._pull_policy = stage, image, pull_policy
        self._namespace = stage.parameters.load_namespace
        self._problem = ""
        self._rolls = 0

    def start(self) -> None:
        """Deployment, Service, and a pod that calls it once a pod of it is ready."""
        try:
            model = next(d for d in self._stage.deployments.objects() if component_of(d) == MODEL)
            container = model["spec"]["template"]["spec"]["containers"][0]
            self._stage.cluster.apply(
                [
                    deployment(self._namespace, container),
                    service(self._namespace),
                    caller(
                        self._namespace,
                        self._image,
                        self._pull_policy,
                        self._stage.parameters.seed,
                    ),
                ]
            )
        except StopIteration:
            self._fail(f"the release has no {MODEL} to make it from")
        except CommandError as error:
            self._fail(f"it did not start: {error}")

    def roll(self) -> None:
        """`kubectl rollout restart`; does not wait."""
        if self._problem:
            return
        try:
            self._kubectl("rollout", "restart", f"deployment/{NAME}")
            self._rolls += 1
        except CommandError as error:
            self._fail(f"roll {self._rolls + 1}: {error}")

    def finish(self) -> dict[str, Any]:
        """What its caller counted until now."""
        if not self._problem:
            try:
                return self._counted()
            except (CommandError, ValueError, KeyError) as error:
                self._fail(f"its caller says nothing: {error}")
        return {"problem": self._problem, "rolls": self._rolls}

    def sweep(self) -> None:
        """Delete all of it."""
        try:
            self._kubectl(
                *("delete", "deployment,pod,service", "--selector", f"{LOAD_LABEL}=control"),
                # Waited for: the next load's pods have the same names.
                *("--ignore-not-found", "--wait=true", "--grace-period=1", "--timeout=60s"),
                timeout=SWEEP_SECONDS,
            )
        except CommandError as error:
            self._fail(f"it was not swept: {error}")

    def _counted(self) -> dict[str, Any]:
        said = self._kubectl("logs", LOAD_NAME, f"--tail={LOG_LINES}")
        found = dict(json.loads(said.strip().splitlines()[-1]))
        if not found["offered"]:
            raise ValueError("it made no call")
        return {**found, "rolls": self._rolls, "replicas": REPLICAS}

    def _kubectl(self, *arguments: str, timeout: float = QUERY_SECONDS) -> str:
        return self._stage.cluster.kubectl(
            *arguments, "--namespace", self._namespace, timeout=timeout
        )

    def _fail(self, why: str) -> None:
        self._problem = self._problem or why
        self._stage.say(f"   the control: {why}")


def deployment(namespace: str, container: Mapping[str, Any]) -> dict[str, Any]:
    """As a tutorial has it: replicas, probes, and nothing about ending."""
    settings = {
        "HAILSTORM_LIFECYCLE_DRAIN_ENABLED": "false",
        "HAILSTORM_SERVER_GRPC_PORT": str(GRPC_PORT),
        "HAILSTORM_SERVER_HTTP_PORT": str(HTTP_PORT),
    }
    probe = {"httpGet": {"path": "/readyz", "port": HTTP_PORT}, "timeoutSeconds": 5}
    pod = restricted(
        {
            "containers": [
                {
                    "name": NAME,
                    "image": container["image"],
                    "imagePullPolicy": container.get("imagePullPolicy", "IfNotPresent"),
                    "command": list(container["command"]),
                    "env": [{"name": k, "value": v} for k, v in settings.items()],
                    "ports": [{"containerPort": GRPC_PORT}],
                    "readinessProbe": {**probe, "periodSeconds": 2},
                    "resources": {
                        "requests": {"cpu": CPU, "memory": "96Mi"},
                        "limits": {"cpu": "500m", "memory": "256Mi"},
                    },
                }
            ],
        }
    )
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(namespace, NAME),
        "spec": {
            "replicas": REPLICAS,
            "selector": {"matchLabels": {"app.kubernetes.io/name": NAME}},
            "template": {"metadata": {"labels": _labels(NAME)}, "spec": pod},
        },
    }


def service(namespace: str) -> dict[str, Any]:
    """One virtual address, as `kubectl expose` makes it."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(namespace, NAME),
        "spec": {
            "selector": {"app.kubernetes.io/name": NAME},
            "ports": [{"name": "grpc", "port": GRPC_PORT}],
        },
    }


def caller(namespace: str, image: str, pull_policy: str, seed: int) -> dict[str, Any]:
    """The pod with the open-model load."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": _metadata(namespace, LOAD_NAME),
        "spec": restricted(
            {
                "restartPolicy": "Never",
                "activeDeadlineSeconds": DEADLINE_SECONDS,
                "containers": [
                    {
                        "name": LOAD_NAME,
                        "image": image,
                        "imagePullPolicy": pull_policy,
                        "command": ["python3", "-m", "hailstorm_drills.naive_load"],
                        "args": [
                            f"{NAME}.{namespace}.svc.cluster.local:{GRPC_PORT}",
                            *("--rate", str(CALLS_PER_SECOND), "--seed", str(seed)),
                        ],
                        "resources": {
                            "requests": {"cpu": CPU, "memory": "64Mi"},
                            "limits": {"cpu": "500m", "memory": "192Mi"},
                        },
                    }
                ],
            }
        ),
    }


def _labels(name: str) -> dict[str, str]:
    return {
        LOAD_LABEL: "control",
        "app.kubernetes.io/name": name,
        "app.kubernetes.io/part-of": "hailstorm",
        "app.kubernetes.io/managed-by": "hailstorm-drills",
    }


def _metadata(namespace: str, name: str) -> dict[str, Any]:
    return {"name": name, "namespace": namespace, "labels": _labels(name)}
