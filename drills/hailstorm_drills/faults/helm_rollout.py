"""
A release rolls to its next version: `helm upgrade`, as an engineer would do it.

It is planned work and not damage, and users must not notice it all the same.
It took hold when a pod of the new template serves in every component that was
to roll; it is healed when all have rolled and the last old pod is gone.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from hailstorm_drills.cluster import Cluster
from hailstorm_drills.faults.base import FaultError
from hailstorm_drills.pods import HASH_LABEL
from hailstorm_drills.rollouts import component_of, hashes, is_ready, unsettled

Objects = Callable[[], Iterable[dict[str, Any]]]


@dataclass(frozen=True)
class Release:
    """One Helm release and how it is upgraded."""

    cluster: Cluster
    name: str
    namespace: str
    chart: str

    def upgrade(self, values: Sequence[str], settings: Sequence[str] = ()) -> None:
        """`helm upgrade --install` to these values; does not wait for pods."""
        files = [word for file in values for word in ("--values", file)]
        sets = [word for setting in settings for word in (_option(setting), setting)]
        self.cluster.helm(
            *("upgrade", "--install", self.name, self.chart),
            *("--namespace", self.namespace),
            # Two runs of a drill must not differ by what was set by hand before.
            "--reset-values",
            *files,
            *sets,
        )

    def rollback(self) -> None:
        """Back to the revision before."""
        self.cluster.helm("rollback", self.name, "--namespace", self.namespace)


@dataclass
class HelmRollout:
    """The fault."""

    release: Release
    next_values: Sequence[str]
    settings: Sequence[str]
    components: Sequence[str]
    pods: Objects
    deployments: Objects
    _before: dict[str, set[str]] = field(default_factory=dict)
    _was_injected: bool = False

    def set_up(self) -> None:
        """Note the templates before; every component must be there and settled."""
        told = unsettled(self.deployments(), self.pods())
        if told:
            raise FaultError(f"the release is not settled before the rollout: {told}")
        pods = list(self.pods())
        self._before = {component: hashes(pods, component) for component in self.components}
        missing = [component for component, found in self._before.items() if not found]
        if missing:
            raise FaultError(f"no pods of {', '.join(missing)}")

    def inject(self) -> None:
        """`helm upgrade` to the next values."""
        self.release.upgrade(self.next_values, self.settings)
        self._was_injected = True

    def took_hold(self) -> str | None:
        """A ready pod of a new template in every component."""
        pods = list(self.pods())
        missing = [c for c in self.components if not self._new_ready(pods, c)]
        return f"no ready pod of a new template in {', '.join(missing)}" if missing else None

    def hold(self) -> None:
        """It runs its course."""

    def recover(self) -> None:
        """A rollout ends by itself; one that Kubernetes gave up on is rolled back."""
        if self._was_injected and any(map(_has_failed, self.deployments())):
            self.release.rollback()

    def healed(self) -> str | None:
        """Rolled to the end, and no pod terminating."""
        return unsettled(self.deployments(), self.pods())

    def clean_up(self) -> None:
        """Nothing is left behind: the next version stays."""

    def _new_ready(self, pods: Iterable[dict[str, Any]], component: str) -> bool:
        return any(
            component_of(pod) == component
            and pod["metadata"]["labels"].get(HASH_LABEL) not in self._before[component]
            and is_ready(pod)
            for pod in pods
        )


def _option(setting: str) -> str:
    """How to hand a `key=value` to Helm, whose --set makes text of a number with a point."""
    _, _, value = setting.partition("=")
    try:
        return "--set-json" if isinstance(json.loads(value), float) else "--set"
    except ValueError:
        return "--set"


def _has_failed(deployment: dict[str, Any]) -> bool:
    return any(
        c["type"] == "Progressing" and c["status"] == "False"
        for c in deployment.get("status", {}).get("conditions", [])
    )
