"""
Races of hundreds on two real processes, judged by the drills' own checkers.

What guards the invariants is then taken away, and the same race must fail the
same checkers. The seed is printed; HAILSTORM_TEST_SEEDS="4 5" adds more.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import grpc
import pytest

from eventually import eventually
from hailstorm.runtime.clock import SystemClock
from hailstorm.trip.flags import HISTORY_WRITES
from hailstorm.trip.repository.migrate import migrate
from hailstorm.trip.v1 import trip_pb2
from hailstorm_drills.checkers.base import Verdict
from hailstorm_drills.database import facts_of
from integration.processes import ServiceProcess
from integration.stores import Database, PostgresServer
from integration.trip.mutations import (
    HELD_WRITES,
    HOLD_LOCK,
    MUTATIONS,
    NO_INDEX,
    NO_VERSION,
    Mutation,
)
from integration.trip.race import Race, Shape
from recorded_calls import Record, Recorder
from trip_calls import CITY, NOBODY, TripCalls, postgres_settings

# A race of these tests ends within 6 s; a hang must name its test.
pytestmark = pytest.mark.timeout(120)

SEEDS = [1, 2, 3, *map(int, os.environ.get("HAILSTORM_TEST_SEEDS", "").split())]
PASS = dict.fromkeys(("I1", "I2", "I3", "I4", "effects", "chain"), Verdict.PASS)
# Enough for every mutation to show many times over in each run. Half of the
# answers come when the offer is over, or a late expiry might not be noticed.
SMALL = Shape(riders=60, drivers=6, kill_after=2.0, answered_at=(0.2, 1.8))


@pytest.fixture(scope="module")
def race_database(postgres_server: PostgresServer) -> Database:
    """A database for all races; `sql` makes its schema anew for each."""
    database = postgres_server.database("races")

    async def create() -> None:
        connection = await asyncpg.connect(postgres_server.maintenance.dsn)
        await connection.execute("CREATE DATABASE races")
        await connection.close()

    asyncio.run(create())
    return database


@pytest.fixture(scope="module")
def processes(
    race_database: Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[ServiceProcess]]:
    """Two trip services that sweep often and wait long; use `services`."""
    folder: Path = tmp_path_factory.mktemp("services")
    # A relay writes events again when it publishes them, and then Postgres no longer
    # knows when they were committed, by which overlaps are judged.
    flags = folder / "flags"
    flags.mkdir()
    (flags / HISTORY_WRITES).write_text("false")
    settings = {
        **race_database.environment,
        "HAILSTORM_FLAGS_FOLDER": str(flags),
        "HAILSTORM_EDGE_ADDRESS": NOBODY,
        "HAILSTORM_TRIP_SWEEP_MILLISECONDS": "50",
        "HAILSTORM_POSTGRES_ACQUIRE_SECONDS": "10",
        "HAILSTORM_POSTGRES_CONNECT_SECONDS": "10",
        "HAILSTORM_POSTGRES_COMMAND_SECONDS": "10",
    }
    started = [ServiceProcess("trip", settings, folder) for _ in range(2)]
    for process in started:
        process.start()
    yield started
    for process in started:
        process.remove()


@pytest.fixture
def services(processes: list[ServiceProcess]) -> list[ServiceProcess]:
    """Both services, ready."""
    for process in processes:
        process.wait_ready()
    return processes


@pytest.fixture
async def sql(
    race_database: Database, services: list[ServiceProcess]
) -> AsyncIterator[asyncpg.Connection]:
    """A connection to the races' database, whose schema is new."""
    connection = await asyncpg.connect(race_database.dsn)
    async with standstill(services, connection):
        await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        await migrate(postgres_settings(race_database), SystemClock())
    yield connection
    await connection.close()


@contextlib.asynccontextmanager
async def standstill(
    services: list[ServiceProcess], sql: asyncpg.Connection
) -> AsyncIterator[None]:
    """
    The services stand still: the schema may change without a deadlock.

    They sweep all the time, and a sweep takes its locks in its own order.
    """
    active = (
        "SELECT count(*) FROM pg_stat_activity"
        # The relay's too, which holds its locks between two statements.
        " WHERE application_name LIKE 'hailstorm-trip%' AND state <> 'idle'"
    )

    async def stopped() -> bool:
        for service in services:
            service.signal(signal.SIGSTOP)
        try:
            await eventually(lambda: sql.fetchval(active), 0.5, until=lambda count: count == 0)
        except AssertionError:
            # Stopped in the middle of a statement, which ends only when it goes on.
            go_on()
            raise
        return True

    def go_on() -> None:
        for service in services:
            service.signal(signal.SIGCONT)

    await eventually(stopped, 20)
    try:
        yield
    finally:
        go_on()


async def race(
    seed: int, shape: Shape, services: list[ServiceProcess], sql: asyncpg.Connection
) -> tuple[Race, Record]:
    """Run a race, and say on standard output how it went."""
    run = Race(seed, shape, services)
    await run.run()
    record = await run.record(sql)
    print(f"seed {seed}: {len(record.history.calls)} calls, {dict(run.moves(record))}")
    for found in record.findings().values():
        print(f"  {found.checker}: {found.verdict} {found.why}")
    return run, record


