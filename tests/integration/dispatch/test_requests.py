"""Riders' requests through dispatch, location and trip, and the invariants by SQL."""

import asyncio
from collections import Counter
from typing import Any

import asyncpg
import grpc
import pytest

from eventually import eventually
from hailstorm.dispatch.v1 import dispatch_pb2
from hailstorm.runtime.statuses import reason_of
from integration.dispatch.conftest import System, wish
from integration.stores import Database, PostgresServer, RedisServer
from integration.trip.test_exactly_once import DOUBLE_DRIVERS, DOUBLE_TRIPS, TORN
from trip_calls import CITY, DROPOFF, PICKUP, refusal, state_name

# Longer than anything here takes on a busy machine.
PATIENCE = 60


@pytest.mark.parametrize("windows", ["true", "false"])
async def test_every_driver_gets_one_rider_when_many_ask_at_once(
    new_system: Any, database: Database, redis: RedisServer, windows: str
) -> None:
    environment = {"HAILSTORM_BATCH_NEW_REQUESTS": windows}
    system: System = await new_system(database, redis, environment)
    sql = await asyncpg.connect(database.dsn)
    drivers = [f"driver-{i}" for i in range(50)]
    await system.report(*drivers)
    stubs = [system.dispatch(0), system.dispatch(1)]
    answers = await asyncio.gather(
        *(
            stubs[i % 2].RequestTrip(wish(f"request-{i:04}", f"rider-{i}"), timeout=PATIENCE)
            for i in range(200)
        )
    )
    trips = [answer.trip for answer in answers]
    assert Counter(map(state_name, trips)) == {"MATCHED": 50, "UNFULFILLED": 150}
    bound = sorted(trip.driver_id for trip in trips if state_name(trip) == "MATCHED")
    assert bound == sorted(drivers)
    assert {t.end_reason for t in trips if state_name(t) == "UNFULFILLED"} == {"NoDriverNear"}
    assert await sql.fetch(DOUBLE_DRIVERS) == []
    assert await sql.fetch(DOUBLE_TRIPS) == []
    assert await sql.fetch(TORN) == []
    rows = await sql.fetch("SELECT trip_id, state, driver_id FROM trips")
    kept = {(r["trip_id"], r["state"], r["driver_id"] or "") for r in rows}
    assert kept == {(t.trip_id, state_name(t), t.driver_id) for t in trips}
    counted = sum(
        d.sample("hailstorm_matches_total", result="unfulfilled") for d in system.dispatches
    )
    assert counted == 150
    batches = [d.sample("hailstorm_batch_requests_count") for d in system.dispatches]
    assert all(batches) if windows == "true" else not any(batches)
    await sql.close()


async def test_repeated_request_gives_the_same_trip_on_another_dispatch(
    system: System, sql: asyncpg.Connection
) -> None:
    await system.report("driver-1", "driver-2")
    first = await system.dispatch(0).RequestTrip(wish("request-1"), timeout=PATIENCE)
    again = await system.dispatch(1).RequestTrip(wish("request-1"), timeout=PATIENCE)
    assert again == first
    assert state_name(first.trip) == "MATCHED"
    assert await sql.fetchval("SELECT count(*) FROM trips") == 1


async def test_repeated_request_gives_the_same_trip_where_a_new_one_is_refused(
    system: System, sql: asyncpg.Connection
) -> None:
    await system.report("driver-1", "driver-2")
    question = dispatch_pb2.GetQuoteRequest(
        city_id=CITY, rider_id="rider-1", pickup=PICKUP, dropoff=DROPOFF
    )
    given = (await system.dispatch(0).GetQuote(question, timeout=PATIENCE)).quote_id
    asked = wish("request-1", quote_id=given)
    first = await system.dispatch(0).RequestTrip(asked, timeout=PATIENCE)
    # Each dispatch here signs with a key of its own, so the other one knows no such quote.
    other = system.dispatch(1)
    assert await other.RequestTrip(asked, timeout=PATIENCE) == first
    assert state_name(first.trip) == "MATCHED"
    new = await refusal(other.RequestTrip(wish("request-2", quote_id=given), timeout=PATIENCE))
    assert reason_of(new) == "QUOTE_UNKNOWN"
    moved = wish("request-1", quote_id=given, dropoff=PICKUP)
    error = await refusal(other.RequestTrip(moved, timeout=PATIENCE))
    assert error.code() is grpc.StatusCode.ALREADY_EXISTS
    assert await sql.fetchval("SELECT count(*) FROM trips") == 1


