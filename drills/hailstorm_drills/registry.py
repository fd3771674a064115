"""
The drills there are, by name.

A scenario is a value: what it is, what its broken twin is, how its fault and
its plan are made, and what its verdict asks besides what every drill's asks.
The runner knows no scenario by name.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hailstorm_drills.checkers.base import Checker
from hailstorm_drills.control import Control
from hailstorm_drills.faults.base import Fault
from hailstorm_drills.faults.stage import Stage
from hailstorm_drills.offers import OFFER_SETTINGS
from hailstorm_drills.plan import Parameters, Plan, Step
from hailstorm_drills.scenarios.frame import frame

MakeFault = Callable[[Stage], Fault]
Settings = Callable[[Parameters], tuple[str, ...]]


def no_settings(_: Parameters) -> tuple[str, ...]:
    """The release as its values have it."""
    return ()


@dataclass(frozen=True)
class Scenario:
    """One drill."""

    name: str
    summary: str
    # What the twin breaks; a drill without one cannot be believed.
    twin_summary: str
    # `key=value` for `helm --set` that break the twin.
    twin_settings: tuple[str, ...]
    # Components whose pods the fault is for; `--component` chooses others.
    components: tuple[str, ...]
    # The fault's own steps of the plan: INJECT and HOLD.
    steps: Callable[[Parameters], Sequence[Step]]
    make_fault: MakeFault
    # `key=value` for `helm --set` that the drill itself needs, twin or not; taken
    # back at the end.
    settings: Settings = no_settings
    # Whether `--next-values` must be given.
    needs_next_values: bool = False
    # The values that the release is left with; None for the next ones, where the
    # drill rolls to them, and else for those that it began with.
    end_values: Callable[[Parameters], tuple[str, ...]] | None = None
    # What parameters (by field name) are when the command line leaves them out.
    defaults: Mapping[str, Any] = field(default_factory=dict)
    # The same for fields of the load's profile.
    load: Mapping[str, Any] = field(default_factory=dict)
    # Judged after the common checkers.
    checkers: tuple[tuple[str, Checker], ...] = ()
    # Common checkers (by name) that this drill needs otherwise.
    instead: Mapping[str, Checker] = field(default_factory=dict)
    # What runs beside the drill; None for nothing.
    make_control: Callable[[Stage, str, str], Control] | None = None
    control_summary: str = ""

    def release_settings(self, p: Parameters) -> tuple[str, ...]:
        """What the release is made with in this run, before what breaks the twin."""
        return (*self.settings(p), *(OFFER_SETTINGS if p.offers else ()))

    def touched(self, p: Parameters) -> tuple[str, ...]:
        """The components that the fault of this run is for."""
        return p.components or self.components

    def left_with(self, p: Parameters) -> tuple[str, ...]:
        """The values that the release has after the drill."""
        if self.end_values is not None:
            return self.end_values(p)
        return p.next_values if self.needs_next_values else p.values

    def make_plan(self, p: Parameters) -> Plan:
        """What the drill does, step by step; a pure function of its parameters."""
        return frame(
            p,
            self.steps(p),
            settings=self.release_settings(p),
            checks=[name for name, _ in self.checkers],
            twin_settings=self.twin_settings,
            control=self.control_summary if self.make_control else "",
        )


def scenarios() -> dict[str, Scenario]:
    """All drills by name."""
    # Scenario modules import this one for the type.
    from hailstorm_drills.scenarios import (
        aa,
        bad_deploy,
        losing_pods,
        operator_away,
        operator_kill,
        rolling_deploy,
        rollouts,
        scaler_steps_down,
        ten_deploys,
    )

    every = (
        rolling_deploy.SCENARIO,
        ten_deploys.SCENARIO,
        rollouts.RESTART,
        rollouts.EDGE_ROLL,
        losing_pods.SCALE_DOWN,
        scaler_steps_down.SCENARIO,
        losing_pods.DRAIN_NODE,
        losing_pods.KILL_POD,
        operator_kill.SCENARIO,
        operator_away.SCENARIO,
        *bad_deploy.SCENARIOS,
        aa.SCENARIO,
    )
    return {scenario.name: scenario for scenario in every}
