"""
Calls to the location service that come when they come, answered or not.

Arrivals are a Poisson process drawn from a seed, latency counts from the moment
a call was due, and how late the generator itself was is part of the result. It
is a process of its own, because a generator that shares a core with the server
measures itself. One line of JSON on stdout; `overload.py` starts it.
"""

import argparse
import asyncio
import collections
import json
import os
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import grpc
import uvloop

from hailstorm.location.v1 import location_pb2
from hailstorm.runtime.priority import PRIORITY_KEY, Priority

SERVICE: Final = "/hailstorm.location.v1.LocationService"
CITY: Final = "nyc"
DRIVERS: Final = 2000
BATCH: Final = 100
CENTRE: Final = (40.75, -73.98)
SPREAD_DEGREES: Final = 0.05
# The positions of one beat; a driver's phone reports every 4 s.
BEAT_SECONDS: Final = 4.0


@dataclass(frozen=True)
class Kind:
    """A kind of call: its share of all arrivals, its method, and its class on the wire."""

    name: str
    share: float
    method: str
    priority: Priority


# A guess of what a busy location pod sees; the classes are what priorities are
# shown by. Running trips have a class here because whoever asks for a running
# trip (trip, for a watcher) passes it on.
MIX: Final = (
    Kind("running", 0.10, "BatchGetPositions", Priority.CRITICAL),
    Kind("match", 0.25, "NearbyDrivers", Priority.NORMAL),
    Kind("report", 0.10, "ReportPositions", Priority.NORMAL),
    Kind("view", 0.55, "NearbyDrivers", Priority.SHEDDABLE),
)


