"""
Pods go and nobody rolls: a scale-down, a drained node, a SIGKILL every ten seconds.
"""

from typing import Final

from hailstorm_drills.checkers.attempts import check_attribution
from hailstorm_drills.checkers.kills import check_kills, check_kills_took_hold
from hailstorm_drills.checkers.pods_gone import check_drained, check_scaled_down
from hailstorm_drills.checkers.streams import check_streams
from hailstorm_drills.faults.drain_node import DrainNode
from hailstorm_drills.faults.scale_down import ScaleDown
from hailstorm_drills.faults.sigkill import KillPods
from hailstorm_drills.phases import HOLD, INJECT
from hailstorm_drills.plan import Parameters, Step
from hailstorm_drills.registry import Scenario
from hailstorm_drills.scenarios.rolling_deploy import COMPONENTS, TWIN_SETTINGS, TWIN_SUMMARY

SHRINKING: Final = ("trip",)
# A draining pod serves on; one that is dead does not, and only the edge can cover that.
KILL_TWIN_SETTINGS: Final = (
    "edge.retries.enabled=false",
    "edge.outlierDetection.maxEjectionPercent=0",
)


def scale_down_steps(p: Parameters) -> list[Step]:
    """From `--replicas` to `--to-replicas`, at once."""
    names = ", ".join(p.components or SHRINKING)
    return [
        Step(INJECT, f"kubectl scale {names} from {p.replicas} to {p.to_replicas}"),
        Step(INJECT, f"wait until a pod of each of {names} is going"),
        Step(HOLD, f"watch {p.fault_seconds:g} s, and wait until those that had to go are gone"),
    ]


def scale_down_settings(p: Parameters) -> tuple[str, ...]:
    """The replicas that it begins with, and nobody else who would set them."""
    names = p.components or SHRINKING
    return ("scaler.enabled=false", *(f"{name}.replicas={p.replicas}" for name in names))


SCALE_DOWN: Final = Scenario(
    name="scale-down",
    summary="scale trip from 4 to 2 under load",
    twin_summary=TWIN_SUMMARY,
    twin_settings=TWIN_SETTINGS,
    components=SHRINKING,
    steps=scale_down_steps,
    make_fault=lambda stage: ScaleDown(stage, stage.parameters.components or SHRINKING),
    settings=scale_down_settings,
    defaults={"replicas": 4, "to_replicas": 2, "fault_seconds": 20.0},
    checkers=(("streams", check_streams), ("attribution", check_attribution)),
    instead={"took-hold": check_scaled_down},
)


def drain_steps(p: Parameters) -> list[Step]:
    """One worker, emptied and taken back."""
    return [
        Step(INJECT, "kubectl drain a worker that does not hold the load; a store on it stays"),
        Step(INJECT, "wait until a pod on it is going"),
        Step(HOLD, f"wait until it is empty, watch {p.fault_seconds:g} s, uncordon it"),
        Step(HOLD, "wait until all that was evicted serves again"),
    ]


def drain_settings(_: Parameters) -> tuple[str, ...]:
    """As few pods as the chart has: what one worker held has to fit on the other (seen)."""
    return ("scaler.enabled=false",)


DRAIN_NODE: Final = Scenario(
    name="drain-node",
    summary="kubectl drain of one worker under load, and uncordon",
    twin_summary=TWIN_SUMMARY,
    twin_settings=TWIN_SETTINGS,
    components=(*COMPONENTS, "edge"),
    steps=drain_steps,
    make_fault=lambda stage: DrainNode(stage, stage.parameters.components or (*COMPONENTS, "edge")),
    settings=drain_settings,
    defaults={"fault_seconds": 10.0},
    checkers=(("streams", check_streams),),
    instead={"took-hold": check_drained},
)


def kill_steps(p: Parameters) -> list[Step]:
    """A kill every interval."""
    names = ", ".join(p.components or COMPONENTS)
    return [
        Step(INJECT, f"SIGKILL every process of a pod of {names}, inside its node"),
        Step(INJECT, "wait until the pod is seen to be down"),
        Step(
            HOLD,
            f"the same every {p.interval_seconds:g} s for {p.fault_seconds:g} s, never the last "
            "ready pod of a service",
        ),
        Step(HOLD, "wait until every pod serves again"),
    ]


KILL_POD: Final = Scenario(
    name="kill-pod",
    summary="SIGKILL a pod of dispatch, location or trip every 10 s for 3 minutes",
    twin_summary="the same without the edge's retries and outlier detection",
    twin_settings=KILL_TWIN_SETTINGS,
    components=COMPONENTS,
    steps=kill_steps,
    make_fault=lambda stage: KillPods(stage, stage.parameters.components or COMPONENTS),
    defaults={"fault_seconds": 180.0, "interval_seconds": 10.0, "offers": True},
    checkers=(
        ("kills", check_kills),
        ("streams", check_streams),
        ("attribution", check_attribution),
    ),
    instead={"took-hold": check_kills_took_hold},
)
