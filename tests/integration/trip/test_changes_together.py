"""Changes that share a statement are stored as if each had been alone."""

import asyncio
import datetime as dt
import re
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from prometheus_client import CollectorRegistry

from hailstorm.runtime.clock import SystemClock
from hailstorm.trip import trips
from hailstorm.trip.errors import WrongStateError
from hailstorm.trip.messages import encode_answer
from hailstorm.trip.repository.database import BY_NAME
from hailstorm.trip.repository.database import Database as Pool
from hailstorm.trip.repository.dispatching import ended_offers
from hailstorm.trip.repository.history import Since, changes
from hailstorm.trip.repository.writes import Key
from hailstorm.trip.states import Move, State
from hailstorm.trip.transitions import Transitions, Wish
from hailstorm.trip.v1 import trip_pb2
from hailstorm_benchmarks.statements import statements
from integration.stores import Database
from trip_calls import CITY, postgres_settings, state_name

MANY = 40
PLACE = trips.Place(40.75, -73.98)


class Counting(Pool):
    """The way to Postgres, and what went there."""

    asked: list[str]

    async def fetch(self, statement: str, *arguments: Any) -> list[Any]:
        self.asked.append(statement)
        return await super().fetch(statement, *arguments)


@pytest.fixture
async def pool(schema: Database) -> AsyncIterator[Counting]:
    pool = Counting(postgres_settings(schema), SystemClock(), CollectorRegistry())
    pool.asked = []
    yield pool
    await pool.close()


@pytest.fixture
def transitions(pool: Counting) -> Transitions:
    return Transitions(pool, SystemClock(), CollectorRegistry(), encode_answer)


def key(name: str, scope: str = "test") -> Key:
    return Key(scope, name, b"\0" * 32)


async def matched(transitions: Transitions, number: int) -> str:
    """The id of a trip that has a driver."""
    wish = Wish(CITY, f"rider-{number}", PLACE, PLACE, 1.0, None)
    trip = await transitions.create(wish, key(f"create-{number}"))
    ttl = dt.timedelta(seconds=15)
    offer = (CITY, trip.trip_id, [f"driver-{number}"], ttl, True, key(f"offer-{number}"))
    await transitions.offer(*offer)
    return trip.trip_id


async def approach(transitions: Transitions, trip_id: str, name: str) -> State:
    """The trip's state after its driver set out."""

    def decide(trip: trips.Trip, now: dt.datetime) -> tuple[trips.Trip, ...]:
        return (trips.decide_drive(trip, Move.APPROACH, str(trip.driver_id), None, now),)

    answer = await transitions.change(CITY, trip_id, key(name), decide)
    return State(state_name(trip_pb2.GetTripResponse.FromString(answer).trip))


async def stored(sql: asyncpg.Connection) -> tuple[int, int, int]:
    """Trips under way, their events and the keys of their changes."""
    return (
        await sql.fetchval("SELECT count(*) FROM trips WHERE state = 'ARRIVING' AND version = 4"),
        await sql.fetchval("SELECT count(*) FROM trip_events WHERE state = 'ARRIVING'"),
        await sql.fetchval("SELECT count(*) FROM idempotency WHERE key LIKE 'go-%'"),
    )


async def test_many_at_once_are_few_statements_and_each_is_whole(
    transitions: Transitions, pool: Counting, sql: asyncpg.Connection
) -> None:
    names = await asyncio.gather(*(matched(transitions, n) for n in range(MANY)))
    pool.asked.clear()
    found = await asyncio.gather(
        *(approach(transitions, name, f"go-{n}") for n, name in enumerate(names))
    )
    assert found == [State.ARRIVING] * MANY
    assert await stored(sql) == (MANY, MANY, MANY)
    assert len(pool.asked) <= MANY / 2
    # Each trip has the driver, the event and the answer that are its own.
    mixed = await sql.fetch(
        "SELECT t.trip_id FROM trips t JOIN trip_events e USING (city_id, trip_id, version)"
        " JOIN idempotency i ON i.trip_id = t.trip_id AND i.key LIKE 'go-%'"
        " WHERE t.driver_id <> replace(t.rider_id, 'rider', 'driver')"
        " OR e.driver_id <> t.driver_id OR e.occurred_at <> t.updated_at"
        " OR position(convert_to(t.trip_id, 'UTF8') in i.response) = 0"
    )
    assert mixed == []