class Requests:
    """Serialised requests, made from one stream of random numbers."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(f"{seed}/requests")
        places = random.Random(f"{seed}/places")
        self._sequence = time.time_ns() // 1_000_000
        self._batches = []
        for first in range(0, DRIVERS, BATCH):
            batch = location_pb2.ReportPositionsRequest(city_id=CITY)
            for number in range(first, first + BATCH):
                position = batch.positions.add(
                    driver_id=f"d-{number}", availability=location_pb2.AVAILABILITY_AVAILABLE
                )
                position.point.latitude = CENTRE[0] + places.uniform(-1, 1) * SPREAD_DEGREES
                position.point.longitude = CENTRE[1] + places.uniform(-1, 1) * SPREAD_DEGREES
            self._batches.append(batch)
        self._points = [
            location_pb2.NearbyDriversRequest(
                city_id=CITY,
                point={
                    "latitude": CENTRE[0] + places.uniform(-1, 1) * SPREAD_DEGREES,
                    "longitude": CENTRE[1] + places.uniform(-1, 1) * SPREAD_DEGREES,
                },
                max_drivers=10,
                max_radius_m=5000,
            ).SerializeToString()
            for _ in range(500)
        ]
        self._watched = [
            location_pb2.BatchGetPositionsRequest(
                city_id=CITY, driver_ids=[f"d-{places.randrange(DRIVERS)}" for _ in range(10)]
            ).SerializeToString()
            for _ in range(100)
        ]

    def report(self, number: int) -> bytes:
        """The next beat of a batch of drivers."""
        batch = self._batches[number % len(self._batches)]
        # Two batches within a millisecond would tell the same sequence twice.
        self._sequence = max(self._sequence + 1, time.time_ns() // 1_000_000)
        seconds, nanos = divmod(time.time_ns(), 1_000_000_000)
        for position in batch.positions:
            position.sequence = self._sequence
            position.observed_at.seconds = seconds
            position.observed_at.nanos = nanos
        serialised: bytes = batch.SerializeToString()
        return serialised

    def of(self, method: str) -> bytes:
        """A request of that method."""
        if method == "ReportPositions":
            return self.report(self._random.randrange(len(self._batches)))
        return self._random.choice(self._points if method == "NearbyDrivers" else self._watched)

    @property
    def batches(self) -> int:
        """How many batches hold all drivers."""
        return len(self._batches)


def arrivals(seed: int, rate: float, seconds: float) -> Iterator[tuple[float, Kind]]:
    """When calls are due, in seconds from the start, and of which kind."""
    draw = random.Random(f"{seed}/arrivals")
    weights = [kind.share for kind in MIX]
    due = draw.expovariate(rate)
    while due < seconds:
        yield due, draw.choices(MIX, weights)[0]
        due += draw.expovariate(rate)


class Tally:
    """What became of the calls of one kind."""

    def __init__(self) -> None:
        self.offered = 0
        self.good = 0
        self.codes: collections.Counter[str] = collections.Counter()
        self.answered_ms: list[float] = []
        self.pushbacks_ms: list[float] = []


def quantile(values: list[float], part: float) -> float | None:
    """The value below which `part` of them lie; None when there are none."""
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(part * len(ordered)))], 2) if ordered else None


def raw(message: bytes) -> bytes:
    """Serialised as it is."""
    return message


async def offer(arguments: argparse.Namespace) -> dict[str, Any]:
    """Offer the load; the result."""
    requests = Requests(arguments.seed)
    # One connection is one TCP stream; the edge has a few to each pod.
    channels = [
        grpc.aio.insecure_channel(
            arguments.target, options=(("grpc.use_local_subchannel_pool", 1),)
        )
        for _ in range(4)
    ]
    methods = {
        name: [c.unary_unary(f"{SERVICE}/{name}", raw, raw) for c in channels]
        for name in {kind.method for kind in MIX}
    }
    for number in range(requests.batches):
        await put_on_map(methods["ReportPositions"][0], requests, number)

    tallies = {kind.name: Tally() for kind in MIX}
    metadata = {kind: ((PRIORITY_KEY, kind.priority.word),) for kind in MIX}
    lags: list[float] = []
    running: set[asyncio.Task[None]] = set()

    async def call(due: float, kind: Kind, method: Any) -> None:
        tally = tallies[kind.name]
        left = due + arguments.deadline - time.monotonic()
        if left <= 0:
            tally.codes["LATE_START"] += 1
            return
        try:
            await method(requests.of(kind.method), timeout=left, metadata=metadata[kind])
        except grpc.aio.AioRpcError as error:
            tally.codes[error.code().name] += 1
            for key, value in error.trailing_metadata() or ():
                if key == "grpc-retry-pushback-ms":
                    tally.pushbacks_ms.append(float(value))
            return
        waited = time.monotonic() - due
        tally.codes["OK"] += 1
        tally.answered_ms.append(waited * 1000)
        tally.good += waited <= arguments.deadline

    start = time.monotonic() + 0.1
    for number, (offset, kind) in enumerate(
        arrivals(arguments.seed, arguments.rate, arguments.warm_up + arguments.seconds)
    ):
        due = start + offset
        if (early := due - time.monotonic()) > 0:
            await asyncio.sleep(early)
        else:
            # Also when it is late, others get their turn, or answers would wait for us.
            await asyncio.sleep(0)
        if offset < arguments.warm_up:
            scratch = asyncio.create_task(
                ignore(methods, requests, kind, metadata, number, arguments)
            )
            running.add(scratch)
            scratch.add_done_callback(running.discard)
            continue
        lags.append((time.monotonic() - due) * 1000)
        tallies[kind.name].offered += 1
        task = asyncio.create_task(call(due, kind, methods[kind.method][number % len(channels)]))
        running.add(task)
        task.add_done_callback(running.discard)
    if running:
        await asyncio.wait(running, timeout=5)
    for channel in channels:
        await channel.close()
    return {
        "rate": arguments.rate,
        "seconds": arguments.seconds,
        "generator_lag_p99_ms": quantile(lags, 0.99),
        "kinds": {
            name: {
                "offered": tally.offered,
                "good": tally.good,
                "codes": dict(sorted(tally.codes.items())),
                "p50_ms": quantile(tally.answered_ms, 0.5),
                "p99_ms": quantile(tally.answered_ms, 0.99),
                "pushback_p50_ms": quantile(tally.pushbacks_ms, 0.5),
            }
            for name, tally in tallies.items()
        },
        "p50_ms": quantile([x for t in tallies.values() for x in t.answered_ms], 0.5),
        "p99_ms": quantile([x for t in tallies.values() for x in t.answered_ms], 0.99),
    }


async def ignore(
    methods: dict[str, list[Any]],
    requests: Requests,
    kind: Kind,
    metadata: Any,
    number: int,
    arguments: argparse.Namespace,
) -> None:
    """A call of the warm-up: made, and not counted."""
    method = methods[kind.method][number % 4]
    try:
        await method(requests.of(kind.method), timeout=arguments.deadline, metadata=metadata[kind])
    except grpc.aio.AioRpcError:
        return


async def put_on_map(report: Any, requests: Requests, number: int) -> None:
    """Report one batch, again until it is taken: the last run's overload may not be over."""
    end = time.monotonic() + 10
    while True:
        try:
            await report(requests.report(number), timeout=1)
            return
        except grpc.aio.AioRpcError:
            if time.monotonic() > end:
                raise
            await asyncio.sleep(0.1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", required=True)
    parser.add_argument("--rate", type=float, required=True, help="calls a second, on average")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--warm-up", type=float, default=1, help="seconds of load not counted")
    parser.add_argument("--deadline", type=float, default=0.25, help="seconds from when it was due")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--core", type=int, help="run on this core alone")
    arguments = parser.parse_args()
    if arguments.core is not None:
        os.sched_setaffinity(0, {arguments.core})
    print(json.dumps(uvloop.run(offer(arguments))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
