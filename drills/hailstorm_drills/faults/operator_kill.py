"""
The operator is killed in the middle of a rollout, and the rollout goes on.

Static stability: what serves does not need the operator. Its successor takes
up the open record and completes it; none is lost and none doubled.
"""

from dataclasses import dataclass
from typing import Any, Final

from hailstorm_drills.faults.base import Fault, FaultError
from hailstorm_drills.faults.sigkill import restarts_of, sigkill
from hailstorm_drills.faults.stage import Stage
from hailstorm_drills.rollouts import component_of, is_ready

OPERATOR_KILL: Final = "operator-kill"
OPERATOR: Final = "operator"


def operator_pods(stage: Stage) -> list[dict[str, Any]]:
    """The operator's pods, those that are ending included; raises CommandError."""
    found = stage.cluster.get("pods", stage.parameters.operator_namespace)["items"]
    return [pod for pod in found if component_of(pod) == OPERATOR]


@dataclass
class OperatorKill:
    """A rollout, and `times` kills of the operator while it goes on."""

    stage: Stage
    rollout: Fault
    # Of the operator before its last kill; None while none was done.
    _restarts: int | None = None

    def set_up(self) -> None:
        """The operator must run, and its node must let itself be entered."""
        self.rollout.set_up()
        pod = self._pod()
        if pod is None or not is_ready(pod):
            raise FaultError("no ready operator to kill")
        self.stage.cluster.node(pod["spec"]["nodeName"], "true")

    def inject(self) -> None:
        """Begin the rollout."""
        self.rollout.inject()

    def took_hold(self) -> str | None:
        """The rollout is under way."""
        return self.rollout.took_hold()

    def hold(self) -> None:
        """Kill it now, in the middle, and again when it has come back."""
        p = self.stage.parameters
        for number in range(1, p.times + 1):
            pod = self._pod()
            if pod is None:
                raise FaultError("no operator to kill")
            self._restarts = restarts_of(pod)
            at = sigkill(self.stage.cluster, pod)
            mark = self.stage.marks.add(OPERATOR_KILL, str(pod["metadata"]["name"]))
            mark.at = at
            self.stage.say(f"   killed the operator ({number} of {p.times})")
            self.stage.wait(self._is_back, p.took_hold_seconds, "the operator is back")
            self.stage.marks.close(mark)
        self.rollout.hold()

    def recover(self) -> None:
        """The kubelet starts the operator; the rollout ends by itself."""
        self.rollout.recover()

    def healed(self) -> str | None:
        """Rolled to the end, and the operator is there."""
        return self.rollout.healed() or self._is_back()

    def clean_up(self) -> None:
        """Nothing is left behind."""
        self.rollout.clean_up()

    def _pod(self) -> dict[str, Any] | None:
        return next(iter(operator_pods(self.stage)), None)

    def _is_back(self) -> str | None:
        pod = self._pod()
        if pod is None or not is_ready(pod):
            return "the operator is not ready"
        if self._restarts is None or restarts_of(pod) > self._restarts:
            return None
        return "the operator was not started again"