async def test_requests_repeated_at_once_bind_one_driver_each(
    system: System, sql: asyncpg.Connection
) -> None:
    await system.report(*(f"driver-{i}" for i in range(60)))
    stubs = [system.dispatch(0), system.dispatch(1)]
    answers = await asyncio.gather(
        *(
            stubs[n % 2].RequestTrip(wish(f"request-{i}", f"rider-{i}"), timeout=PATIENCE)
            for i in range(20)
            for n in range(3)
        )
    )
    assert {state_name(answer.trip) for answer in answers} == {"MATCHED"}
    assert len({(a.trip.trip_id, a.trip.driver_id) for a in answers}) == 20
    assert await sql.fetchval("SELECT count(*) FROM trips") == 20
    assert await sql.fetchval("SELECT count(*) FROM trip_events WHERE move = 'ACCEPT'") == 20


async def test_request_goes_on_elsewhere_when_dispatch_dies_in_the_middle(
    system: System, sql: asyncpg.Connection
) -> None:
    """The first dispatch records the trip and is cut off before it finds a driver."""
    await system.location.stop()
    error = await refusal(system.dispatch(0).RequestTrip(wish("request-1"), timeout=PATIENCE))
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert await sql.fetchval("SELECT state FROM trips") == "REQUESTED"
    # The location service comes back at the same address.
    revived = type(system.location)("location", system.location.settings)
    await revived.start(system.location.port)
    system.location = revived

    async def reported() -> bool:
        await system.report("driver-1")
        return True

    async def answered() -> Any:
        return await system.dispatch(1).RequestTrip(wish("request-1"), timeout=PATIENCE)

    await eventually(reported, 30)
    answer = await eventually(answered, 30)
    assert (state_name(answer.trip), answer.trip.driver_id) == ("MATCHED", "driver-1")
    assert await sql.fetchval("SELECT count(*) FROM trips") == 1


async def test_request_is_refused_when_its_key_had_another_body(system: System) -> None:
    await system.dispatch().RequestTrip(wish("request-1"), timeout=PATIENCE)
    moved = wish("request-1")
    moved.pickup.latitude += 0.1
    error = await refusal(system.dispatch().RequestTrip(moved, timeout=PATIENCE))
    assert error.code() is grpc.StatusCode.ALREADY_EXISTS
    assert "idempotency_key" in (error.details() or "")


async def test_rider_is_told_what_trip_refuses(system: System, sql: asyncpg.Connection) -> None:
    await sql.execute(
        "INSERT INTO riders (city_id, rider_id, display_name, status)"
        " VALUES ($1, 'rider-bad', 'X', 'blocked')",
        CITY,
    )
    blocked = wish("request-1", rider_id="rider-bad")
    error = await refusal(system.dispatch().RequestTrip(blocked, timeout=PATIENCE))
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    assert reason_of(error) == "RIDER_BLOCKED"
    await sql.execute("INSERT INTO cities VALUES ('closed', 'Nowhere', false)")
    late = wish("request-2", city_id="closed")
    error = await refusal(system.dispatch().RequestTrip(late, timeout=PATIENCE))
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert reason_of(error) == "CITY_CLOSED"
    assert await sql.fetchval("SELECT count(*) FROM trips") == 0


async def test_driver_too_far_away_is_not_asked(system: System) -> None:
    await system.report("driver-far", latitude=41.5)
    answer = await system.dispatch().RequestTrip(wish("request-1"), timeout=PATIENCE)
    assert state_name(answer.trip) == "UNFULFILLED"


async def test_request_says_unavailable_while_a_store_is_away_and_goes_on_after(
    new_system: Any, own_postgres: PostgresServer, own_redis: RedisServer
) -> None:
    system: System = await new_system(own_postgres.maintenance, own_redis)
    stub = system.dispatch()

    async def code() -> grpc.StatusCode:
        try:
            await stub.RequestTrip(wish("request-1"), timeout=PATIENCE)
        except grpc.aio.AioRpcError as error:
            return error.code()
        return grpc.StatusCode.OK

    own_redis.kill()
    assert await code() is grpc.StatusCode.UNAVAILABLE
    own_postgres.kill()
    assert await code() is grpc.StatusCode.UNAVAILABLE
    own_postgres.start()
    own_redis.start()

    async def reported() -> bool:
        await system.report("driver-1")
        return True

    await eventually(reported, 30)
    await eventually(code, 30, until=lambda c: c is grpc.StatusCode.OK)
    answer = await stub.RequestTrip(wish("request-1"), timeout=PATIENCE)
    assert answer.trip.driver_id == "driver-1"
