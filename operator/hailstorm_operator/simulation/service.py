"""
A service of equal pods behind Envoy: what callers wait, and what scalers see.

A pod serves so many calls a second, as its share of a core allows. Envoy draws two
pods and takes the one with fewer calls in flight; below capacity the queue of a
pod then has k calls or more with probability use^(2^k - 1) (Mitzenmacher 2001),
however many pods there are. Beyond capacity a backlog grows until callers give
up. Calls are counted, not followed, so a day takes seconds.
"""

import math
import random
from dataclasses import dataclass
from typing import Final

# Longer queues than that have no probability left below full use.
LONGEST: Final = 12


@dataclass(frozen=True)
class PodModel:
    """
    One pod, and what its callers put up with. Times in seconds.

    Attributes:
        calls_per_second: what a pod serves at its limit.
        service_seconds: how long a call takes that waits for nothing.
        startup_seconds: from being asked for to ready.
        slo_seconds: a call that takes longer breaks the objective.
        deadline_seconds: after that its caller has given up: a failed call.
    """

    calls_per_second: float = 50.0
    service_seconds: float = 0.025
    startup_seconds: float = 8.0
    slo_seconds: float = 0.2
    deadline_seconds: float = 5.0

    def in_flight(self, use: float) -> float:
        """Calls in flight on a pod at a share of its capacity, without a backlog."""
        elsewhere = self.service_seconds - 1 / self.calls_per_second
        queue = math.fsum(math.pow(use, 2.0**length - 1) for length in range(1, LONGEST + 1))
        return queue + use * self.calls_per_second * max(0.0, elsewhere)

    def share_late(self, use: float, waited: float) -> float:
        """Share of calls that break the objective, behind a backlog of `waited` seconds."""
        left = self.slo_seconds - self.service_seconds - waited
        if left <= 0:
            return 1.0
        return math.pow(use, 2.0 ** math.ceil(left * self.calls_per_second) - 1)

    def knee(self, use: float = 0.9) -> float:
        """Calls in flight that a pod holds where queues begin to grow: its target."""
        return self.in_flight(use)


@dataclass(frozen=True)
class Moment:
    """What happened in one step. Counts are calls, `in_flight` is what a look would find."""

    served: float
    late: float
    failed: float
    use: float
    in_flight: float


class Service:
    """The queue in front of the pods. `step` goes on by `seconds`."""

    def __init__(self, pod: PodModel, source: random.Random) -> None:
        self._pod = pod
        self._source = source
        self.backlog = 0.0

    def step(self, arrivals: float, pods: int, seconds: float) -> Moment:
        """Serve what `pods` ready ones can of the backlog and the arrivals."""
        pod = self._pod
        if pods == 0:
            failed, self.backlog = self.backlog + arrivals, 0.0
            return Moment(0.0, failed, failed, 0.0, 0.0)
        per_second = pods * pod.calls_per_second
        present = self.backlog + arrivals
        served = min(present, per_second * seconds)
        waited = self.backlog / per_second
        use = served / (per_second * seconds)
        late = arrivals * pod.share_late(use, waited)
        self.backlog = present - served
        # Whoever would wait longer than his deadline is gone by then.
        most = per_second * pod.deadline_seconds
        failed = max(0.0, self.backlog - most)
        self.backlog -= failed
        seen = poisson(self._source, pods * pod.in_flight(use)) + self.backlog
        return Moment(served, max(late, failed), failed, use, seen)


def poisson(source: random.Random, mean: float) -> int:
    """A Poisson count; by the normal above 30, where the two do not differ visibly."""
    if mean > 30:
        return max(0, round(source.gauss(mean, math.sqrt(mean))))
    count, product, limit = 0, source.random(), math.exp(-mean)
    while product > limit:
        product *= source.random()
        count += 1
    return count
