"""
As many pods at the knee as past it: ServiceScalers held where they are.

What happens past the knee is the services' doing. A scaler that gives them more pods
meanwhile answers another question, and on a core that is full already it only takes from
those that serve. Their bounds are set to the replicas of now and given back at the end; what
a killed process leaves behind, the next `make demo` (a helm upgrade) puts right.
"""

import contextlib
import json
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from hailstorm_benchmarks.report import say

NAMESPACE: Final = "hailstorm"
# A healthy API server answers in milliseconds.
KUBECTL_SECONDS: Final = 30.0

Kubectl = Callable[[Sequence[str]], str]


class ScalersError(Exception):
    """The ServiceScalers cannot be held; the message says why."""


def kubectl_of(program: Path, kubeconfig: Path) -> Kubectl:
    """kubectl for a cluster. What it returns raises ScalersError."""

    def run(words: Sequence[str]) -> str:
        command = [str(program), "--kubeconfig", str(kubeconfig), "--namespace", NAMESPACE, *words]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=KUBECTL_SECONDS
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ScalersError(f"kubectl: {error}") from error
        if done.returncode != 0:
            raise ScalersError(f"kubectl: {done.stderr.strip()[-200:]}")
        return done.stdout

    return run


@contextlib.contextmanager
def held(kubectl: Kubectl) -> Iterator[None]:
    """Hold every ServiceScaler at the replicas of its target. Raises ScalersError."""
    found = json.loads(kubectl(["get", "servicescalers,deployments", "-o", "json"]))["items"]
    replicas = {
        one["metadata"]["name"]: one["spec"]["replicas"]
        for one in found
        if one["kind"] == "Deployment"
    }
    with contextlib.ExitStack() as stack:
        for one in found:
            spec = one["spec"]
            if one["kind"] != "ServiceScaler" or not replicas.get(spec["targetRef"]["name"]):
                continue
            name, count = one["metadata"]["name"], replicas[spec["targetRef"]["name"]]
            bounds = {key: spec[key] for key in ("minReplicas", "maxReplicas")}
            stack.callback(_give_back, kubectl, name, bounds)
            _set(kubectl, name, dict.fromkeys(bounds, count))
        yield


def _give_back(kubectl: Kubectl, name: str, bounds: dict[str, Any]) -> None:
    try:
        _set(kubectl, name, bounds)
    except ScalersError as error:
        # What was measured stands all the same.
        say(f"ServiceScaler {name} is still held; `make demo` puts it right: {error}")


def _set(kubectl: Kubectl, name: str, bounds: dict[str, Any]) -> None:
    patch = json.dumps({"spec": bounds})
    kubectl(["patch", "servicescaler", name, "--type", "merge", "--patch", patch])
