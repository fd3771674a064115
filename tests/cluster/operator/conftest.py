"""A namespace for each test, small Deployments in it, and what the operator says of them."""

import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from cluster.conftest import OPERATOR_NAMESPACE, Cluster

# Two hundred milliseconds a look, because each look starts a kubectl.
LOOK_SECONDS = 0.2

# Ends at once when asked to: rollouts of a test should not wait for a grace period.
IDLE = "trap 'exit 0' TERM; sleep infinity & wait"

# Answers /stats as an Envoy does, and /metrics as a pod;
# /set?value=&shed=&pods=address:calls,... is for the test alone.
EDGE_STUB = """
import http.server, re, time, urllib.parse
calls = rate = shed = 0.0
pods = {}
since = last = time.time()
def figures():
    global shed, last
    now = time.time()
    shed, last = shed + rate * (now - last), now
    return {
        "upstream_rq_active": f"{calls:g}",
        "upstream_rq_completed": f"{int(shed + 100 * (now - since))}",
        "upstream_rq_time": "P0(50,50) P50(50,50) P100(50,50)",
        "grpc.8": f"{int(shed)}",
        **pods,
    }
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        global calls, rate
        url = urllib.parse.urlsplit(self.path)
        query = urllib.parse.parse_qs(url.query)
        lines = []
        if url.path == "/set":
            figures()
            calls = float(query.get("value", [calls])[0])
            rate = float(query.get("shed", [rate])[0])
            for pod in filter(None, query.get("pods", [""])[0].split(",")):
                address, _, value = pod.rpartition(":")
                pods[f"endpoint.{address}_50051.rq_active"] = value
        elif url.path == "/metrics":
            lines = [f"calls_in_flight {calls:g}"]
        elif url.path == "/stats":
            lines = [f"cluster.app.{name}: {value}" for name, value in figures().items()]
            lines = [one for one in lines if re.search(query["filter"][0], one.split(": ")[0])]
        body = "".join(one + chr(10) for one in lines).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("", 9902), Handler).serve_forever()
"""

CONTAINER_SECURITY = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
}
POD_SECURITY = {
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "seccompProfile": {"type": "RuntimeDefault"},
}


