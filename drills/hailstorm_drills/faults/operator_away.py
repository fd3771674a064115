"""
There is no operator for a while, and everything that serves goes on serving.

Its Deployment is scaled to nothing, so that nobody starts it again. Meanwhile the
scalers' lower bounds are lowered: on its return the operator could take a pod from
each service, and may not before it has watched for as long as it promises.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from hailstorm_drills.faults.base import FaultError
from hailstorm_drills.faults.operator_kill import OPERATOR, operator_pods
from hailstorm_drills.faults.stage import Stage
from hailstorm_drills.marks import Mark
from hailstorm_drills.recorder import epoch
from hailstorm_drills.rollouts import component_of, is_ready

OPERATOR_AWAY: Final = "operator-away"


@dataclass
class OperatorAway:
    """The fault; the scalers' bounds are put back by the runner, with the release's values."""

    stage: Stage
    # `key=value` for `helm --set` that let the scalers go down.
    lowered: Sequence[str]
    _name: str = ""
    _replicas: int = 0
    _mark: Mark | None = None
    _is_restored: bool = True

    def set_up(self) -> None:
        """The operator must be there and ready."""
        found = self.stage.cluster.get("deployments", self._namespace)["items"]
        own = [one for one in found if component_of(one) == OPERATOR]
        if len(own) != 1 or not any(map(is_ready, operator_pods(self.stage))):
            raise FaultError(f"no ready operator in {self._namespace} to be without")
        self._name = str(own[0]["metadata"]["name"])
        self._replicas = max(1, int(own[0]["spec"].get("replicas", 1)))

    def inject(self) -> None:
        """`kubectl scale` of the operator to 0."""
        self._is_restored = False
        self._scale(0)

    def took_hold(self) -> str | None:
        """Its last process has ended."""
        if pods := operator_pods(self.stage):
            return f"{', '.join(pod['metadata']['name'] for pod in pods)} is still there"
        self._mark = self._mark or self.stage.marks.add(OPERATOR_AWAY, self._name)
        return None

    def hold(self) -> None:
        """Lower the bounds, which nobody heeds, and let load run for as long as the plan says."""
        p = self.stage.parameters
        self.stage.release.upgrade(p.values, (*self.stage.settings, *self.lowered))
        self.stage.watch_load(p.fault_seconds)
        if operator_pods(self.stage):
            raise FaultError("somebody brought the operator back before its time")

    def recover(self) -> None:
        """As many operators as there were. Repeatable."""
        self._scale(self._replicas)
        self._is_restored = True

    def healed(self) -> str | None:
        """It is ready again."""
        pods = operator_pods(self.stage)
        ready = [pod for pod in pods if is_ready(pod)]
        if not ready:
            return "the operator is not ready"
        if self._mark is not None and self._mark.until is None:
            self.stage.marks.close(self._mark)
            # From its first moment on it could have taken a pod away.
            self._mark.until = min(map(_started_at, ready))
        return None

    def clean_up(self) -> None:
        """A second try, should the first have met an API server that did not answer."""
        if not self._is_restored:
            self.recover()

    @property
    def _namespace(self) -> str:
        return self.stage.parameters.operator_namespace

    def _scale(self, replicas: int) -> None:
        self.stage.cluster.kubectl(
            *("scale", "--namespace", self._namespace, f"--replicas={replicas}"),
            f"deployment/{self._name}",
        )


def _started_at(pod: dict[str, Any]) -> float:
    """When the container's process began, epoch seconds, in whole ones and so never too late."""
    states = [one.get("state", {}) for one in pod["status"].get("containerStatuses", [])]
    return min(epoch(state["running"]["startedAt"]) for state in states if "running" in state)
