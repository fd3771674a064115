"""
A rolling deploy of all three services under load: nobody may notice.

Its broken twin installs the same release without drain and without the edge's
retries, which is what most deployments are; there, users must notice.
"""

from collections.abc import Sequence
from typing import Final

from hailstorm_drills.checkers.attempts import check_attribution
from hailstorm_drills.checkers.records import check_records
from hailstorm_drills.checkers.streams import check_streams
from hailstorm_drills.faults.base import Fault
from hailstorm_drills.faults.helm_rollout import HelmRollout
from hailstorm_drills.faults.stage import Stage
from hailstorm_drills.phases import HOLD, INJECT
from hailstorm_drills.plan import Parameters, Step
from hailstorm_drills.registry import Scenario
from hailstorm_drills.scenarios.frame import broken

COMPONENTS: Final = ("dispatch", "location", "trip")
TWIN_SETTINGS: Final = ("lifecycle.drainEnabled=false", "edge.retries.enabled=false")
TWIN_SUMMARY: Final = "the same without drain and without the edge's retries"


def steps(p: Parameters) -> list[Step]:
    """What the drill does, step by step."""
    told = broken(p, TWIN_SETTINGS)
    components = ", ".join(p.components or COMPONENTS)
    return [
        Step(INJECT, f"helm upgrade {p.release} to {', '.join(p.next_values)}{told}"),
        Step(INJECT, f"wait for a new pod of each of {components}"),
        Step(HOLD, "wait until all have rolled and the last old pod is gone"),
    ]


def rollout(stage: Stage, values: Sequence[str]) -> HelmRollout:
    """One deploy of the release to `values`."""
    return HelmRollout(
        stage.release,
        values,
        stage.settings,
        stage.parameters.components or COMPONENTS,
        stage.pods.objects,
        stage.deployments.objects,
    )


def make_fault(stage: Stage) -> Fault:
    """The rollout to the next values."""
    return rollout(stage, stage.parameters.next_values)


SCENARIO: Final = Scenario(
    name="rolling-deploy",
    summary="roll dispatch, location and trip to their next version under load",
    twin_summary=TWIN_SUMMARY,
    twin_settings=TWIN_SETTINGS,
    components=COMPONENTS,
    steps=steps,
    make_fault=make_fault,
    needs_next_values=True,
    checkers=(
        ("streams", check_streams),
        ("records", check_records),
        ("attribution", check_attribution),
    ),
)
