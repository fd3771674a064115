"""
How many changes of trips are stored a second, beside pgbench.

Each change is what `Transitions` makes of it: a snapshot of trip and key is
read, the decision made, and one statement stores the new version, its event in
the outbox and the answer. pgbench runs the same two statements, prepared, on
as many connections of the same Postgres, which is configured as in the chart
and writes durably. It decides nothing, so it is the limit of any client.

Both take trips from MATCHED to COMPLETED in three changes, in turn, each on
tables made anew; that they did is counted afterwards. The way through gRPC
stands beside them.
"""

import asyncio
import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final

import asyncpg
import grpc
import uvloop
from prometheus_client import CollectorRegistry

from hailstorm.runtime.clock import SystemClock
from hailstorm.trip import trips
from hailstorm.trip.messages import encode_answer, key_of
from hailstorm.trip.repository.database import Database as Pool
from hailstorm.trip.states import Move, State
from hailstorm.trip.transitions import Transitions
from hailstorm.trip.v1 import trip_pb2, trip_pb2_grpc
from hailstorm_benchmarks.cpu import tree_cpu_seconds
from hailstorm_benchmarks.figures import Asked, Figure, Spread
from hailstorm_benchmarks.postgres import connection, migrated, settings_of
from hailstorm_benchmarks.report import arguments, finish, say
from hailstorm_benchmarks.statements import statements, with_values
from hailstorm_platform.service_process import ServiceProcess
from hailstorm_platform.store_processes import Database, PostgresServer, postgres_program

# Issue 4, "Figures to reach".
ASKED: Final = Asked(0.6)
CITY: Final = "bench"
# As in PostgresSettings.pool_max: one pod's.
CONNECTIONS: Final = 8
# Twice the connections, so that one is never idle while Python decides.
CALLERS: Final = 2 * CONNECTIONS
# Trips are named by numbers, which pgbench can count: client and place.
PER_CLIENT: Final = 1_000_000
MOVES: Final = (
    ("ApproachPickup", Move.APPROACH, State.ARRIVING),
    ("StartTrip", Move.START, State.IN_PROGRESS),
    ("CompleteTrip", Move.COMPLETE, State.COMPLETED),
)
FIRST_VERSION: Final = 3
DEADLINE_SECONDS: Final = 60.0
# Each that fails took Postgres' deadlock_timeout, a second.
TRIES: Final = 10

_EMPTY: Final = "TRUNCATE trips, trip_events, idempotency"
_TRIPS: Final = f"""
INSERT INTO trips (city_id, trip_id, rider_id, pickup_latitude, pickup_longitude,
    dropoff_latitude, dropoff_longitude, surge_multiplier, requested_at, version, move, state,
    driver_id, updated_at)
SELECT '{CITY}', id::text, 'rider-' || id, 40.75, -73.95, 40.64, -73.78, 1, now(),
    {FIRST_VERSION}, 'ACCEPT', 'MATCHED', id::text, now()
FROM generate_series(0, $1::int - 1) AS client,
    LATERAL (SELECT client * {PER_CLIENT} + place AS id FROM generate_series(1, $2::int) AS place)
        AS named
"""
_EVENTS: Final = """
INSERT INTO trip_events (city_id, trip_id, version, move, state, driver_id, occurred_at)
SELECT city_id, trip_id, version, move, state, driver_id, updated_at FROM trips
"""
_COUNT: Final = """
SELECT (SELECT count(*) FROM trips WHERE state = 'COMPLETED') AS completed,
    (SELECT count(*) FROM trip_events) AS events, (SELECT count(*) FROM idempotency) AS keys
"""


class WrongWorkError(Exception):
    """What was measured did not do what it was to do."""


def trip_ids(per_client: int) -> list[str]:
    """The trips of one turn, those of the clients in turn."""
    return [
        str(client * PER_CLIENT + place)
        for place in range(1, per_client + 1)
        for client in range(CONNECTIONS)
    ]


async def empty(sql: asyncpg.Connection) -> None:
    """
    Truncate. The service that is measured reads the same tables meanwhile, in an order of
    its own, and of two in a deadlock Postgres ends either: it is tried again.
    """
    for _ in range(TRIES - 1):
        with contextlib.suppress(asyncpg.DeadlockDetectedError):
            await sql.execute(_EMPTY)
            return
    await sql.execute(_EMPTY)


