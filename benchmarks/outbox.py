"""
What the outbox costs: batches of several sizes, ways to write history, the calls beside it.

Starts a Postgres of its own, with the chart's settings and fsync on. CPU seconds
are counted by process, so that they mean the same on a machine that does other
things besides; seconds by the clock do not, and are printed to show by how much.

    python benchmarks/outbox.py [--output FILE]
"""

import argparse
import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import asyncpg
from prometheus_client import CollectorRegistry

from hailstorm.runtime.clock import SystemClock
from hailstorm.runtime.flags import FixedFlags
from hailstorm.trip.relay import History, Relay, Sink
from hailstorm.trip.repository import records
from hailstorm.trip.repository.migrate import migrate
from hailstorm.trip.repository.outbox import Event
from hailstorm.trip.repository.session import Session, Transaction
from hailstorm.trip.settings import TripsSettings
from hailstorm.trip.states import FINAL
from hailstorm_benchmarks.cpu import cpu_seconds, tree_cpu_seconds
from hailstorm_benchmarks.documents import figures_of
from hailstorm_benchmarks.postgres import settings_of
from hailstorm_benchmarks.report import conclude
from hailstorm_platform.store_processes import Database, PostgresServer, postgres_program

BATCHES: Final = (10, 50, 100, 200, 500, 1000)
SHIPPED: Final = {"fsync": "on", "shared_buffers": "128MB", "max_wal_size": "512MB", "jit": "off",
                  "max_parallel_workers_per_gather": "0"}  # fmt: skip

# Trips of an hour, six versions each, all unpublished.
FILL: Final = """
INSERT INTO trips SELECT 'nyc', 'trip-' || n, 'rider-' || n % 5000, 40.7, -74, 40.6, -73.8, 1.0,
    NULL, now() - (n || ' ms')::interval, 6, 'COMPLETE', 'COMPLETED', 'driver-' || n % 1000,
    NULL, NULL, NULL, now() FROM generate_series(1, {trips}) n;
INSERT INTO trip_events SELECT 'nyc', 'trip-' || n, v,
    (ARRAY['REQUEST','OFFER','ACCEPT','APPROACH','START','COMPLETE'])[v],
    (ARRAY['REQUESTED','OFFERED','MATCHED','ARRIVING','IN_PROGRESS','COMPLETED'])[v],
    CASE WHEN v > 1 THEN 'driver-' || n % 1000 END, NULL, NULL, NULL,
    now() - (n || ' ms')::interval + (v || ' us')::interval, NULL
FROM generate_series(1, {trips}) n, generate_series(1, 6) v ORDER BY v, n;
"""
# A trip's life as the service stores it: a request, an offer that is accepted at
# once, three moves. The same statements, with their values in place.
LIFE: Final = r"""
\set n random(1, 1000000000000)
\set d random(1, 1000000000000)
WITH claim AS (INSERT INTO idempotency VALUES ('nyc', 'CreateTrip/r', 'k' || :n, '\x00', 't' || :n, NULL, clock_timestamp()) ON CONFLICT DO NOTHING RETURNING created_at), trip AS (INSERT INTO trips (city_id, trip_id, rider_id, pickup_latitude, pickup_longitude, dropoff_latitude, dropoff_longitude, surge_multiplier, requested_at, version, move, state, updated_at) SELECT 'nyc', 't' || :n, 'r', 40.7, -74, 40.6, -73.8, 1, created_at, 1, 'REQUEST', 'REQUESTED', created_at FROM claim), history AS (INSERT INTO trip_events (city_id, trip_id, version, move, state, occurred_at) SELECT 'nyc', 't' || :n, 1, 'REQUEST', 'REQUESTED', created_at FROM claim) SELECT created_at FROM claim;
"""  # noqa: E501
MOVE: Final = r"""
WITH moved AS (UPDATE trips SET version = {to}, move = '{move}', state = '{state}', driver_id = 'd' || :d, updated_at = clock_timestamp() WHERE city_id = 'nyc' AND trip_id = 't' || :n AND version = {before} RETURNING city_id, trip_id), history AS (INSERT INTO trip_events (city_id, trip_id, version, move, state, driver_id, occurred_at) SELECT city_id, trip_id, v, '{move}', '{state}', 'd' || :d, clock_timestamp() FROM moved, generate_series({before} + 1, {to}) v), answered AS (INSERT INTO idempotency SELECT city_id, '{move}', 'k' || :n, '\x00', trip_id, '\x0000', clock_timestamp() FROM moved) SELECT 1 FROM moved;
"""  # noqa: E501
MOVES: Final = (("ACCEPT", "MATCHED", 1, 3), ("APPROACH", "ARRIVING", 3, 4),
                ("START", "IN_PROGRESS", 4, 5), ("COMPLETE", "COMPLETED", 5, 6))  # fmt: skip
