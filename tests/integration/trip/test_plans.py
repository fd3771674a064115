"""Every statement goes by indexes once there are many trips."""

import datetime as dt
import json

import asyncpg
import pytest

from hailstorm_benchmarks import plans
from hailstorm_benchmarks.history import Plan
from hailstorm_benchmarks.seeding import NotEmptyError, seed
from hailstorm_benchmarks.statements import statements

# Enough that the planner prefers an index to the whole table, which takes seconds to load.
MANY = Plan(50_000, 10_000, 500, 0.05, dt.datetime(2026, 1, 1, tzinfo=dt.UTC))


async def test_no_statement_reads_a_whole_table(sql: asyncpg.Connection) -> None:
    loaded = await seed(sql, MANY, lambda _: None)
    assert loaded.rows["trips"] == MANY.trips
    # A day's keys of a small history fill a few pages, which nobody needs an index for.
    await sql.execute(
        "INSERT INTO idempotency (city_id, scope, key, request_hash, trip_id, created_at)"
        " SELECT 'nyc', 'CreateTrip/r', 'busy-day-' || n, '', 't-' || n, now()"
        " FROM generate_series(1, 50000) AS n"
    )
    await sql.execute("ANALYZE idempotency")
    found = await plans.explain_all(sql)
    assert {plan.name for plan in found} == set(statements())
    assert {plan.name for plan in found if not plan.goes_by_index} == set()

    # Loading dropped the indexes and made them again: without one it shows.
    with pytest.raises(NotEmptyError):
        await seed(sql, MANY, lambda _: None)
    await sql.execute("DROP INDEX trips_by_rider, trips_requested")
    again = {plan.name for plan in await plans.explain_all(sql) if not plan.goes_by_index}
    # Another index may be read from end to end then, which is no better.
    assert again == {"dispatching._COUNT", "reads._BY_RIDER"}


async def test_statement_that_nobody_has_explained_is_an_error(
    sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await seed(sql, Plan(200, 50, 20, 0.1, MANY.until), lambda _: None)
    more = {**statements(), "reads._NEW": "SELECT 1"}
    monkeypatch.setattr(plans, "statements", lambda: more)
    with pytest.raises(plans.UnknownStatementError, match="_NEW"):
        await plans.explain_all(sql)


async def test_load_that_fails_leaves_the_database_as_it_was(sql: asyncpg.Connection) -> None:
    before = await sql.fetch("SELECT indexdef FROM pg_indexes ORDER BY 1")

    def say(text: str) -> None:
        # Everything is copied by then, and the indexes are gone.
        if text.startswith("index"):
            raise InterruptedError(text)

    with pytest.raises(InterruptedError):
        await seed(sql, Plan(20, 10, 5, 0.1, MANY.until), say)
    assert await sql.fetch("SELECT indexdef FROM pg_indexes ORDER BY 1") == before
    assert await sql.fetchval("SELECT count(*) FROM trips") == 0


def test_whole_table_below_another_node_is_found() -> None:
    scan = {"Node Type": "Seq Scan", "Relation Name": "trips"}
    index = {"Node Type": "Index Scan", "Index Name": "trips_pkey", "Relation Name": "trips"}
    top = {"Node Type": "Append", "Plans": [index, {"Node Type": "Limit", "Plans": [scan]}]}
    counts = {"Actual Rows": 3, "Shared Hit Blocks": 4, "Shared Read Blocks": 1}
    text = json.dumps([{"Plan": {**top, **counts}, "Execution Time": 0.5}])
    plan = plans.read_plan("a", text)
    assert (plan.whole_tables, plan.indexes, plan.buffers) == (("trips",), ("trips_pkey",), 5)
    assert not plan.goes_by_index


def test_rows_that_are_thrown_away_are_counted_in_every_loop() -> None:
    scan = {"Node Type": "Index Scan", "Index Name": "i", "Rows Removed by Filter": 400}
    top = {"Node Type": "Nested Loop", "Plans": [{**scan, "Actual Loops": 3}]}
    counts = {"Actual Rows": 3, "Shared Hit Blocks": 4, "Shared Read Blocks": 1}
    text = json.dumps([{"Plan": {**top, **counts}, "Execution Time": 0.5}])
    plan = plans.read_plan("a", text)
    assert (plan.wasted_rows, plan.goes_by_index) == (1_200, False)
