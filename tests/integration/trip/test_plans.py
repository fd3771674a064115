"""Every statement goes by indexes once there are many trips."""

import dataclasses
import datetime as dt
import json

import asyncpg
import pytest

from hailstorm_benchmarks import plans
from hailstorm_benchmarks.cities import CITIES
from hailstorm_benchmarks.history import Plan
from hailstorm_benchmarks.seeding import TABLES, NotEmptyError, seed
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
    # Each had something to do, or it would be fast whatever it does.
    assert {plan.name for plan in found if plan.found_nothing} == set()

    # Loading dropped the indexes and made them again: without one it shows.
    with pytest.raises(NotEmptyError):
        await seed(sql, MANY, lambda _: None)
    await sql.execute(
        "DROP INDEX trips_by_rider, trips_requested, trips_unanswered, trip_events_unpublished"
    )
    again = {plan.name for plan in await plans.explain_all(sql) if not plan.goes_by_index}
    # Another index may be read from end to end then, which is no better.
    assert again == {
        *("dispatching._CLAIM", "dispatching._COUNT", "reads._BY_RIDER", "sweeps._ABANDON"),
        *("outbox._OLDEST", "outbox._TAKE"),
    }


async def test_history_is_loaded_whole_and_goes_with_what_replaces_it(
    sql: asyncpg.Connection,
) -> None:
    plan = Plan(3_000, 1_000, 300, 0.1, MANY.until)
    loaded = await seed(sql, plan, lambda _: None)
    counted = {table: await sql.fetchval(f"SELECT count(*) FROM {table}") for table in TABLES}
    assert counted == loaded.rows
    assert counted["trip_history"] == plan.trips - plan.live
    assert counted["riders"] == plan.riders
    # Every trip's rider has a profile, and every end its record.
    assert (
        await sql.fetchval("SELECT count(*) FROM trips t JOIN riders r USING (city_id, rider_id)")
        == plan.trips
    )
    assert await sql.fetchval(
        "SELECT count(*) FROM trips t JOIN trip_history h USING (city_id, trip_id)"
        " WHERE h.state = t.state AND h.version = t.version"
    ) == (plan.trips - plan.live)
    # Anew: nothing of the old one is left, in any table.
    fewer = dataclasses.replace(plan, trips=1_000, riders=500, seed=2)
    again = await seed(sql, fewer, lambda _: None, anew=True)
    counted = {table: await sql.fetchval(f"SELECT count(*) FROM {table}") for table in TABLES}
    assert counted == again.rows
    assert counted["trip_history"] == fewer.trips - fewer.live
    assert await sql.fetchval("SELECT count(*) FROM cities") == len(CITIES)


async def test_database_where_nobody_waits_explains_less(sql: asyncpg.Connection) -> None:
    await seed(sql, Plan(3_000, 1_000, 300, 0.1, MANY.until), lambda _: None)
    # As after the service's own sweeps.
    await sql.execute(
        "UPDATE trips SET state = 'UNFULFILLED', driver_id = NULL, offer_id = NULL,"
        " offer_expires_at = NULL WHERE state IN ('REQUESTED', 'OFFERED')"
    )
    await sql.execute("UPDATE trip_events SET published_at = now()")
    found = await plans.explain_all(sql)
    assert {plan.name for plan in found if plan.found_nothing} == {
        *("dispatching._CLAIM", "outbox._OLDEST", "outbox._TAKE", "reads._OFFERS"),
        *("sweeps._ABANDON", "sweeps._EXPIRE"),
    }
    await sql.execute("TRUNCATE trips")
    with pytest.raises(plans.NotSeededError, match="seeded"):
        await plans.explain_all(sql)


async def test_statement_that_nobody_has_explained_is_an_error(
    sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await seed(sql, Plan(200, 50, 100, 0.1, MANY.until), lambda _: None)
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
