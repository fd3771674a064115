"""
`kubectl rollout restart`: the same version again, in new pods.

What an engineer does when a certificate has changed or a process has gone odd.
The edge is restarted in the same way; its Envoys drain by a script of their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from hailstorm_drills.cluster import Cluster
from hailstorm_drills.faults.base import FaultError
from hailstorm_drills.faults.rolling import Objects, Rolling
from hailstorm_drills.rollouts import component_of


@dataclass
class RolloutRestart(Rolling):
    """The fault."""

    cluster: Cluster
    namespace: str
    components: Sequence[str]
    pods: Objects
    deployments: Objects
    _before: dict[str, set[str]] = field(default_factory=dict)

    def inject(self) -> None:
        """All of them in one command, so that they roll at once."""
        self.cluster.kubectl(
            *("rollout", "restart", "--namespace", self.namespace),
            *(f"deployment/{name}" for name in names_of(self.deployments, self.components)),
        )


def names_of(deployments: Objects, components: Sequence[str]) -> list[str]:
    """Names of the components' Deployments, in order; raises FaultError when one is missing."""
    found = {component_of(d): str(d["metadata"]["name"]) for d in deployments()}
    missing = [component for component in components if component not in found]
    if missing:
        raise FaultError(f"no Deployment of {', '.join(missing)}")
    return [found[component] for component in components]
