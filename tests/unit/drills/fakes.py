"""A cluster that only writes down what it is told, for faults that only look and tell."""

from collections.abc import Callable
from typing import Any

from hailstorm_drills.faults.base import FaultError
from hailstorm_drills.faults.stage import Stage
from hailstorm_drills.plan import Parameters


def deployment(name: str = "trip", replicas: int = 2) -> dict[str, Any]:
    counts = dict.fromkeys(("replicas", "updatedReplicas", "availableReplicas"), replicas)
    return {
        "metadata": {
            "name": name,
            "generation": 1,
            "labels": {"app.kubernetes.io/component": name},
        },
        "spec": {"replicas": replicas},
        "status": {"observedGeneration": 1, **counts},
    }


def pod(
    name: str, component: str = "trip", node: str = "w1", ready: bool = True, restarts: int = 0
) -> dict[str, Any]:
    container = {
        "containerID": f"containerd://{name}-id",
        "state": {"running": {}},
        "restartCount": restarts,
    }
    return {
        "metadata": {"name": name, "labels": {"app.kubernetes.io/component": component}},
        "spec": {"nodeName": node},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "containerStatuses": [container],
        },
    }


class FakeWatch:
    def __init__(self, *things: dict[str, Any]) -> None:
        self.things = list(things)

    def objects(self) -> list[dict[str, Any]]:
        return self.things


class FakeProcess:
    """A kubectl drain that ends when told, with this code."""

    def __init__(self, code: int | None) -> None:
        self.code, self.was_ended = code, False

    def poll(self) -> int | None:
        return self.code

    def terminate(self) -> None:
        self.was_ended = True

    def communicate(self, timeout: float | None = None) -> tuple[bytes, bytes]:
        return b"", b"cannot evict"


class FakeCluster:
    def __init__(self) -> None:
        self.commands: list[tuple[str, ...]] = []
        self.found: dict[str, list[dict[str, Any]]] = {}
        self.process = FakeProcess(0)
        self.killed = "1700000000.5\n2\n"

    def kubectl(self, *words: str, **_: Any) -> str:
        self.commands.append(words)
        return ""

    def get(self, resource: str, namespace: str, *_: str) -> dict[str, Any]:
        return {"items": self.found.get(f"{resource} {namespace}", self.found.get(resource, []))}

    def start(self, *words: str) -> FakeProcess:
        self.commands.append(words)
        return self.process

    def node(self, node: str, script: str) -> str:
        self.commands.append(("node", node, script))
        return "" if script == "true" else self.killed


class FakeRelease:
    """Helm that only writes down what it was to set."""

    def __init__(self) -> None:
        self.set: list[tuple[str, ...]] = []

    def upgrade(self, _: Any, settings: tuple[str, ...] = ()) -> None:
        self.set.append(settings)


def once(probe: Callable[[], str | None], seconds: float, what: str) -> None:
    if told := probe():
        raise FaultError(f"{what}: {told}")


def make_stage(
    parameters: Parameters, pods: list[dict[str, Any]], deployments: Any = None, release: Any = None
) -> Stage:
    """A stage whose waits look once, and whose cluster and watches are these fakes."""
    return Stage(
        parameters,
        FakeCluster(),  # type: ignore[arg-type]
        FakeWatch(*pods),  # type: ignore[arg-type]
        FakeWatch(*(deployments or [deployment()])),  # type: ignore[arg-type]
        release,
        say=lambda _: None,
        wait=once,
    )


def commands(stage: Stage) -> list[tuple[str, ...]]:
    return stage.cluster.commands  # type: ignore[attr-defined,no-any-return]
