"""
Rollouts that are not a new version: a restart of the services, and of the edge.

Each has the twin that most deployments are: the services' without drain and
without the edge's retries, the edge's with Envoys that end at once.
"""

from typing import Final

from hailstorm_drills.checkers.attempts import check_attribution
from hailstorm_drills.checkers.records import check_records
from hailstorm_drills.checkers.streams import check_streams
from hailstorm_drills.faults.base import Fault
from hailstorm_drills.faults.rollout_restart import RolloutRestart
from hailstorm_drills.faults.stage import Stage
from hailstorm_drills.phases import HOLD, INJECT
from hailstorm_drills.plan import Parameters, Step
from hailstorm_drills.registry import Scenario
from hailstorm_drills.scenarios.rolling_deploy import COMPONENTS, TWIN_SETTINGS, TWIN_SUMMARY

EDGE: Final = ("edge",)
# The least that the chart takes: callers are not told, and nothing is waited for.
EDGE_TWIN_SETTINGS: Final = ("edge.drain.propagationSeconds=0", "edge.drain.maxSeconds=1")


def _restarting(components: tuple[str, ...], p: Parameters) -> list[Step]:
    names = ", ".join(p.components or components)
    return [
        Step(INJECT, f"kubectl rollout restart of {names}, all at once"),
        Step(INJECT, f"wait for a new pod of each of {names}"),
        Step(HOLD, "wait until all have rolled and the last old pod is gone"),
    ]


def _restart(components: tuple[str, ...], stage: Stage) -> Fault:
    p = stage.parameters
    return RolloutRestart(
        stage.cluster,
        p.namespace,
        p.components or components,
        stage.pods.objects,
        stage.deployments.objects,
    )


RESTART: Final = Scenario(
    name="restart",
    summary="kubectl rollout restart of dispatch, location and trip under load",
    twin_summary=TWIN_SUMMARY,
    twin_settings=TWIN_SETTINGS,
    components=COMPONENTS,
    steps=lambda p: _restarting(COMPONENTS, p),
    make_fault=lambda stage: _restart(COMPONENTS, stage),
    checkers=(
        ("streams", check_streams),
        ("records", check_records),
        ("attribution", check_attribution),
    ),
)
EDGE_ROLL: Final = Scenario(
    name="edge-roll",
    summary="kubectl rollout restart of the edge's Envoys under load",
    twin_summary="the same with Envoys that end without draining",
    twin_settings=EDGE_TWIN_SETTINGS,
    components=EDGE,
    steps=lambda p: _restarting(EDGE, p),
    make_fault=lambda stage: _restart(EDGE, stage),
    checkers=(("streams", check_streams),),
)
