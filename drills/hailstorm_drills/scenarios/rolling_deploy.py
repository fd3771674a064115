"""
A rolling deploy of all three services under load: nobody may notice.

Its broken twin installs the same release without drain and without the edge's
retries, which is what most deployments are; there, users must notice.
"""

from typing import Final

from hailstorm_drills.cluster import Cluster
from hailstorm_drills.faults.base import Fault
from hailstorm_drills.faults.helm_rollout import HelmRollout, Release
from hailstorm_drills.phases import BASELINE, HOLD, INJECT, JUDGE, RECOVER, SETTLE
from hailstorm_drills.plan import Parameters, Plan, Step
from hailstorm_drills.registry import Scenario
from hailstorm_drills.watching import Watch

COMPONENTS: Final = ("dispatch", "location", "trip")
TWIN_SETTINGS: Final = ("lifecycle.drainEnabled=false", "edge.retries.enabled=false")


def make_plan(p: Parameters) -> Plan:
    """What the drill does, step by step."""
    broken = f" with {', '.join(TWIN_SETTINGS)}" if p.is_twin else ""
    steps = [
        Step(BASELINE, f"install release {p.release} from {', '.join(p.values)}{broken}"),
        Step(BASELINE, "assert health: all rolled, no pod terminating, the edge answers"),
        Step(BASELINE, f"start 1 master and {p.workers} workers in {p.load_namespace}"),
        Step(BASELINE, f"watch {p.baseline_seconds:g} s of load without a fault"),
        Step(INJECT, f"helm upgrade {p.release} to {', '.join(p.next_values)}{broken}"),
        Step(INJECT, f"wait for a new pod of each of {', '.join(COMPONENTS)}"),
        Step(HOLD, "wait until all have rolled and the last old pod is gone"),
        Step(RECOVER, f"watch {p.recover_seconds:g} s more"),
        Step(SETTLE, "end the load, take its history, assert health again"),
        Step(JUDGE, "check availability, latency, recovery, invariants, generator, fault"),
    ]
    if p.is_twin:
        steps.insert(-1, Step(SETTLE, "heal the twin: upgrade again without what broke it"))
    return Plan(p, tuple(steps))


def make_fault(p: Parameters, cluster: Cluster, pods: Watch, deployments: Watch) -> Fault:
    """The rollout to the next values."""
    return HelmRollout(
        Release(cluster, p.release, p.namespace, p.chart),
        p.next_values,
        TWIN_SETTINGS if p.is_twin else (),
        COMPONENTS,
        pods.objects,
        deployments.objects,
    )


SCENARIO: Final = Scenario(
    name="rolling-deploy",
    summary="roll dispatch, location and trip to their next version under load",
    twin_summary="the same without drain and without the edge's retries",
    twin_settings=TWIN_SETTINGS,
    components=COMPONENTS,
    make_plan=make_plan,
    make_fault=make_fault,
)