TRANSITIONS_OF_LIFE: Final = 5

IN_THE_STORE: Final = """
INSERT INTO trip_history (city_id, trip_id, rider_id, surge_multiplier, pickup_latitude,
    pickup_longitude, dropoff_latitude, dropoff_longitude, requested_at, state, driver_id, version,
    offers, offered_at, matched_at, arriving_at, started_at, ended_at)
SELECT t.city_id, t.trip_id, t.rider_id, t.surge_multiplier, t.pickup_latitude, t.pickup_longitude,
    t.dropoff_latitude, t.dropoff_longitude, t.requested_at, t.state, t.driver_id, t.version,
    count(*) FILTER (WHERE e.state = 'OFFERED'),
    min(e.occurred_at) FILTER (WHERE e.state = 'OFFERED'),
    min(e.occurred_at) FILTER (WHERE e.state = 'MATCHED'),
    min(e.occurred_at) FILTER (WHERE e.state = 'ARRIVING'),
    min(e.occurred_at) FILTER (WHERE e.state = 'IN_PROGRESS'), max(e.occurred_at)
FROM unnest($1::text[], $2::text[]) AS ended (city_id, trip_id)
JOIN trips t ON t.city_id = ended.city_id AND t.trip_id = ended.trip_id
JOIN trip_events e ON e.city_id = t.city_id AND e.trip_id = t.trip_id
GROUP BY t.city_id, t.trip_id ON CONFLICT DO NOTHING
"""
_COLUMNS = records._COLUMNS
ROW_BY_ROW: Final = (
    f"INSERT INTO trip_history ({', '.join(_COLUMNS)})"
    f" VALUES ({', '.join(f'${n}' for n in range(1, len(_COLUMNS) + 1))}) ON CONFLICT DO NOTHING"
)


class InTheStore:
    """History by one INSERT ... SELECT: no row leaves Postgres."""

    async def write(self, transaction: Transaction, events: Sequence[Event]) -> None:
        ended = [event for event in events if event.state in FINAL]
        names = [e.city_id for e in ended], [e.trip_id for e in ended]
        await transaction.execute(IN_THE_STORE, *names)


class RowByRow:
    """History by an INSERT for each row, sent together (executemany)."""

    async def write(self, transaction: Transaction, events: Sequence[Event]) -> None:
        rows = await transaction.fetch(
            records._STEPS, [e.city_id for e in events], [e.trip_id for e in events]
        )
        by_trip: dict[str, list[Any]] = {}
        for row in rows:
            by_trip.setdefault(row["trip_id"], []).append(row)
        made = [records._record(versions) for versions in by_trip.values()]
        await transaction._connection.executemany(ROW_BY_ROW, made)


async def copy_of(server: PostgresServer, name: str) -> Database:
    """A fresh copy of the filled database."""
    connection = await asyncpg.connect(server.maintenance.dsn)
    await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    await connection.execute(f"CREATE DATABASE {name} TEMPLATE filled")
    await connection.execute("CHECKPOINT")
    await connection.close()
    return server.database(name)


async def drain(
    server: PostgresServer, batch: int, sinks: Sequence[Sink], flags: FixedFlags
) -> dict[str, Any]:
    """Publish everything in a fresh copy, without rests."""
    database = await copy_of(server, "drained")
    session = Session(settings_of(database))
    settings = TripsSettings(relay_batch=batch)
    relay = Relay(session, sinks, flags, SystemClock(), CollectorRegistry(), settings)
    async with session.transaction() as transaction:
        ((pid,),) = await transaction.fetch("SELECT pg_backend_pid()")
    events, batches = 0, []
    store, here, began = cpu_seconds(pid), time.process_time(), time.monotonic()
    while True:
        at = time.monotonic()
        before = relay._published._value.get()
        await relay.relay()
        taken = relay._published._value.get() - before
        if not taken:
            break
        events += taken
        batches.append(time.monotonic() - at)
    took = time.monotonic() - began
    figures = {
        "batch": batch,
        "events": int(events),
        "store_cpu_us_per_event": round((cpu_seconds(pid) - store) / events * 1e6, 1),
        "relay_cpu_us_per_event": round((time.process_time() - here) / events * 1e6, 1),
        "batch_ms_median": round(statistics.median(batches) * 1e3, 1),
        "batch_ms_most": round(max(batches) * 1e3, 1),
        "events_per_second": round(events / took),
    }
    await session.close()
    return figures


