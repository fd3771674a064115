"""
Requests for trips on one core that everybody shares, in simulated time.

What it has of the cluster: a request works for a while in its own call, through other
services, and makes as much work again once it is answered, while the trip goes on: looks and
taps, here and there within its life. Whoever has work gets an equal share of the core, as
from the kernel. So nobody stands in a line, and everybody is late. What a pod lets in, its
own pace decides.
"""

import heapq
import random
from dataclasses import dataclass, field

from hailstorm.runtime.admission import Admission
from hailstorm.runtime.door import PERIOD_SECONDS
from hailstorm.runtime.errors import ResourceExhaustedError
from hailstorm.runtime.priority import Priority
from unit.runtime.aio_server_model import SimulatedClock

# Of the core, on average: in the request, and in what follows from it. Some 5 riders a
# second were what one core of two could take (docs/evidence/core.json).
REQUEST_SECONDS = 0.08
TRIP_SECONDS = 0.1
CAPACITY = 1 / (REQUEST_SECONDS + TRIP_SECONDS)
# Looks and taps of a trip, each some of its work; within 30 s, as in `make bench`'s request_trip.
PIECES = 12
# A refusal: the edge and the pod.
REFUSE_SECONDS = 0.001
GOOD_SECONDS = 0.25
# The model's grain.
SLICE_SECONDS = 0.002


@dataclass
class Work:
    """A share of the core until it is done; `pod` is None for what follows from a request."""

    left: float
    came_at: float = 0.0
    pod: Admission | None = None
    ticket: int = 0


@dataclass
class Outcome:
    """What became of the requests of a run."""

    offered: int = 0
    good: int = 0
    refused: int = 0
    waits: list[float] = field(default_factory=list)


def run(
    pods: list[Admission],
    clock: SimulatedClock,
    rate: float,
    seconds: float,
    seed: int,
    life_seconds: float = 0.0,
) -> Outcome:
    """
    Offer `rate` requests a second to the pods in turn; what came of those of the second half.

    A trip's work comes within `life_seconds` of its request's answer; 0: at once, as one.
    """
    draw = random.Random(seed)
    outcome, works = Outcome(), list[Work]()
    # When it comes, and how much.
    later: list[tuple[float, float]] = []
    due, look = draw.expovariate(rate), PERIOD_SECONDS
    owed = 0.0
    while clock.time < seconds:
        clock.time += SLICE_SECONDS
        counts = clock.time > seconds / 2
        while due <= clock.time:
            due += draw.expovariate(rate)
            outcome.offered += counts
            pod = pods[draw.randrange(len(pods))]
            try:
                pod.check(False, Priority.NORMAL)
                ticket = pod.enter(False, Priority.NORMAL)
            except ResourceExhaustedError:
                owed += REFUSE_SECONDS
                outcome.refused += counts
                continue
            left = draw.gammavariate(4, REQUEST_SECONDS / 4)
            works.append(Work(left, clock.time, pod, ticket))
        while later and later[0][0] <= clock.time:
            works.append(Work(heapq.heappop(later)[1]))
        share = max(0.0, SLICE_SECONDS - owed)
        owed = max(0.0, owed - SLICE_SECONDS)
        for work in works:
            work.left -= share / len(works)
        for work in [one for one in works if one.left <= 0]:
            works.remove(work)
            if work.pod is None:
                continue
            waited = clock.time - work.came_at
            work.pod.leave(False, work.ticket)
            outcome.good += counts and waited <= GOOD_SECONDS
            outcome.waits.append(waited)
            pieces = PIECES if life_seconds else 1
            for _ in range(pieces):
                at = clock.time + draw.uniform(0, life_seconds)
                heapq.heappush(later, (at, draw.gammavariate(4, TRIP_SECONDS / pieces / 4)))
        if clock.time >= look:
            look += PERIOD_SECONDS
            for pod in pods:
                # The process itself has time: nobody waits at its door.
                pod.observe(0.0)
    return outcome