async def test_no_statement_asks_a_new_connection_for_types(
    transitions: Transitions, pool: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def introspect(_: Any, oids: Any, _timeout: Any) -> None:
        pytest.fail(f"asyncpg asks Postgres for the types {sorted(oids)}")

    monkeypatch.setattr(asyncpg.Connection, "_introspect_types", introspect)
    names = await asyncio.gather(*(matched(transitions, n) for n in range(MANY)))
    await asyncio.gather(*(approach(transitions, name, f"go-{n}") for n, name in enumerate(names)))
    await changes(pool, [Since(CITY, name, 0) for name in names])
    await ended_offers(pool, CITY, [(name, 2) for name in names])
    shared, alone = statements()["writes._ADVANCE_MANY"], statements()["writes._ADVANCE"]
    assert {shared, alone} <= set(pool.asked)


def test_no_statement_takes_an_array_that_asyncpg_does_not_know() -> None:
    arrays = {
        name: re.findall(r"\$\d+::(?!text\[\])\w+\[\]", statement)
        for name, statement in statements().items()
    }
    assert {name: found for name, found in arrays.items() if found} == {}
    assert any("::text[]::bigint[]" in statement for statement in statements().values())


@pytest.mark.parametrize("is_analysed", [True, False])
@pytest.mark.parametrize(
    ("name", "parameters"), [("reads._SNAPSHOTS", 4), ("writes._ADVANCE_MANY", 15)]
)
async def test_rows_are_found_by_name_also_where_tables_were_empty_when_last_looked_at(
    name: str, parameters: int, is_analysed: bool, sql: asyncpg.Connection
) -> None:
    if is_analysed:
        await sql.execute("ANALYZE")
    for setting, value in BY_NAME.items():
        await sql.execute(f"SET {setting} = {value}")
    # As of a connection that has run it often: for any values.
    await sql.execute("SET plan_cache_mode = force_generic_plan")
    await sql.execute(f"PREPARE shared AS {statements()[name]}")
    nulls = ", ".join(["NULL"] * parameters)
    rows = await sql.fetch(f"EXPLAIN (COSTS OFF) EXECUTE shared ({nulls})")
    plan = "\n".join(row[0] for row in rows)
    assert "Seq Scan" not in plan
    assert "Hash" not in plan
    assert ("idempotency_pkey" if parameters == 4 else "Tid Scan on trips") in plan


async def test_a_row_that_somebody_holds_holds_up_nobody_else(
    transitions: Transitions, pool: Counting, schema: Database, sql: asyncpg.Connection
) -> None:
    names = await asyncio.gather(*(matched(transitions, n) for n in range(3)))
    holder = await asyncpg.connect(schema.dsn)
    try:
        holding = holder.transaction()
        await holding.start()
        await holder.execute("SELECT 1 FROM trips WHERE trip_id = $1 FOR UPDATE", names[1])
        waiting = [
            asyncio.create_task(approach(transitions, name, f"go-{n}"))
            for n, name in enumerate(names)
        ]
        done, held = await asyncio.wait(waiting, timeout=2)
        assert {task.result() for task in done} == {State.ARRIVING}
        assert held == {waiting[1]}
        # Nothing else is held for as long as that.
        await sql.execute("SELECT 1 FROM trips WHERE trip_id = $1 FOR UPDATE NOWAIT", names[2])
        await holding.rollback()
        assert await waiting[1] is State.ARRIVING
    finally:
        await holder.close()
    assert await stored(sql) == (3, 3, 3)


async def test_what_befalls_one_that_is_stored_alone_is_its_own(
    transitions: Transitions, pool: Counting, sql: asyncpg.Connection
) -> None:
    names = await asyncio.gather(*(matched(transitions, n) for n in range(3)))
    # The schema refuses one of them, as that of another version might.
    await sql.execute(
        f"ALTER TABLE trip_events ADD CHECK (state <> 'ARRIVING' OR trip_id <> '{names[1]}')"
    )
    found = await asyncio.gather(
        *(approach(transitions, name, f"go-{n}") for n, name in enumerate(names)),
        return_exceptions=True,
    )
    assert [found[0], found[2]] == [State.ARRIVING] * 2
    assert isinstance(found[1], asyncpg.CheckViolationError)
    assert await stored(sql) == (2, 2, 2)


async def test_a_change_is_told_of_though_its_caller_has_left(
    transitions: Transitions, pool: Counting, sql: asyncpg.Connection
) -> None:
    names = await asyncio.gather(*(matched(transitions, n) for n in range(2)))
    told: list[str] = []
    transitions.on_change(lambda trip: told.append(trip.trip_id))
    fetch = pool.fetch
    callers: list[asyncio.Task[State]] = []

    async def leaving(statement: str, *arguments: Any) -> list[Any]:
        if "UPDATE trips" in statement:
            callers[0].cancel()
        return await fetch(statement, *arguments)

    pool.fetch = leaving  # type: ignore[method-assign]
    callers += [
        asyncio.create_task(approach(transitions, name, f"go-{n}")) for n, name in enumerate(names)
    ]
    found = await asyncio.gather(*callers, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert found[1] is State.ARRIVING
    assert sorted(told) == sorted(names)
    assert await stored(sql) == (2, 2, 2)


async def test_one_that_is_refused_takes_none_of_the_others_with_it(
    transitions: Transitions, sql: asyncpg.Connection
) -> None:
    names = await asyncio.gather(*(matched(transitions, n) for n in range(4)))
    # Two trips under one key: one of them has it, and the other's call is told so.
    keys = ("go-0", "go-1", "go-1", "go-2")
    found = await asyncio.gather(
        *(approach(transitions, name, used) for name, used in zip(names, keys, strict=True))
    )
    # The key's second caller gets the answer that the first one's change was given.
    assert found == [State.ARRIVING] * 4
    assert await stored(sql) == (3, 3, 3)


async def test_one_that_has_moved_on_is_decided_anew_and_alone(
    transitions: Transitions, pool: Counting, sql: asyncpg.Connection
) -> None:
    names = await asyncio.gather(*(matched(transitions, n) for n in range(3)))
    # Between its snapshot and its change, somebody else's is stored.
    fetch = pool.fetch
    moved: list[str] = []

    async def interfering(statement: str, *arguments: Any) -> list[Any]:
        rows = await fetch(statement, *arguments)
        if not moved and statement.lstrip().startswith("SELECT clock_timestamp()"):
            moved.append(names[1])
            await sql.execute(
                "UPDATE trips SET state = 'ARRIVING', version = 4 WHERE trip_id = $1", names[1]
            )
        return rows

    pool.fetch = interfering  # type: ignore[method-assign]
    found = await asyncio.gather(
        *(approach(transitions, name, f"go-{n}") for n, name in enumerate(names)),
        return_exceptions=True,
    )
    assert [found[0], found[2]] == [State.ARRIVING] * 2
    assert isinstance(found[1], WrongStateError)
    assert await stored(sql) == (3, 2, 2)


async def test_two_changes_of_one_trip_at_once_are_one_effect(
    transitions: Transitions, sql: asyncpg.Connection
) -> None:
    first, second = await asyncio.gather(*(matched(transitions, n) for n in range(2)))
    found = await asyncio.gather(
        *(approach(transitions, name, f"go-{n}") for n, name in enumerate((first, second, first))),
        return_exceptions=True,
    )
    refused = [one for one in found if isinstance(one, WrongStateError)]
    assert len(refused) == 1
    assert found[1] is State.ARRIVING
    assert await stored(sql) == (2, 2, 2)