def pgbench(database: Database, seconds: int) -> dict[str, float]:
    """Lives of trips at full speed from 8 connections; rate and Postgres' own waits."""
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(LIFE)
        for move, state, before, to in MOVES:
            script.write(MOVE.format(move=move, state=state, before=before, to=to))
        script.flush()
        found = subprocess.run(
            [postgres_program("pgbench"), "-n", "-M", "prepared", "-c", "8", "-T", str(seconds),
             "-f", script.name, "-h", database.host, "-p", str(database.port), "-U", database.user,
             database.database],
            env={**os.environ, "PGPASSWORD": database.password}, check=True, capture_output=True,
            text=True,
        ).stdout  # fmt: skip
    lines = dict(line.split(" = ", 1) for line in found.splitlines() if " = " in line)
    return {"lives_per_second": float(lines["tps"].split()[0]),
            "life_ms": float(lines["latency average"].split()[0])}  # fmt: skip


async def beside_calls(server: PostgresServer, relays: int, batch: int, seconds: int) -> Any:
    """The calls' rate with so many relays beside them."""
    database = await copy_of(server, "beside")
    settings = TripsSettings(relay_batch=batch)
    connection = await asyncpg.connect(database.dsn)
    await connection.execute("UPDATE trip_events SET published_at = now()")
    await connection.execute("VACUUM ANALYZE")
    registry = CollectorRegistry()
    tasks = [
        asyncio.create_task(
            Relay(Session(settings_of(database)), [History(registry)] if n == 0 else [],
                  FixedFlags(), SystemClock(), registry if n == 0 else CollectorRegistry(),
                  settings).run()
        )
        for n in range(relays)
    ]  # fmt: skip
    figures: dict[str, Any] = {"relays": relays, "batch": batch}
    store = tree_cpu_seconds(server.pid)
    figures |= await asyncio.to_thread(pgbench, database, seconds)
    store = tree_cpu_seconds(server.pid) - store
    figures["transitions_per_second"] = round(figures["lives_per_second"] * TRANSITIONS_OF_LIFE)
    figures["store_cpu_us_per_life"] = round(store / seconds / figures["lives_per_second"] * 1e6)
    figures["left_unpublished"] = await connection.fetchval(
        "SELECT count(*) FROM trip_events WHERE published_at IS NULL"
    )
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await connection.close()
    return figures


async def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    server = PostgresServer(**SHIPPED)
    try:
        server.start()
        maintenance = await asyncpg.connect(server.maintenance.dsn)
        await maintenance.execute("CREATE DATABASE filled")
        await maintenance.close()
        filled = server.database("filled")
        await migrate(settings_of(filled), SystemClock())
        connection = await asyncpg.connect(filled.dsn)
        await connection.execute(FILL.format(trips=arguments.trips))
        await connection.execute("VACUUM ANALYZE")
        await connection.close()
        on = FixedFlags()
        result: dict[str, Any] = {"trips": arguments.trips, "batches": [], "history": {}}
        for batch in BATCHES:
            result["batches"].append(await drain(server, batch, [History(CollectorRegistry())], on))
            print(result["batches"][-1], flush=True)
        ways: dict[str, list[Sink]] = {
            "none": [],
            "copy": [History(CollectorRegistry())],
            "insert_select_in_the_store": [InTheStore()],
            "insert_each_row": [RowByRow()],
        }
        for way, sinks in ways.items():
            result["history"][way] = await drain(server, arguments.batch, sinks, on)
            print(way, result["history"][way], flush=True)
        beside: list[Any] = []
        for _ in range(arguments.rounds):
            for relays in (0, 1, 2):
                beside.append(
                    await beside_calls(server, relays, arguments.batch, arguments.seconds)
                )
                print(beside[-1], flush=True)
        result["beside_calls"] = beside
        return result
    finally:
        server.remove()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trips", type=int, default=20_000)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--seconds", type=int, default=8, help="of one run beside calls")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, help="write the figures there as JSON")
    arguments = parser.parse_args()
    # Ended from outside, it takes its Postgres along.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    result = asyncio.run(measure(arguments))
    result["command"] = "python benchmarks/outbox.py"
    result["machine"] = {"cores": os.cpu_count(), "load_1min": os.getloadavg()[0]}
    if arguments.output:
        arguments.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return conclude(figures_of("outbox", result, 0))


if __name__ == "__main__":
    sys.exit(main())
