"""
Services shrink while they are used: the pods that go must finish what they have.

Kubernetes chooses who goes; each of them drains as in a rollout, but nobody
comes in its place.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from hailstorm_drills.faults.base import FaultError
from hailstorm_drills.faults.rollout_restart import names_of
from hailstorm_drills.faults.stage import Stage
from hailstorm_drills.rollouts import component_of, is_ready, unsettled


@dataclass
class ScaleDown:
    """The fault; the release itself is put back by the runner, with its values."""

    stage: Stage
    components: Sequence[str]
    _before: dict[str, set[str]] = field(default_factory=dict)

    def set_up(self) -> None:
        """Every component must have the replicas that the plan begins with."""
        told = unsettled(self.stage.deployments.objects(), self.stage.pods.objects())
        if told:
            raise FaultError(f"the release is not settled before it shrinks: {told}")
        wanted = self.stage.parameters.replicas
        self._before = {c: self._ready(c) for c in self.components}
        for component, pods in self._before.items():
            if len(pods) != wanted:
                raise FaultError(f"{component} has {len(pods)} ready pods and not {wanted}")

    def inject(self) -> None:
        """`kubectl scale` of all of them."""
        names = names_of(self.stage.deployments.objects, self.components)
        p = self.stage.parameters
        self.stage.cluster.kubectl(
            *("scale", "--namespace", p.namespace, f"--replicas={p.to_replicas}"),
            *(f"deployment/{name}" for name in names),
        )

    def took_hold(self) -> str | None:
        """A pod of every component is on its way out, or gone."""
        alive = {
            pod["metadata"]["name"]
            for pod in self.stage.pods.objects()
            if not pod["metadata"].get("deletionTimestamp")
        }
        whole = [c for c, before in self._before.items() if before <= alive]
        return f"no pod of {', '.join(whole)} is going" if whole else None

    def hold(self) -> None:
        """Those that stay carry the load for as long as the plan says."""
        self.stage.watch_load(self.stage.parameters.fault_seconds)

    def recover(self) -> None:
        """It ends by itself."""

    def healed(self) -> str | None:
        """The last pod that had to go is gone."""
        return unsettled(self.stage.deployments.objects(), self.stage.pods.objects())

    def clean_up(self) -> None:
        """Nothing is left behind."""

    def _ready(self, component: str) -> set[str]:
        return {
            pod["metadata"]["name"]
            for pod in self.stage.pods.objects()
            if component_of(pod) == component
            and is_ready(pod)
            and not pod["metadata"].get("deletionTimestamp")
        }
