"""
The drills there are, by name.

A scenario is a value: what it is, what its broken twin is, and how its fault
and its plan are made. The runner knows no scenario by name.
"""

from collections.abc import Callable
from dataclasses import dataclass

from hailstorm_drills.cluster import Cluster
from hailstorm_drills.faults.base import Fault
from hailstorm_drills.plan import Parameters, Plan
from hailstorm_drills.watching import Watch

# (parameters, cluster, pods, deployments) -> the fault to be injected.
MakeFault = Callable[[Parameters, Cluster, Watch, Watch], Fault]


@dataclass(frozen=True)
class Scenario:
    """One drill."""

    name: str
    summary: str
    # What the twin breaks; a drill without one cannot be believed.
    twin_summary: str
    # `key=value` for `helm --set` that break the twin.
    twin_settings: tuple[str, ...]
    # Components whose pods the fault must replace.
    components: tuple[str, ...]
    make_plan: Callable[[Parameters], Plan]
    make_fault: MakeFault


def scenarios() -> dict[str, Scenario]:
    """All drills by name."""
    # Scenario modules import this one for the type.
    from hailstorm_drills.scenarios import rolling_deploy

    return {scenario.name: scenario for scenario in (rolling_deploy.SCENARIO,)}
