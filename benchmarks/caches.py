"""
Whether caches pay: what CreateTrip and GetTrip cost with them and without.

Starts a Postgres of its own with fsync on and a million riders, and counts CPU
seconds of Postgres and of this process, which mean the same on a busy machine.

    python benchmarks/caches.py [--output FILE]
"""

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import asyncpg
from prometheus_client import CollectorRegistry

from hailstorm.runtime.cache import Cache, CacheMetrics, CachePolicy, Versioned
from hailstorm.runtime.clock import SystemClock
from hailstorm.trip.eligibility import Eligibility
from hailstorm.trip.repository import profiles, reads, writes
from hailstorm.trip.repository.database import Database
from hailstorm.trip.repository.migrate import migrate
from hailstorm.trip.settings import CacheSettings
from hailstorm.trip.trips import Place
from hailstorm_benchmarks.cpu import tree_cpu_seconds
from hailstorm_benchmarks.documents import figures_of
from hailstorm_benchmarks.postgres import settings_of
from hailstorm_benchmarks.report import conclude
from hailstorm_platform.store_processes import PostgresServer
from outbox import SHIPPED

CALLERS: Final = 8
HERE: Final = Place(40.7, -74.0)
FILL: Final = """
INSERT INTO cities SELECT 'city-' || n, 'City ' || n FROM generate_series(1, 50) n;
INSERT INTO riders (city_id, rider_id, display_name, status)
SELECT 'city-1', 'rider-' || n, 'Rider ' || n, CASE n % 1000 WHEN 0 THEN 'blocked' ELSE 'active' END
FROM generate_series(1, {riders}) n;
INSERT INTO trips SELECT 'city-1', 'trip-' || n, 'rider-' || n, 40.7, -74, 40.6, -73.8, 1.0,
    NULL, now(), 6, 'COMPLETE', 'COMPLETED', 'driver-' || n, NULL, NULL, NULL, now()
FROM generate_series(1, 100000) n;
"""
# The check inside the statement that creates: no round trip, and never late.
FOLDED: Final = writes._CREATE.replace(
    "    VALUES ($1, $2, $3, $4, $5, clock_timestamp())",
    """    SELECT $1::text, $2::text, $3::text, $4::bytea, $5::text, clock_timestamp()
    WHERE NOT EXISTS (SELECT FROM cities c WHERE c.city_id = $1 AND NOT c.is_open)
        AND NOT EXISTS (SELECT FROM riders r
            WHERE r.city_id = $1 AND r.rider_id = $6 AND r.status = 'blocked')""",
)
assert FOLDED != writes._CREATE


async def measure_calls(
    server: PostgresServer, calls: int, body: Callable[[int], Awaitable[Any]]
) -> dict[str, float]:
    """`body(number)` so many times by CALLERS callers at once."""
    numbers = iter(range(calls))

    async def caller() -> None:
        for number in numbers:
            await body(number)

    store, here, began = tree_cpu_seconds(server.pid), time.process_time(), time.monotonic()
    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    took = time.monotonic() - began
    return {
        "calls": calls,
        "store_cpu_us": round((tree_cpu_seconds(server.pid) - store) / calls * 1e6),
        "process_cpu_us": round((time.process_time() - here) / calls * 1e6),
        "milliseconds": round(took * CALLERS / calls * 1e3, 2),
    }


async def hit_shares(calls: int) -> dict[str, float]:
    """
    How many of a pod's rider look-ups find an entry, by how soon riders come again.

    50 requests a second reach the pod; `again` is the share of them that are a
    rider's next try within some seconds, of a million riders.
    """
    shares = {}
    for again in (0.0, 0.1, 0.3, 0.5):

        class Turning:
            """Time that the requests themselves move."""

            time = 0.0

            def now(self) -> float:
                return self.time

            def monotonic(self) -> float:
                return self.time

            async def sleep(self, seconds: float) -> None: ...

        clock, chance = Turning(), random.Random(7)
        registry = CollectorRegistry()

        async def load(_key: str) -> Versioned[int]:
            return Versioned(0, 1)

        settings = CacheSettings.__dataclass_fields__
        cache: Cache[str, int] = Cache(
            "rider", load, CachePolicy(settings["rider_entries"].default,
            settings["rider_seconds"].default), clock, CacheMetrics(registry), chance,
        )  # fmt: skip
        recent: list[str] = []
        for _ in range(calls):
            clock.time += chance.expovariate(50.0)
            # Somebody of the last 10 s tries again, or anybody asks.
            if recent and chance.random() < again:
                rider = chance.choice(recent[-500:])
            else:
                rider = str(chance.randrange(1_000_000))
            recent.append(rider)
            await cache.get(rider)
        hits = registry.get_sample_value(
            "hailstorm_cache_reads_total", {"cache": "rider", "outcome": "hit"}
        )
        shares[f"again={again}"] = round((hits or 0.0) / calls, 3)
    return shares


