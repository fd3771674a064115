"""
What the cluster layer stands on: a kind cluster and the two charts on it.

`make test` makes the cluster and names it by environment variables; what is
missing is an error that says which, never a skip.
"""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
NAMESPACE = "hailstorm"
OPERATOR_NAMESPACE = "hailstorm-system"
# A cold start of every pod on two busy cores took a minute when tried.
INSTALL_TIMEOUT_SECONDS = 300


@dataclass(frozen=True)
class Cluster:
    """Commands against the cluster under test."""

    kubeconfig: str
    images_values: str
    next_images_values: str
    edge: str

    def run(
        self, *command: str, timeout: float = 60, stdin: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a command with this cluster's KUBECONFIG; its output is in the failure."""
        done = subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, "KUBECONFIG": self.kubeconfig},
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(
                f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
            )
        return done

    def kubectl(self, *arguments: str, **options: Any) -> str:
        """Output of kubectl."""
        return self.run("kubectl", *arguments, **options).stdout

    def get(self, *arguments: str) -> Any:
        """What `kubectl get` finds, as JSON."""
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def upgrade(self, *values: str, images: str | None = None) -> None:
        """Install or upgrade charts/hailstorm and wait until it has rolled."""
        self.run(
            "helm", "upgrade", "--install", "hailstorm", str(ROOT / "charts" / "hailstorm"),
            "--namespace", NAMESPACE, "--values", images or self.images_values, *values,
            "--wait", "--timeout", f"{INSTALL_TIMEOUT_SECONDS}s",
            timeout=INSTALL_TIMEOUT_SECONDS + 30,
        )  # fmt: skip

    def make_namespace(self, name: str) -> None:
        """Make a namespace that enforces Pod Security restricted. Repeatable."""
        manifest = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": name,
                "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
            },
        }
        self.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))


def from_environment(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise pytest.UsageError(f"tests/cluster needs {name}; `make test` sets it")
    return value


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The cluster under test, reachable and ready, or an error."""
    found = Cluster(
        kubeconfig=from_environment("KUBECONFIG"),
        images_values=from_environment("HAILSTORM_TEST_IMAGES"),
        next_images_values=from_environment("HAILSTORM_TEST_IMAGES_NEXT"),
        edge=from_environment("HAILSTORM_TEST_EDGE"),
    )
    found.kubectl("wait", "--for=condition=Ready", "nodes", "--all", "--timeout=60s", timeout=90)
    return found


@pytest.fixture(scope="session")
def kept_records() -> list[dict[str, Any]]:
    """RolloutRecords of namespaces that are gone; `test_replay` replays them, at the end."""
    return []


@pytest.fixture(scope="session")
def operator(cluster: Cluster) -> Cluster:
    """The cluster with charts/hailstorm-operator on it."""
    cluster.make_namespace(OPERATOR_NAMESPACE)
    cluster.run(
        "helm", "upgrade", "--install", "hailstorm-operator",
        str(ROOT / "charts" / "hailstorm-operator"), "--namespace", OPERATOR_NAMESPACE,
        "--values", cluster.images_values, "--wait", "--timeout", f"{INSTALL_TIMEOUT_SECONDS}s",
        timeout=INSTALL_TIMEOUT_SECONDS + 30,
    )  # fmt: skip
    return cluster


@pytest.fixture(scope="session")
def installed(operator: Cluster) -> Cluster:
    """The cluster with operator and services on it, two replicas of each service."""
    operator.make_namespace(NAMESPACE)
    operator.upgrade()
    return operator
