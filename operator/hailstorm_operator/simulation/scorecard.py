"""
One policy through one demand, and what came of it.

Every policy meets the same arrivals: they are drawn from the seed alone. Flaps
are changes of direction: a policy that grows, shrinks and grows again has two.
"""

import random
from collections import deque
from dataclasses import asdict, dataclass
from typing import Any, Final

from hailstorm_operator.simulation.demand import Demand
from hailstorm_operator.simulation.policies import Policy, Seen
from hailstorm_operator.simulation.service import PodModel, Service, poisson

# The operator's poll; also what is fine enough for a pod's start of seconds.
STEP_SECONDS: Final = 0.5
# From the step to the spare in the EndpointSlice: 0.45 s, measured (DESIGN, 10).
SPARE_SECONDS: Final = 0.5


@dataclass(frozen=True)
class Point:
    """One second of a run, for the plot."""

    at: int
    demand: float
    replicas: int
    serving: int
    late_share: float


@dataclass(frozen=True)
class Scorecard:
    """
    What a policy made of a demand.

    Attributes:
        underprovisioned_seconds: time in which the ready pods could not serve what came.
        calls_over_slo: failed ones included.
        pod_seconds: of all pods there were, starting and spare ones included.
        flaps: changes of direction.
    """

    policy: str
    calls: int
    underprovisioned_seconds: float
    calls_over_slo: int
    calls_failed: int
    pod_seconds: int
    flaps: int
    scale_writes: int
    max_pods: int
    points: tuple[Point, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The figures without the points."""
        figures = asdict(self)
        del figures["points"]
        return figures


class Pods:
    """Pods of a Deployment: each ready some time after it was asked for."""

    def __init__(self, count: int, startup_seconds: float) -> None:
        self._startup = startup_seconds
        self._ready = count
        self._starting: deque[float] = deque()

    @property
    def replicas(self) -> int:
        """All that are asked for."""
        return self._ready + len(self._starting)

    def ready(self, now: float) -> int:
        """Those that serve by now."""
        while self._starting and self._starting[0] <= now:
            self._starting.popleft()
            self._ready += 1
        return self._ready

    def scale(self, count: int, now: float) -> None:
        """More start now; of less, those that are not ready go first, as a ReplicaSet does it."""
        while self.replicas < count:
            self._starting.append(now + self._startup)
        while self.replicas > count and self._starting:
            self._starting.pop()
        self._ready = min(self._ready, count)


def run(demand: Demand, policy: Policy, pod: PodModel, start_pods: int, seed: str) -> Scorecard:
    """Simulate one policy. The same arguments give the same scorecard."""
    arriving = random.Random(f"{seed}/arrivals")
    service = Service(pod, random.Random(f"{seed}/looks"))
    pods = Pods(start_pods, pod.startup_seconds)
    steps = round(1 / STEP_SECONDS)
    calls = late = failed = under = pod_seconds = 0.0
    flaps = writes = direction = most = 0
    spares_since: float | None = None
    points: list[Point] = []
    for second, rate in enumerate(demand.calls_per_second):
        second_calls = second_late = 0.0
        serving = 0
        for part in range(steps):
            now = second + part * STEP_SECONDS
            ready = pods.ready(now)
            lacking = max(pods.replicas, policy.wanted) - ready
            if not policy.spares or lacking <= 0:
                spares_since = None
            elif spares_since is None:
                spares_since = now
            lent = 0
            if spares_since is not None and now - spares_since >= SPARE_SECONDS:
                lent = min(policy.spares, lacking)
            serving = ready + lent
            arrivals = float(poisson(arriving, rate * STEP_SECONDS))
            moment = service.step(arrivals, serving, STEP_SECONDS)
            calls += arrivals
            second_calls += arrivals
            late += moment.late
            second_late += moment.late
            failed += moment.failed
            if serving * pod.calls_per_second < rate:
                under += STEP_SECONDS
            present = pods.replicas + policy.spares
            pod_seconds += present * STEP_SECONDS
            most = max(most, present)
            seen = Seen(now, moment.in_flight, moment.use, pods.replicas, ready, lent)
            desired = policy.decide(seen)
            if desired != pods.replicas:
                turn = 1 if desired > pods.replicas else -1
                flaps += direction not in (0, turn)
                direction = turn
                writes += 1
                pods.scale(desired, now)
        share = second_late / second_calls if second_calls else 0.0
        points.append(Point(second, rate, pods.replicas, serving, min(1.0, share)))
    return Scorecard(
        policy=policy.name,
        calls=round(calls),
        underprovisioned_seconds=round(under, 1),
        calls_over_slo=round(late),
        calls_failed=round(failed),
        pod_seconds=round(pod_seconds),
        flaps=flaps,
        scale_writes=writes,
        max_pods=most,
        points=tuple(points),
    )