async def refill(database: Database, per_client: int) -> None:
    """Make the tables anew: every trip MATCHED, with one event."""
    async with connection(database.dsn) as sql:
        await empty(sql)
        await sql.execute(_TRIPS, CONNECTIONS, per_client)
        await sql.execute(_EVENTS)
        await sql.execute("ANALYZE trips, trip_events, idempotency")
        # Its own turn must not pay for the writes of the one before.
        await sql.execute("CHECKPOINT")


async def check(database: Database, per_client: int) -> None:
    """Raises WrongWorkError unless every trip went all the way, with event and answer."""
    wanted = CONNECTIONS * per_client
    async with connection(database.dsn) as sql:
        found = tuple(await sql.fetchrow(_COUNT))
    if found != (wanted, wanted * (1 + len(MOVES)), wanted * len(MOVES)):
        raise WrongWorkError(f"completed trips, events, keys are {found}; trips were {wanted}")


# The contestants: each takes all trips from MATCHED to COMPLETED, and returns the seconds.


def pgbench_script() -> str:
    """Three changes of the next trip: snapshot and advance, as the repository has them."""
    known = statements()
    lines = ["\\set n :n + 1", f"\\set trip :client_id * {PER_CLIENT} + :n"]
    for number, (method, move, state) in enumerate(MOVES):
        version = FIRST_VERSION + number
        scope = f"'{method}'"
        snapshot = {1: f"'{CITY}'", 2: ":trip", 3: scope, 4: ":trip"}
        advance = {
            1: f"'{CITY}'",
            2: ":trip",
            3: str(version),
            4: str(version + 1),
            5: f"'{move}'",
            6: f"'{state}'",
            7: ":trip",
            8: "NULL",
            9: "NULL",
            10: "NULL",
            11: "clock_timestamp()",
            12: f"ARRAY[{version + 1}]",
            13: f"ARRAY['{move}']",
            14: f"ARRAY['{state}']",
            15: "ARRAY[:trip::text]",
            16: "ARRAY[NULL]",
            17: "ARRAY[NULL]",
            18: "ARRAY[NULL]",
            19: "ARRAY[clock_timestamp()]",
            # As long as the real ones: a digest of SHA-256, and an answer.
            20: scope,
            21: ":trip",
            22: f"'\\x{'ab' * 32}'",
            23: f"'\\x{'cd' * 170}'",
        }
        for name, values in (("reads._SNAPSHOT", snapshot), ("writes._ADVANCE", advance)):
            one_line = " ".join(with_values(known[name], values).split())
            lines.append(f"{one_line};")
    return "\n".join(lines) + "\n"


