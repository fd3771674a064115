"""
Loads a history into Postgres by COPY, all of it or nothing.

One transaction: whoever looks on sees the database as it was until the end, and
a load that is cut off leaves nothing behind; that is why it starts anew rather
than going on. Indexes and keys are dropped first and built at the end, also
within the transaction, which is faster than keeping them up row by row. It locks
the tables meanwhile: it is for a database that nobody uses yet.
"""

import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from hailstorm_benchmarks import history
from hailstorm_benchmarks.cities import CITIES
from hailstorm_benchmarks.history import Plan

# Those of each trip; the riders come after.
TRIP_TABLES: Final = ("trips", "trip_events", "idempotency", "trip_history")
TABLES: Final = (*TRIP_TABLES, "riders")
# What is said of cities already is their owner's, and stays.
_CITY: Final = "INSERT INTO cities (city_id, name) VALUES ($1, $2) ON CONFLICT DO NOTHING"
# Trips in Python at once: some 100 MB, and a line of progress every few seconds.
CHUNK: Final = 50_000

_INDEXES: Final = """
SELECT c.relname AS name, pg_get_indexdef(i.indexrelid) AS definition,
    t.conname AS constraint_name, pg_get_constraintdef(t.oid) AS constraint_definition
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
LEFT JOIN pg_constraint t ON t.conindid = i.indexrelid AND t.contype IN ('p', 'u')
WHERE i.indrelid = $1::text::regclass ORDER BY c.relname
"""


class NotEmptyError(Exception):
    """There are trips already; only who says so may lose them."""


@dataclass(frozen=True)
class Loaded:
    """Rows by table, and the seconds of copying and of building indexes."""

    rows: dict[str, int]
    copy_seconds: float
    index_seconds: float


async def seed(
    connection: Any,
    plan: Plan,
    say: Callable[[str], None],
    *,
    anew: bool = False,
    indexes_last: bool = True,
) -> Loaded:
    """
    Load the plan. Raises NotEmptyError where there are trips, unless `anew` drops them.

    `connection` is asyncpg's, with the rights of the tables' owner; the schema is today's.
    """
    if not anew and await connection.fetchval("SELECT EXISTS (SELECT 1 FROM trips)"):
        raise NotEmptyError("the table trips is not empty; --anew deletes what is in it")
    async with connection.transaction():
        # Nobody waits for these locks, and a chunk may take long to make on a busy machine.
        await connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        await connection.execute(f"TRUNCATE {', '.join(TABLES)}")
        rebuild = await _drop_indexes(connection, TABLES) if indexes_last else []
        began = time.monotonic()
        await connection.executemany(_CITY, [(city.city_id, city.name) for city in CITIES])
        rows = await _copy_trips(connection, plan, say)
        rows["riders"] = await _copy(
            connection, "riders", history.RIDER_COLUMNS, history.riders(plan)
        )
        say(f"riders: {rows['riders']:,} rows")
        copied = time.monotonic()
        for number, (table, statement) in enumerate(rebuild, start=1):
            say(f"index {number} of {len(rebuild)}, of {table}")
            await connection.execute(statement)
    indexed = time.monotonic()
    # Without statistics the planner takes a full table for an empty one.
    await connection.execute(f"ANALYZE {', '.join(TABLES)}, cities")
    return Loaded(rows, copied - began, indexed - copied)


async def _drop_indexes(connection: Any, tables: Iterable[str]) -> list[tuple[str, str]]:
    """Drop all indexes and keys; returns table and statement to make each again."""
    rebuild = []
    for table in tables:
        for index in await connection.fetch(_INDEXES, table):
            if index["constraint_name"] is None:
                await connection.execute(f"DROP INDEX {index['name']}")
                rebuild.append((table, index["definition"]))
            else:
                name = index["constraint_name"]
                await connection.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
                definition = index["constraint_definition"]
                rebuild.append((table, f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}"))
    return rebuild


async def _copy_trips(connection: Any, plan: Plan, say: Callable[[str], None]) -> dict[str, int]:
    rows = dict.fromkeys(TRIP_TABLES, 0)
    began = time.monotonic()
    for chunk in _chunks(history.trips(plan)):
        for table, (columns, lines) in _parts(chunk).items():
            rows[table] += await _copy(connection, table, columns, lines)
        seconds = time.monotonic() - began
        rate = rows["trips"] / seconds
        left = (plan.trips - rows["trips"]) / rate
        say(
            f"trips: {rows['trips']:,} of {plan.trips:,}, {rate:,.0f} trips/s"
            f" ({sum(rows.values()) / seconds:,.0f} rows/s), {left:,.0f} s left"
        )
    return rows


def _parts(chunk: list[history.Lines]) -> dict[str, tuple[tuple[str, ...], list[str]]]:
    """Columns and lines of each table."""
    return {
        "trips": (history.TRIP_COLUMNS, [lines.trip for lines in chunk]),
        "trip_events": (history.EVENT_COLUMNS, [e for lines in chunk for e in lines.events]),
        "idempotency": (history.KEY_COLUMNS, [k for lines in chunk for k in lines.keys]),
        "trip_history": (history.RECORD_COLUMNS, [r for lines in chunk for r in lines.records]),
    }


async def _copy(connection: Any, table: str, columns: Iterable[str], lines: Iterable[str]) -> int:
    count = 0

    async def source() -> AsyncIterator[bytes]:
        nonlocal count
        # A message a thousand lines: one a line would be mostly headers.
        waiting = iter(lines)
        while some := list(itertools.islice(waiting, 1000)):
            count += len(some)
            yield "".join(some).encode()

    await connection.copy_to_table(table, source=source(), columns=list(columns), format="text")
    return count


def _chunks(lines: Iterator[history.Lines]) -> Iterator[list[history.Lines]]:
    while chunk := list(itertools.islice(lines, CHUNK)):
        yield chunk
