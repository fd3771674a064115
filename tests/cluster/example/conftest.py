"""The third-party app of examples/fortio behind the edge, installed from the files as they are."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest
import yaml

from cluster.conftest import NAMESPACE, OPERATOR_NAMESPACE, ROOT, Cluster
from cluster.example.fortio_result import read_result
from eventually import eventually

T = TypeVar("T")

FOLDER = ROOT / "examples" / "fortio"
PLACE = "fortio"
# Each look starts a kubectl, which costs a tenth of a second of a core.
LOOK_SECONDS = 0.5
# What a record looks back for its `before`, and a second at either end.
BEFORE_SECONDS = 32


@dataclass(frozen=True)
class Example:
    """The app, its callers, and what is said of both."""

    cluster: Cluster

    def kubectl(self, *arguments: str, **options: Any) -> str:
        """kubectl in the app's namespace."""
        return self.cluster.kubectl("--namespace", PLACE, *arguments, **options)

    def get(self, *arguments: str) -> Any:
        """Objects of the app's namespace."""
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def recorder(self, question: str) -> Any:
        """An answer of the recorder, through the API server."""
        service = f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/services/hailstorm-recorder:http/proxy"
        return json.loads(self.cluster.kubectl("get", "--raw", f"{service}{question}"))

    def start_load(self, name: str, *arguments: str) -> None:
        """Call the app through the edge: the Job of load-job.yaml, with other numbers."""
        job = yaml.safe_load((FOLDER / "load-job.yaml").read_text())
        job["metadata"]["name"] = name
        (container,) = job["spec"]["template"]["spec"]["containers"]
        *words, target = container["args"]
        # Of a flag that is given twice, the last holds.
        container["args"] = [*words, "-quiet", "-json=-", *arguments, target]
        self.kubectl("apply", "-f", "-", stdin=json.dumps(job))

    def load_result(self, name: str, deadline: int) -> dict[str, Any]:
        """What the load saw, once it is over."""
        done = ("wait", "--for=condition=Complete", f"job/{name}", f"--timeout={deadline}s")
        try:
            self.kubectl(*done, timeout=deadline + 10)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.kubectl('describe', f'job/{name}')}") from error
        return read_result(self.kubectl("logs", f"job/{name}"))

    def calls_seen(self, seconds: float) -> int:
        """Calls to the app that the recorder has counted in the last seconds."""
        began = time.time() - seconds
        answer = self.recorder(f"/tallies?cluster=fortio&kind=calls&from={began:.0f}")
        return sum(row["count"] for row in answer["rows"])

    def coverage(self) -> Any:
        """The recorder's gaps and Envoys, for as long back as a record that began now looks."""
        answer = self.recorder(f"/gaps?from={time.time() - BEFORE_SECONDS:.0f}")
        selector = "app.kubernetes.io/component=edge"
        pods = self.cluster.get("pods", "-n", NAMESPACE, "-l", selector)["items"]
        return {**answer, "edgePods": sorted(pod["metadata"]["name"] for pod in pods)}

    def records(self) -> list[dict[str, Any]]:
        """The app's RolloutRecords, oldest first."""
        found: list[dict[str, Any]] = self.get(
            "rolloutrecords", "-l", "hailstorm.dev/target=fortio"
        )["items"]
        return sorted(found, key=lambda one: one["spec"]["generation"])

    def replicas(self) -> int:
        """What the app is scaled to."""
        return int(self.get("deployment", "fortio")["spec"]["replicas"])

    def wait(self, look: Callable[[], T], deadline: float, until: Callable[[T], bool] = bool) -> T:
        """`eventually`, with a pause that leaves the machine to the cluster."""

        def look_now_and_then() -> T:
            time.sleep(LOOK_SECONDS)
            return look()

        return asyncio.run(eventually(look_now_and_then, deadline, until))


def is_whole(coverage: Any) -> bool:
    """Whether the recorder saw everything, of exactly the Envoys that there are."""
    heard = sorted(one["name"] for one in coverage["envoys"] if one["pulseAt"] and not one["inGap"])
    return bool(coverage["complete"] and heard == coverage["edgePods"])


@pytest.fixture(scope="module")
def example(installed: Cluster) -> Iterator[Example]:
    """The app as examples/fortio/README.md installs it; afterwards the edge is as before."""
    app = Example(installed)
    installed.make_namespace(PLACE)
    app.kubectl("apply", "-f", str(FOLDER / "manifests"))
    installed.upgrade("--values", str(FOLDER / "edge-values.yaml"))
    app.kubectl("rollout", "status", "deployment/fortio", "--timeout=120s", timeout=130)
    yield app
    installed.kubectl("delete", "namespace", PLACE, "--wait=false")
    installed.upgrade()
    gone = ("wait", "--for=delete", f"namespace/{PLACE}", "--timeout=120s")
    installed.kubectl(*gone, timeout=130)
