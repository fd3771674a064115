"""The schema: repeatable, ready to be spread by city, in step with the code."""

import asyncio
import re
from pathlib import Path

import asyncpg
import pytest

from hailstorm.runtime.clock import SystemClock
from hailstorm.trip.repository import migrate as migrations
from hailstorm.trip.repository.migrate import Migration, MigrationError, apply, load_migrations
from hailstorm.trip.states import LIVE, State
from integration.stores import Database
from trip_calls import postgres_settings

UNIQUE_WITHOUT_CITY = """
SELECT c.relname AS index, t.relname AS table
FROM pg_index i
JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_class t ON t.oid = i.indrelid
JOIN pg_namespace n ON n.oid = t.relnamespace
WHERE n.nspname = 'public' AND i.indisunique AND NOT EXISTS (
    SELECT FROM pg_attribute a
    WHERE a.attrelid = t.oid AND a.attnum = ANY(i.indkey::int2[]) AND a.attname = 'city_id')
"""


async def test_every_unique_index_contains_the_city(sql: asyncpg.Connection) -> None:
    # The record of migrations is about the schema and no city's data.
    found = [row["table"] for row in await sql.fetch(UNIQUE_WITHOUT_CITY)]
    assert found == ["schema_migrations"]
    # The query can find one.
    await sql.execute("CREATE UNIQUE INDEX bad ON trips (trip_id)")
    assert sorted(row["index"] for row in await sql.fetch(UNIQUE_WITHOUT_CITY)) == [
        "bad",
        "schema_migrations_pkey",
    ]


async def test_index_of_drivers_guards_exactly_the_live_states(sql: asyncpg.Connection) -> None:
    definition = await sql.fetchval("SELECT pg_get_indexdef('trips_driver_live'::regclass)")
    words = set(re.findall(r"'([A-Z_]+)'::text", definition.partition("WHERE")[2]))
    assert words == {state.value for state in LIVE}


async def test_store_knows_exactly_the_states_of_the_table(sql: asyncpg.Connection) -> None:
    definition = await sql.fetchval(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'trips_state_known'"
    )
    assert set(re.findall(r"'([A-Z_]+)'::text", definition)) == {state.value for state in State}


@pytest.mark.parametrize(
    "change",
    [
        "state = 'MATCHED'",
        "state = 'OFFERED', driver_id = 'd'",
        "driver_id = 'd'",
        "offer_id = 'o', offer_expires_at = now()",
        "state = 'ELSEWHERE'",
    ],
)
async def test_store_refuses_a_row_that_makes_no_sense(
    sql: asyncpg.Connection, change: str
) -> None:
    await sql.execute(
        "INSERT INTO trips VALUES ('nyc', 't', 'r', 0, 0, 0, 0, 1, NULL, now(), 1, 'REQUEST',"
        " 'REQUESTED', NULL, NULL, NULL, NULL, now())"
    )
    with pytest.raises(asyncpg.CheckViolationError):
        await sql.execute(f"UPDATE trips SET {change}")


async def test_migrating_again_and_at_once_changes_nothing(database: Database) -> None:
    settings = postgres_settings(database)
    applied = await asyncio.gather(*(migrations.migrate(settings, SystemClock()) for _ in range(4)))
    assert sum(map(len, applied)) == len(load_migrations())
    assert await migrations.migrate(settings, SystemClock()) == []


async def test_changed_migration_is_refused(sql: asyncpg.Connection) -> None:
    first, *others = load_migrations()
    changed = Migration(first.number, first.name, first.sql + "\n-- changed")
    with pytest.raises(MigrationError, match="has changed"):
        await apply(sql, [changed, *others], SystemClock())


async def test_failed_migration_leaves_nothing_behind(sql: asyncpg.Connection) -> None:
    known = load_migrations()
    bad = Migration(len(known) + 1, "bad", "CREATE TABLE half (x int); SELECT no_such_function();")
    with pytest.raises(asyncpg.UndefinedFunctionError):
        await apply(sql, [*known, bad], SystemClock())
    assert await sql.fetchval("SELECT to_regclass('half')") is None
    # Mended, it applies: neither the record nor the lock is in the way.
    good = Migration(len(known) + 1, "good", "CREATE TABLE half (x int)")
    assert await apply(sql, [*known, good], SystemClock()) == [good]


async def test_older_release_accepts_a_newer_schema(sql: asyncpg.Connection) -> None:
    known = load_migrations()
    newer = Migration(len(known) + 1, "newer", "ALTER TABLE trips ADD COLUMN fare bigint")
    await apply(sql, [*known, newer], SystemClock())
    assert await apply(sql, known, SystemClock()) == []


def test_numbers_with_a_gap_are_refused(tmp_path: Path) -> None:
    (tmp_path / "0001_a.sql").write_text("SELECT 1")
    (tmp_path / "0003_b.sql").write_text("SELECT 1")
    with pytest.raises(MigrationError, match="without gaps"):
        load_migrations(tmp_path)