def run_pgbench(database: Database, per_client: int) -> float:
    """pgbench's own seconds: without its connecting."""
    with tempfile.TemporaryDirectory(prefix="hailstorm-pgbench-") as folder:
        script = Path(folder) / "transitions.sql"
        script.write_text(pgbench_script())
        done = subprocess.run(
            [
                *(postgres_program("pgbench"), "--no-vacuum", "--protocol=prepared"),
                *("--client", str(CONNECTIONS), "--jobs", "2", "--define=n=0"),
                *("--transactions", str(per_client), "--file", str(script), database.dsn),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
    rate = re.search(r"^tps = ([0-9.]+)", done.stdout, re.MULTILINE)
    if done.returncode != 0 or rate is None:
        raise WrongWorkError(f"pgbench failed: {done.stderr[-500:]}")
    return CONNECTIONS * per_client / float(rate[1])


async def run_transitions(database: Database, per_client: int) -> float:
    """`Transitions` in this process."""
    clock, registry = SystemClock(), CollectorRegistry()
    pool = Pool(settings_of(database, pool_max=CONNECTIONS), clock, registry)
    transitions = Transitions(pool, clock, registry, encode_answer)

    async def drive(trip_id: str) -> None:
        for method, move, _ in MOVES:
            request = _request(method, trip_id)

            def decide(trip: trips.Trip, now: Any, move: Move = move) -> tuple[trips.Trip, ...]:
                return (trips.decide_drive(trip, move, trip_id, None, now),)

            key = key_of(method, trip_id, request)
            await transitions.change(CITY, trip_id, key, decide)

    try:
        return await _all(drive, trip_ids(per_client))
    finally:
        await pool.close()


async def run_grpc(process: ServiceProcess, per_client: int) -> float:
    """The same through the trip service's process, called from this one."""
    async with grpc.aio.insecure_channel(process.target) as channel:
        stub = trip_pb2_grpc.TripServiceStub(channel)

        async def drive(trip_id: str) -> None:
            for method, _, _ in MOVES:
                call = getattr(stub, method)
                await call(_request(method, trip_id), timeout=DEADLINE_SECONDS)

        return await _all(drive, trip_ids(per_client))


async def _all(drive: Callable[[str], Awaitable[None]], names: list[str]) -> float:
    waiting: Iterator[str] = iter(names)

    async def caller() -> None:
        for name in waiting:
            await drive(name)

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return time.perf_counter() - began


def _request(method: str, trip_id: str) -> Any:
    request = getattr(trip_pb2, f"{method}Request")()
    request.idempotency_key = f"{method}-{trip_id}"
    request.city_id, request.trip_id, request.driver_id = CITY, trip_id, trip_id
    return request


def used_cpu_seconds(server: PostgresServer) -> float:
    """CPU time so far of Postgres, of this process, and of the programs that it ran."""
    return tree_cpu_seconds(server.pid) + sum(os.times()[:4])


def run(runs: int, per_client: int) -> list[Figure]:
    """The figures of `runs` turns of the three."""
    rates: dict[str, list[float]] = {"pgbench": [], "Transitions": [], "gRPC": []}
    per_core: dict[str, list[float]] = {"pgbench": [], "Transitions": []}
    changes = CONNECTIONS * per_client * len(MOVES)
    with (
        migrated() as (server, database),
        tempfile.TemporaryDirectory(prefix="hailstorm-bench-") as folder,
    ):
        patient = {
            f"HAILSTORM_POSTGRES_{name}_SECONDS": "30" for name in ("ACQUIRE", "COMMAND", "CONNECT")
        }
        settings = {
            **database.environment,
            **patient,
            "HAILSTORM_POSTGRES_POOL_MAX": str(CONNECTIONS),
            # Nobody listens there; no trip is watched.
            "HAILSTORM_EDGE_ADDRESS": "127.0.0.1:1",
        }
        process = ServiceProcess("trip", settings, Path(folder))
        contestants: dict[str, Callable[[], float]] = {
            "pgbench": lambda: run_pgbench(database, per_client),
            "Transitions": lambda: uvloop.run(run_transitions(database, per_client)),
            "gRPC": lambda: asyncio.run(run_grpc(process, per_client)),
        }
        try:
            process.start_and_wait()
            for turn in range(runs):
                for name, contestant in contestants.items():
                    asyncio.run(refill(database, per_client))
                    cpu_before = used_cpu_seconds(server)
                    seconds = contestant()
                    cpu = used_cpu_seconds(server) - cpu_before
                    asyncio.run(check(database, per_client))
                    rates[name].append(changes / seconds)
                    if name in per_core:
                        per_core[name].append(changes / cpu)
                told = ", ".join(f"{name} {values[-1]:,.0f}/s" for name, values in rates.items())
                say(f"turn {turn + 1} of {runs}: {told}")
        finally:
            process.remove()
    pgbench = Spread(tuple(rates["pgbench"]))
    return [
        Figure(
            name="trip transitions",
            unit="changes/s",
            measured=Spread(tuple(rates["Transitions"])),
            asked=ASKED,
            asked_of_ratio=True,
            rival_name="pgbench",
            rival=pgbench,
        ),
        Figure(
            name="trip transitions per CPU second, Postgres' included",
            unit="changes/s",
            measured=Spread(tuple(per_core["Transitions"])),
            rival_name="pgbench",
            rival=Spread(tuple(per_core["pgbench"])),
        ),
        Figure(
            name="trip transitions through gRPC",
            unit="changes/s",
            measured=Spread(tuple(rates["gRPC"])),
            rival_name="pgbench",
            rival=pgbench,
            why="the caller shares the cores",
        ),
    ]


def main() -> int:
    options = arguments(__doc__).parse_args()
    runs = options.runs or (2 if options.quick else 5)
    return finish("transitions", run(runs, 100 if options.quick else 800), options.output)


if __name__ == "__main__":
    sys.exit(main())
