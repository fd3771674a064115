"""Trip services in the test's process, over a migrated database of the test's own."""

from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import pytest

from hailstorm.runtime.clock import SystemClock
from hailstorm.trip.repository.migrate import migrate
from integration.stores import Database, PostgresServer
from service_in_process import InProcessService
from trip_calls import TripCalls, postgres_settings, trip_settings

NewTripService = Callable[..., Awaitable[InProcessService]]


@pytest.fixture
async def schema(database: Database) -> Database:
    """The test's database, migrated."""
    await migrate(postgres_settings(database), SystemClock())
    return database


@pytest.fixture
async def sql(schema: Database) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the test's own, to look and to break things."""
    connection = await asyncpg.connect(schema.dsn)
    yield connection
    await connection.close()


@pytest.fixture
async def new_trip_service(schema: Database) -> AsyncIterator[NewTripService]:
    """Starts trip services on the test's database; `settings` override groups' fields."""
    started: list[InProcessService] = []

    async def start(database: Database = schema, **fields: object) -> InProcessService:
        service = InProcessService("trip", trip_settings(database, **fields))
        started.append(service)
        await service.start()
        return service

    yield start
    for service in started:
        await service.stop()


@pytest.fixture
async def trip_service(new_trip_service: NewTripService) -> InProcessService:
    """One trip service whose sweeper hardly ever runs, so that tests see what reads do."""
    return await new_trip_service(sweep_milliseconds=60_000)


@pytest.fixture
async def calls(trip_service: InProcessService) -> AsyncIterator[TripCalls]:
    async with trip_service.channel() as channel:
        yield TripCalls(channel)


@pytest.fixture
async def own_schema(own_postgres: PostgresServer) -> Database:
    """A migrated database on a Postgres that the test may kill and freeze."""
    database = own_postgres.maintenance
    await migrate(postgres_settings(database), SystemClock())
    return database