def bytes_of_an_entry() -> int:
    """Resident bytes that a remembered rider takes."""
    import tracemalloc

    async def fill() -> int:
        async def load(key: tuple[str, str]) -> Versioned[profiles.Rider]:
            return Versioned(profiles.Rider(f"Rider {key[1]}", False, 1), 1)

        cache: Cache[tuple[str, str], profiles.Rider] = Cache(
            "rider", load, CachePolicy(20_000, 30.0), SystemClock(),
            CacheMetrics(CollectorRegistry()),
        )  # fmt: skip
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for number in range(20_000):
            await cache.get((f"city-{number % 9}", f"rider-{number:032}"))
        return (tracemalloc.get_traced_memory()[0] - before) // 20_000

    return asyncio.run(fill())


async def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    server = PostgresServer(**SHIPPED)
    clock = SystemClock()
    try:
        server.start()
        maintenance = await asyncpg.connect(server.maintenance.dsn)
        await maintenance.execute("CREATE DATABASE cached")
        await maintenance.close()
        address = server.database("cached")
        await migrate(settings_of(address), clock)
        sql = await asyncpg.connect(address.dsn)
        await sql.execute(FILL.format(riders=arguments.riders))
        await sql.execute("VACUUM ANALYZE")
        database = Database(settings_of(address), clock, CollectorRegistry())
        chance = random.Random(1)
        names = (f"trip-new-{number}" for number in range(10**9))

        def rider_of(_number: int) -> str:
            # Nobody who is blocked: what is measured is the way of most.
            return f"rider-{chance.randrange(arguments.riders // 1000) * 1000 + 1}"

        async def create(rider_id: str, statement: str | None = None) -> None:
            trip_id = next(names)
            request = writes.Request("city-1", trip_id, rider_id, HERE, HERE, 1.0, None)
            key = writes.Key(f"CreateTrip/{rider_id}", trip_id, b"hash")
            if statement is None:
                assert await writes.create(database, request, key) is not None
                return
            rows = await database.fetch(
                statement, "city-1", key.scope, key.key, key.request_hash, trip_id, rider_id,
                40.7, -74.0, 40.7, -74.0, 1.0, None, "REQUEST", "REQUESTED",
            )  # fmt: skip
            assert rows

        async def asking(number: int) -> None:
            rider_id = rider_of(number)
            await profiles.city(database, "city-1")
            await profiles.rider(database, "city-1", rider_id)
            await create(rider_id)

        cached = Eligibility(database, CacheSettings(), clock, CacheMetrics(CollectorRegistry()))

        async def always_new(number: int) -> None:
            rider_id = f"rider-{(number * 7919) % arguments.riders + 1}"
            if rider_id.endswith("000"):
                rider_id = "rider-1"
            await cached.check("city-1", rider_id)
            await create(rider_id)

        async def always_known(_number: int) -> None:
            await cached.check("city-1", "rider-1")
            await create("rider-1")

        ways: dict[str, Callable[[int], Awaitable[Any]]] = {
            "create_unchecked": lambda number: create(rider_of(number)),
            "create_both_read_each_time": asking,
            "create_city_cached_rider_new": always_new,
            "create_both_cached": always_known,
            "create_checked_in_its_statement": lambda number: create(rider_of(number), FOLDED),
            "get_trip": lambda number: reads.snapshot(
                database, reads.Asked("city-1", f"trip-{number % 100_000 + 1}", None)
            ),
        }
        result: dict[str, Any] = {"riders": arguments.riders, "rounds": []}
        for _ in range(arguments.rounds):
            figures = {}
            for way, body in ways.items():
                figures[way] = await measure_calls(server, arguments.calls, body)
                print(way, figures[way], flush=True)
            result["rounds"].append(figures)
        plans = {
            "rider": (profiles._RIDER, ("city-1", "rider-77")),
            "city": (profiles._CITY, ("city-1",)),
        }
        for name, (statement, values) in plans.items():
            # The values in place: EXPLAIN of a prepared statement says the same in more words.
            for place, value in enumerate(values, 1):
                statement = statement.replace(f"${place}", f"'{value}'")
            rows = await sql.fetch(f"EXPLAIN (ANALYZE, BUFFERS) {statement}")
            result[f"explain_{name}"] = [row[0] for row in rows]
            print("\n".join(result[f"explain_{name}"]), flush=True)
        result["rider_hit_shares"] = await hit_shares(60_000)
        print(result["rider_hit_shares"], flush=True)
        await database.close()
        await sql.close()
        return result
    finally:
        server.remove()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--riders", type=int, default=1_000_000)
    parser.add_argument("--calls", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, help="write the figures there as JSON")
    arguments = parser.parse_args()
    # Ended from outside, it takes its Postgres along.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    entry = bytes_of_an_entry()
    print("bytes of an entry:", entry, flush=True)
    result = asyncio.run(measure(arguments))
    result["bytes_of_an_entry"] = entry
    result["command"] = "python benchmarks/caches.py"
    result["machine"] = {"cores": os.cpu_count(), "load_1min": os.getloadavg()[0]}
    if arguments.output:
        arguments.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return conclude(figures_of("caches", result, 0))


if __name__ == "__main__":
    sys.exit(main())
