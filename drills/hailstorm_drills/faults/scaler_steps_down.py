"""
A ServiceScaler takes a service down, step by step, because it may and the demand is small.

Only its lower bound is changed, by `helm upgrade`, as somebody would who had more pods
for a busy evening. When each pod goes, and which, is the scaler's own business.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from hailstorm_drills.faults.base import FaultError
from hailstorm_drills.faults.stage import Stage
from hailstorm_drills.marks import Mark
from hailstorm_drills.rollouts import unsettled
from hailstorm_drills.scalers import SCALER, moves_of, writes_of
from hailstorm_operator import api


@dataclass
class ScalerStepsDown:
    """The fault; the bounds themselves are put back by the runner, with the release's values."""

    stage: Stage
    components: Sequence[str]
    # `key=value` for `helm --set` that let the scalers go down.
    lowered: Sequence[str]
    _marks: dict[str, Mark] = field(default_factory=dict)

    def set_up(self) -> None:
        """Every component must have the replicas that the plan begins with, and a scaler."""
        told = unsettled(self.stage.deployments.objects(), self.stage.pods.objects())
        if told:
            raise FaultError(f"the release is not settled before it shrinks: {told}")
        p = self.stage.parameters
        for component in self.components:
            if (asked := self._asked(component)) != p.replicas:
                raise FaultError(f"{component} has {asked} replicas and not {p.replicas}")
            self._scaler(component)

    def inject(self) -> None:
        """`helm upgrade` to the same values with lower bounds; no template changes."""
        for component in self.components:
            self._marks[component] = self.stage.marks.add(SCALER, component)
        p = self.stage.parameters
        self.stage.release.upgrade(p.values, (*self.stage.settings, *self.lowered))

    def took_hold(self) -> str | None:
        """Every component's scaler has taken its first step."""
        whole = [c for c in self.components if self._asked(c) >= self.stage.parameters.replicas]
        return f"{', '.join(whole)} did not shrink yet" if whole else None

    def hold(self) -> None:
        """Until the last step, for `fault_seconds` at most; raises FaultError after that."""
        self.stage.wait(
            self._left, self.stage.parameters.fault_seconds, "the scaler takes its last step"
        )

    def recover(self) -> None:
        """It ends by itself; what the scalers say of it is kept, however it ended."""
        for component, mark in self._marks.items():
            if mark.until is None:
                scaler = self._scaler(component)
                writes, moves = writes_of(scaler, mark.at), moves_of(scaler, mark)
                self.stage.marks.close(mark, writes=writes, spare_moves=moves)

    def healed(self) -> str | None:
        """The last pod that had to go is gone."""
        return unsettled(self.stage.deployments.objects(), self.stage.pods.objects())

    def clean_up(self) -> None:
        """Nothing is left behind."""

    def _left(self) -> str | None:
        wanted = self.stage.parameters.to_replicas
        left = [f"{c} has {n}" for c in self.components if (n := self._asked(c)) > wanted]
        return f"{', '.join(left)} replicas" if left else None

    def _asked(self, component: str) -> int:
        for one in self.stage.deployments.objects():
            # The chart's Deployments are called as their components.
            if one["metadata"]["name"] == component:
                return int(one["spec"].get("replicas", 1))
        raise FaultError(f"no Deployment of {component}")

    def _scaler(self, component: str) -> dict[str, object]:
        resource = f"{api.SCALER_PLURAL}.{api.GROUP}"
        namespace = self.stage.parameters.namespace
        for one in self.stage.cluster.get(resource, namespace)["items"]:
            if one["spec"]["targetRef"]["name"] == component:
                return dict(one)
        raise FaultError(f"no ServiceScaler of {component}")
