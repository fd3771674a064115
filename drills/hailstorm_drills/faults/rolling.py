"""
What all rollouts have in common, whoever began them.

One took hold when a pod of a new template serves in every component that was to
roll; it is healed when all have rolled and the last old pod is gone.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from hailstorm_drills.faults.base import FaultError
from hailstorm_drills.pods import HASH_LABEL
from hailstorm_drills.rollouts import component_of, hashes, is_ready, unsettled

Objects = Callable[[], Iterable[dict[str, Any]]]


class Rolling:
    """Everything of a rollout but its beginning; who inherits adds `inject`."""

    components: Sequence[str]
    pods: Objects
    deployments: Objects
    _before: dict[str, set[str]]

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

    def took_hold(self) -> str | None:
        """A ready pod of a new template in every component."""
        pods = list(self.pods())
        missing = [c for c in self.components if not self._new_ready(pods, c)]
        return f"no ready pod of a new template in {', '.join(missing)}" if missing else None

    def hold(self) -> None:
        """It runs its course."""

    def recover(self) -> None:
        """It ends by itself."""

    def healed(self) -> str | None:
        """Rolled to the end, and no pod terminating."""
        return unsettled(self.deployments(), self.pods())

    def clean_up(self) -> None:
        """Nothing is left behind: the new template stays."""

    def _new_ready(self, pods: Iterable[dict[str, Any]], component: str) -> bool:
        return any(
            component_of(pod) == component
            and pod["metadata"]["labels"].get(HASH_LABEL) not in self._before[component]
            and is_ready(pod)
            for pod in pods
        )