@dataclass
class Place:
    """One namespace with the operator watching it."""

    cluster: Cluster
    namespace: str
    image: str
    extra: dict[str, Any] = field(default_factory=dict)

    def kubectl(self, *arguments: str, **options: Any) -> str:
        """kubectl in this namespace."""
        return self.cluster.kubectl("--namespace", self.namespace, *arguments, **options)

    def apply(self, *objects: dict[str, Any]) -> None:
        """Apply manifests."""
        listed = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.kubectl("apply", "-f", "-", stdin=json.dumps(listed))

    def refused(self, manifest: dict[str, Any]) -> str:
        """What the API server says to a manifest that it must refuse."""
        done = self.cluster.run(
            "kubectl", "--namespace", self.namespace, "apply", "-f", "-",
            stdin=json.dumps(manifest), check=False,
        )  # fmt: skip
        assert done.returncode != 0, "the manifest was taken"
        return done.stderr

    def get(self, kind: str, name: str) -> Any:
        """One object."""
        return json.loads(self.kubectl("get", kind, name, "-o", "json"))

    def records(self, target: str = "app") -> list[dict[str, Any]]:
        """Records of a Deployment, oldest first."""
        found = json.loads(
            self.kubectl(
                "get", "rolloutrecords", "-l", f"hailstorm.dev/target={target}", "-o", "json"
            )
        )["items"]
        return sorted(found, key=lambda one: one["spec"]["generation"])

    def wait_for_outcome(self, revision: int, deadline: float = 90) -> dict[str, Any]:
        """The record of a revision, once it is closed."""

        def closed() -> dict[str, Any] | None:
            return next(
                (
                    one
                    for one in self.records()
                    if one["spec"]["revision"] == revision
                    and one.get("status", {}).get("outcome", "progressing") != "progressing"
                ),
                None,
            )

        return self.wait(closed, deadline)

    def wait(self, look: Any, deadline: float = 60) -> Any:
        """Look until there is something to see; else fail with the last of it."""
        end = time.monotonic() + deadline
        while True:
            seen = look()
            if seen:
                return seen
            if time.monotonic() > end:
                said = self.cluster.kubectl(
                    "--namespace", OPERATOR_NAMESPACE,
                    "logs", "deployment/hailstorm-operator", "--tail=30",
                )  # fmt: skip
                raise AssertionError(
                    f"nothing within {deadline} s; records: {self.records()}; operator: {said}"
                )
            time.sleep(LOOK_SECONDS)

    def deployment(self, name: str = "app", replicas: int = 2, **spec: Any) -> dict[str, Any]:
        """A Deployment that is recorded and does nothing."""
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "labels": {"hailstorm.dev/record": "true"}},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": {"app": name}},
                "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
                **spec,
                "template": {
                    "metadata": {"labels": {"app": name}},
                    "spec": self.pod_spec(["sh", "-c", IDLE]),
                },
            },
        }

    def pod_spec(self, command: list[str]) -> dict[str, Any]:
        """A pod that Pod Security restricted lets in."""
        return {
            "terminationGracePeriodSeconds": 1,
            "securityContext": POD_SECURITY,
            "containers": [
                {
                    "name": "main",
                    "image": self.image,
                    "command": command,
                    "env": [{"name": "VERSION", "value": "one"}],
                    "securityContext": CONTAINER_SECURITY,
                }
            ],
        }

    def edge(self, pods: int = 1) -> None:
        """Pods that answer /stats, behind a headless Service called edge-headless."""
        template = self.pod_spec(["python3", "-c", EDGE_STUB])
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "edge-headless"},
            "spec": {
                "clusterIP": "None",
                "selector": {"app": "edge"},
                "ports": [{"name": "stats", "port": 9902}],
            },
        }
        stubs = [
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": f"edge-{number}", "labels": {"app": "edge"}},
                "spec": template,
            }
            for number in range(pods)
        ]
        self.apply(service, *stubs)
        self.kubectl("wait", "--for=condition=Ready", "pod", "-l", "app=edge", "--timeout=60s",
                     timeout=70)  # fmt: skip

    def set_in_flight(
        self, calls: float, pod: str = "edge-0", by_address: Mapping[str, float] | None = None
    ) -> None:
        """Let an edge pod report so many calls in flight, and how many on each address."""
        pods = ",".join(f"{address}:{value}" for address, value in (by_address or {}).items())
        path = (
            f"/api/v1/namespaces/{self.namespace}/pods/http:{pod}:9902/proxy/set"
            f"?value={calls}&pods={pods}"
        )
        self.cluster.kubectl("get", "--raw", path)

    def set_shed(self, per_second: float, pod: str = "edge-0") -> None:
        """Let an edge pod refuse so many calls a second."""
        path = f"/api/v1/namespaces/{self.namespace}/pods/http:{pod}:9902/proxy/set"
        self.cluster.kubectl("get", "--raw", f"{path}?shed={per_second}")

    def service(self, name: str = "app", **selector: str) -> dict[str, Any]:
        """A headless Service; by default of the pods of `deployment()`."""
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name},
            "spec": {
                "clusterIP": "None",
                "selector": selector or {"app": "app"},
                "ports": [{"name": "grpc", "port": 50051}],
            },
        }

    def scaler(self, name: str = "app", **spec: Any) -> dict[str, Any]:
        """A ServiceScaler with short windows."""
        return {
            "apiVersion": "hailstorm.dev/v1alpha1",
            "kind": "ServiceScaler",
            "metadata": {"name": name},
            "spec": {
                "targetRef": {"name": "app"},
                "minReplicas": 1,
                "maxReplicas": 5,
                "signal": {"edge": {"cluster": "app", "service": "edge-headless"}},
                "targetInFlight": 10,
                "utilisation": 1,
                "behavior": {
                    "fastWindowSeconds": 2,
                    "stableWindowSeconds": 6,
                    "scaleDown": {"windowSeconds": 6},
                },
                **spec,
            },
        }

    def policy(self, name: str = "app", **spec: Any) -> dict[str, Any]:
        """A RolloutPolicy that needs no traffic and holds for a few seconds."""
        return {
            "apiVersion": "hailstorm.dev/v1alpha1",
            "kind": "RolloutPolicy",
            "metadata": {"name": name},
            "spec": {
                "targetRef": {"name": "app"},
                "canary": {"holdSeconds": {"min": 5, "max": 20}},
                "onInsufficientEvidence": "promote",
                "postPromotionWatchSeconds": 1,
                **spec,
            },
        }

    def condition(self, kind: str, name: str = "app") -> tuple[str, str]:
        """Status and reason of a ServiceScaler's condition."""
        for one in self.get("servicescaler", name).get("status", {}).get("conditions", []):
            if one["type"] == kind:
                return one["status"], one["reason"]
        return "", ""

    def replicas(self) -> int:
        """What the target is scaled to."""
        return int(self.get("deployment", "app")["spec"]["replicas"])


@pytest.fixture
def place(operator: Cluster, kept_records: list[dict[str, Any]]) -> Iterator[Place]:
    """A fresh namespace; deleted afterwards without waiting for it."""
    namespace = f"operator-{uuid.uuid4().hex[:8]}"
    operator.make_namespace(namespace)
    images = operator.run(
        "helm", "get", "values", "hailstorm-operator", "--namespace", OPERATOR_NAMESPACE,
        "--output", "json",
    )  # fmt: skip
    # The operator's own image: it is on the nodes, and has sh and python3.
    image = json.loads(images.stdout)["images"]["operator"]
    yield Place(operator, namespace, f"{image['repository']}:{image['tag']}")
    kept_records += operator.get("rolloutrecords", "--namespace", namespace)["items"]
    operator.kubectl("delete", "namespace", namespace, "--wait=false")


@pytest.fixture
def operator_away(operator: Cluster) -> Callable[[], AbstractContextManager[None]]:
    """A block in which there is no operator; afterwards there is one again."""

    def scale(replicas: int) -> None:
        arguments = ("--namespace", OPERATOR_NAMESPACE)
        operator.kubectl(
            *arguments, "scale", "deployment/hailstorm-operator", f"--replicas={replicas}"
        )
        if replicas:
            operator.kubectl(
                *arguments, "rollout", "status", "deployment/hailstorm-operator",
                "--timeout=60s", timeout=70,
            )  # fmt: skip
        else:
            operator.kubectl(
                *arguments, "wait", "--for=delete", "pod", "-l",
                "app.kubernetes.io/component=operator", "--timeout=60s", timeout=70,
            )  # fmt: skip

    @contextmanager
    def away() -> Iterator[None]:
        scale(0)
        try:
            yield
        finally:
            scale(1)

    return away
