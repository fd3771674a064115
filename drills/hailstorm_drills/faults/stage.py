"""What a fault gets to work with; one value, so that a new need is no new argument."""

from collections.abc import Callable
from dataclasses import dataclass, field

from hailstorm_drills.cluster import Cluster
from hailstorm_drills.control import Control
from hailstorm_drills.faults.base import wait_for
from hailstorm_drills.faults.helm_rollout import Release
from hailstorm_drills.marks import Marks
from hailstorm_drills.plan import Parameters
from hailstorm_drills.watching import Watch


@dataclass
class Stage:
    """One run of one drill, as its fault sees it."""

    parameters: Parameters
    cluster: Cluster
    pods: Watch
    deployments: Watch
    release: Release
    # `key=value` for every `helm upgrade` of this run: the drill's own, and the twin's.
    settings: tuple[str, ...] = ()
    marks: Marks = field(default_factory=Marks)
    say: Callable[[str], None] = print
    # wait(probe, seconds, what): as `wait_for`, telling meanwhile how load goes.
    wait: Callable[[Callable[[], str | None], float, str], None] = wait_for
    # Let load run for so many seconds, telling how it goes.
    watch_load: Callable[[float], None] = lambda _: None
    control: Control | None = None
