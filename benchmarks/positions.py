"""
How many positions one core takes, end to end: gRPC in, Redis written.

A real location process and a real Redis, called over the loopback in batches
of 100. The rate is per CPU second of the location process, so that it is one
core's whatever else the machine does; the rate by the clock stands beside it.
In turn with it, a process with an empty handler shows what gRPC and the proto
leave room for.
"""

import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc

from hailstorm.location.v1 import location_pb2
from hailstorm_benchmarks import fleet
from hailstorm_benchmarks.cpu import cpu_seconds
from hailstorm_benchmarks.figures import Asked, Figure, Spread
from hailstorm_benchmarks.report import arguments, finish, say
from hailstorm_platform.service_process import ServiceProcess
from hailstorm_platform.store_processes import RedisServer

# Issue 4, "Figures to reach".
ASKED: Final = Asked(60_000)
BATCH: Final = 100
DRIVERS: Final = 10_000
# Calls under way at once: enough that the process never waits for its caller.
IN_FLIGHT: Final = 8
METHOD: Final = "/hailstorm.location.v1.LocationService/ReportPositions"
# Longer than any batch takes on a machine that others use too.
DEADLINE_SECONDS: Final = 30.0


@dataclass(frozen=True)
class Rates:
    """Positions a second: by the process's CPU time, and by the clock."""

    per_core: float
    by_clock: float


class RefusedError(Exception):
    """Positions were refused, so that what was measured is not what was meant."""


async def send(target: str, batches: list[bytes]) -> int:
    """Send all batches, IN_FLIGHT at a time; how many positions were accepted."""
    accepted = 0
    waiting: Iterator[bytes] = iter(batches)

    async def caller(report: Any) -> None:
        nonlocal accepted
        # Callers share one iterator, so each batch is sent once.
        for batch in waiting:
            answer = await report(batch, timeout=DEADLINE_SECONDS)
            accepted += location_pb2.ReportPositionsResponse.FromString(answer).accepted_count

    async with grpc.aio.insecure_channel(target) as channel:
        # Bytes in and out: the caller's codec is not what is measured.
        report = channel.unary_unary(METHOD)
        await asyncio.gather(*(caller(report) for _ in range(IN_FLIGHT)))
    return accepted


def measure(process: ServiceProcess, batches: list[bytes], positions: int) -> Rates:
    """Send batches that hold so many positions. Raises RefusedError unless all are taken."""
    cpu_before, before = cpu_seconds(process.pid), time.perf_counter()
    accepted = asyncio.run(send(process.target, batches))
    cpu, clock = cpu_seconds(process.pid) - cpu_before, time.perf_counter() - before
    if accepted != positions:
        raise RefusedError(f"{positions - accepted} of {positions} positions were refused")
    return Rates(positions / cpu, positions / clock)


@contextlib.contextmanager
def processes(redis: RedisServer) -> Iterator[tuple[ServiceProcess, ServiceProcess]]:
    """A real location process and an empty one, ready."""
    patient = {
        # A busy machine delays Redis too; the benchmark is about work, not about waiting.
        "HAILSTORM_REDIS_TIMEOUT_SECONDS": "10",
        "HAILSTORM_REDIS_TOTAL_SECONDS": "10",
    }
    settings = {
        "HAILSTORM_REDIS_HOST": redis.host,
        "HAILSTORM_REDIS_PORT": str(redis.port),
        "HAILSTORM_REDIS_PASSWORD": redis.password,
        **patient,
    }
    with tempfile.TemporaryDirectory(prefix="hailstorm-bench-") as folder:
        real = ServiceProcess("location", settings, Path(folder))
        empty = ServiceProcess(
            "empty",
            {},
            Path(folder),
            module="hailstorm_benchmarks.empty_location",
            paths=[Path(__file__).parent],
        )
        try:
            for process in (real, empty):
                process.start_and_wait()
            yield real, empty
        finally:
            for process in (real, empty):
                process.remove()


def run(runs: int, rounds: int) -> list[Figure]:
    """The figures of `runs` turns, each with `rounds` pings of every driver."""
    drivers = fleet.uniform(DRIVERS, seed=1)
    redis = RedisServer()
    mine: list[Rates] = []
    limit: list[Rates] = []
    try:
        redis.start()
        with processes(redis) as (real, empty):
            # Not counted: records are made, scripts loaded, code paths warmed.
            warm = list(fleet.requests(drivers, BATCH, 1, seed=0))
            measure(real, warm, DRIVERS)
            measure(empty, warm, DRIVERS)
            for turn in range(runs):
                batches = list(fleet.requests(drivers, BATCH, rounds, seed=turn + 1))
                mine.append(measure(real, batches, DRIVERS * rounds))
                limit.append(measure(empty, batches, DRIVERS * rounds))
                say(
                    f"turn {turn + 1} of {runs}: {mine[-1].per_core:,.0f} positions/s a core;"
                    f" the empty handler {limit[-1].per_core:,.0f}"
                )
    finally:
        redis.remove()
    return [
        Figure(
            name="positions per core",
            unit="positions/s",
            measured=Spread(tuple(each.per_core for each in mine)),
            asked=ASKED,
            rival_name="empty handler",
            rival=Spread(tuple(each.per_core for each in limit)),
        ),
        Figure(
            name="positions by the clock",
            unit="positions/s",
            measured=Spread(tuple(each.by_clock for each in mine)),
            rival_name="empty handler",
            rival=Spread(tuple(each.by_clock for each in limit)),
            why="generator and Redis share the cores",
        ),
    ]


def main() -> int:
    options = arguments(__doc__).parse_args()
    runs = options.runs or (2 if options.quick else 5)
    return finish("positions", run(runs, 2 if options.quick else 20), options.output)


if __name__ == "__main__":
    sys.exit(main())
