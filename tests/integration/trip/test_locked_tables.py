"""A migration meets somebody who reads the table that it changes, and stops nobody."""

import asyncio
import logging
from collections.abc import AsyncIterator

import asyncpg
import pytest

from eventually import eventually
from hailstorm.runtime.clock import SystemClock
from hailstorm.trip.repository import migrate
from hailstorm.trip.repository.migrate import Migration, MigrationError, apply, load_migrations
from hailstorm.trip.settings import PostgresSettings
from integration.stores import Database

# What the service gives a statement before it takes Postgres for away.
CALLER_SECONDS: float = PostgresSettings.__dataclass_fields__["command_seconds"].default
COLUMNS = "SELECT column_name FROM information_schema.columns WHERE table_name = 'trips'"


@pytest.fixture
async def reader(schema: Database) -> AsyncIterator[asyncpg.Connection]:
    """Somebody who has begun to read the trips and does not end, as pg_dump does."""
    connection = await asyncpg.connect(schema.dsn)
    await connection.execute("BEGIN; SELECT count(*) FROM trips")
    yield connection
    await connection.close()


@pytest.fixture
async def job(schema: Database) -> AsyncIterator[asyncpg.Connection]:
    """The connection that a migration runs on."""
    connection = await asyncpg.connect(schema.dsn)
    yield connection
    await connection.close()


def with_a_new_column() -> list[Migration]:
    known = load_migrations()
    # Ours to lock by the first statement, and to let go again when the second must wait.
    sql = "CREATE TABLE fares (city_id text); ALTER TABLE trips ADD COLUMN fare bigint"
    return [*known, Migration(len(known) + 1, "fare", sql)]


async def test_calls_go_on_while_a_migration_waits_for_a_reader(
    reader: asyncpg.Connection,
    job: asyncpg.Connection,
    sql: asyncpg.Connection,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "hailstorm.trip")
    migrating = asyncio.create_task(apply(job, with_a_new_column(), SystemClock()))
    held_up: list[TimeoutError] = []

    async def has_waited_twice() -> bool:
        # A caller of the service, who comes while the migration stands in front.
        try:
            await sql.fetch("SELECT trip_id FROM trips LIMIT 1", timeout=CALLER_SECONDS)
        except TimeoutError as error:
            held_up.append(error)
        return caplog.text.count("waits for a table that is in use") >= 2

    await eventually(has_waited_twice, 20)
    assert held_up == []
    assert "fare" not in {row["column_name"] for row in await sql.fetch(COLUMNS)}
    await reader.execute("COMMIT")
    (applied,) = await migrating
    assert applied.name == "fare"
    assert "fare" in {row["column_name"] for row in await sql.fetch(COLUMNS)}


async def test_table_that_stays_in_use_ends_the_migration_with_a_reason(
    reader: asyncpg.Connection,
    job: asyncpg.Connection,
    sql: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(migrate, "LOCK_BUDGET_SECONDS", 0.5)
    with pytest.raises(MigrationError, match="was in use for"):
        await apply(job, with_a_new_column(), SystemClock())
    # Neither half of the file nor its lock is left.
    assert await sql.fetchval("SELECT to_regclass('fares')") is None
    await reader.execute("COMMIT")
    assert len(await apply(sql, with_a_new_column(), SystemClock())) == 1