@pytest.mark.parametrize("seed", SEEDS)
async def test_nothing_is_lost_or_doubled_whatever_happens(
    seed: int, services: list[ServiceProcess], sql: asyncpg.Connection
) -> None:
    run, record = await race(seed, Shape(), services, sql)
    assert run.defects == []
    assert record.verdicts() == PASS
    # Everything that was to happen did, or the race has proved less than it says.
    moves = run.moves(record)
    for move in ("ACCEPT", "DECLINE", "EXPIRE", "CANCEL", "ABANDON", "COMPLETE"):
        assert moves[move] > 0, move
    assert min(proxy.cuts for proxy in run.proxies) > 0
    assert run.recorder.count(grpc.StatusCode.UNAVAILABLE) > 0
    assert record.findings()["effects"].figures["keys_sent_more_than_once"] > 0


@pytest.mark.parametrize("name", MUTATIONS)
async def test_race_fails_the_checker_when_the_guard_is_gone(
    name: str, services: list[ServiceProcess], sql: asyncpg.Connection
) -> None:
    mutation = MUTATIONS[name]
    async with standstill(services, sql):
        await sql.execute(mutation.sql)
    _, record = await race(7, SMALL, services, sql)
    assert record.verdicts()[mutation.invariant] is Verdict.FAIL


class Held:
    """Two binding writes that are held between their look-ups and their effects."""

    def __init__(self, sql: asyncpg.Connection, services: list[ServiceProcess]) -> None:
        self._sql = sql
        self._services = services

    async def race(self, is_one_trip: bool) -> Record:
        """
        Both services bind at once: two trips one driver, or one trip two drivers.

        Returns what was told and kept.
        """
        recorder = Recorder()
        channels = [grpc.aio.insecure_channel(s.target) for s in self._services]
        calls = [TripCalls(channel) for channel in channels]
        try:
            first = await calls[0].create(rider_id="r-0-a")
            second = first if is_one_trip else await calls[0].create(rider_id="r-0-b")
            drivers = ("driver-1", "driver-2") if is_one_trip else ("driver-1", "driver-1")
            await self._sql.execute("SELECT pg_advisory_lock($1)", HOLD_LOCK)
            offers = asyncio.gather(
                *(
                    recorder.call("OfferTrip", call.stub.OfferTrip(request, timeout=30), request)
                    for call, request in (
                        (calls[0], self._offer(first, drivers[0], "first")),
                        (calls[1], self._offer(second, drivers[1], "second")),
                    )
                )
            )
            await eventually(self._waiting, 20, until=lambda count: count == 2)
            await self._sql.execute("SELECT pg_advisory_unlock($1)", HOLD_LOCK)
            await offers
        finally:
            for channel in channels:
                await channel.close()
        return Record(recorder.history, await facts_of(self._sql, "r-0-%", 0.0))

    async def _waiting(self) -> int:
        """Statements of the services that wait for a lock of any kind."""
        count: int = await self._sql.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            " AND datname = current_database() AND query LIKE '%UPDATE trips SET%'"
        )
        return count

    def _offer(self, trip: object, driver_id: str, key: str) -> object:
        return trip_pb2.OfferTripRequest(
            idempotency_key=f"held-{key}",
            city_id=CITY,
            trip_id=trip.trip_id,  # type: ignore[attr-defined]
            driver_ids=[driver_id],
            auto_accept=True,
        )


GUARDS = pytest.mark.parametrize(
    ("is_one_trip", "mutation", "invariant"),
    [
        pytest.param(False, NO_INDEX, "I1", id="unique-index"),
        pytest.param(True, NO_VERSION, "I2", id="version-condition"),
    ],
)


def matched(record: Record) -> int:
    """How many were told that the driver is theirs."""
    return sum(call.state == "MATCHED" for call in record.history.calls)


@GUARDS
async def test_two_writes_that_both_looked_are_told_apart_by_the_guard_alone(
    is_one_trip: bool,
    mutation: Mutation,
    invariant: str,
    services: list[ServiceProcess],
    sql: asyncpg.Connection,
) -> None:
    async with standstill(services, sql):
        await sql.execute(HELD_WRITES)
    record = await Held(sql, services).race(is_one_trip)
    assert record.verdicts()[invariant] is Verdict.PASS, record
    assert matched(record) == 1, record.history.calls


@GUARDS
async def test_two_writes_that_both_looked_both_win_without_the_guard(
    is_one_trip: bool,
    mutation: Mutation,
    invariant: str,
    services: list[ServiceProcess],
    sql: asyncpg.Connection,
) -> None:
    async with standstill(services, sql):
        await sql.execute(mutation.held_sql)
    record = await Held(sql, services).race(is_one_trip)
    assert record.verdicts()[invariant] is Verdict.FAIL, record
    assert matched(record) == 2, record.history.calls
