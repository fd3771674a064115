"""Postgres goes away and comes back; every caller is told so in time."""

import asyncio
import time
from collections import Counter
from typing import Any

import asyncpg
import grpc
from grpc_status import rpc_status

from eventually import eventually
from hailstorm.trip.settings import PostgresSettings
from integration.stores import Database, PostgresServer
from integration.trip.conftest import NewTripService
from integration.trip.wire import Wire
from trip_calls import TripCalls, refusal, state_name

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
# As a process has them; the tests' own are patient.
SHIPPED = {
    field: PostgresSettings.__dataclass_fields__[field].default
    for field in ("connect_seconds", "acquire_seconds", "command_seconds")
}
# The budget is 2 s; the rest is for a machine that runs other tests besides.
NOTICE_SECONDS = 2.0 + 3.0
# The breaker asks again after 0.25 s, and a caller waits as long as it is told.
RESUME_SECONDS = 1.0 + 4.0


async def refused_code(call: Any) -> grpc.StatusCode:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


async def test_calls_are_unavailable_at_once_and_work_again_when_postgres_is_killed(
    new_trip_service: NewTripService, own_schema: Database, own_postgres: PostgresServer
) -> None:
    service = await new_trip_service(own_schema, **SHIPPED)
    async with service.channel() as channel:
        calls = TripCalls(channel)
        trip = await calls.offer(await calls.create(), "driver-1")
        own_postgres.kill()
        began = time.monotonic()
        # A backend may answer once more before it sees that its postmaster is gone.
        error = await eventually(lambda: refusal(calls.get(trip)), 20)
        assert time.monotonic() - began < NOTICE_SECONDS
        assert error.code() is UNAVAILABLE
        trailers = dict(error.trailing_metadata() or ())
        assert int(trailers["grpc-retry-pushback-ms"]) > 0
        # The breaker spares callers the wait, and Postgres the connects.
        before = service.sample("hailstorm_trip_store_failures_total", cause="away")
        codes = await asyncio.gather(*(refused_code(calls.get(trip)) for _ in range(200)))
        assert set(codes) == {UNAVAILABLE}
        after = service.sample("hailstorm_trip_store_failures_total", cause="away")
        assert after - before <= 30
        assert service.sample("hailstorm_trip_store_reachable") == 0
        own_postgres.start()
        began = time.monotonic()
        kept = await eventually(lambda: calls.get(trip), 20)
        assert time.monotonic() - began < RESUME_SECONDS
        # What was acknowledged before the kill is there (I3).
        assert kept == trip
        assert service.sample("hailstorm_trip_store_reachable") == 1


async def test_frozen_postgres_is_noticed_in_time(
    new_trip_service: NewTripService, own_schema: Database, own_postgres: PostgresServer
) -> None:
    service = await new_trip_service(own_schema, **SHIPPED)
    async with service.channel() as channel:
        calls = TripCalls(channel)
        trip = await calls.create()
        own_postgres.freeze()
        try:
            began = time.monotonic()
            codes = await asyncio.gather(*(refused_code(calls.get(trip)) for _ in range(20)))
            assert time.monotonic() - began < NOTICE_SECONDS
            assert set(codes) == {UNAVAILABLE}
        finally:
            own_postgres.thaw()
        assert await eventually(lambda: calls.get(trip), 20) == trip


async def test_no_acknowledged_write_is_lost_when_postgres_is_killed_under_load(
    new_trip_service: NewTripService, own_schema: Database, own_postgres: PostgresServer
) -> None:
    """Each rider repeats with the same key until it is answered, as real ones do."""
    service = await new_trip_service(own_schema, **SHIPPED)
    refused: Counter[grpc.StatusCode] = Counter()
    async with service.channel() as channel:
        calls = TripCalls(channel)

        async def insist(call: Any) -> Any:
            async def attempt() -> Any:
                try:
                    return await call()
                except grpc.aio.AioRpcError as error:
                    refused[error.code()] += 1
                    raise

            return await eventually(attempt, 60)

        async def ride(number: int) -> Any:
            rider = f"rider-{number}"
            made = await insist(lambda: calls.create(f"create-{number:04}", rider_id=rider))
            driver = f"driver-{number}"
            bound = await insist(lambda: calls.offer(made, driver, key=f"offer-{number:04}"))
            return await insist(
                lambda: calls.drive("ApproachPickup", bound, f"approach-{number:04}")
            )

        riding = [asyncio.create_task(ride(number)) for number in range(200)]
        await eventually(
            lambda: service.sample("hailstorm_trip_transitions_total", to="MATCHED") > 20, 20
        )
        own_postgres.kill()
        await eventually(lambda: refused[UNAVAILABLE] > 20, 20)
        own_postgres.start()
        answers = await asyncio.gather(*riding)
        # No connection of the pool remembers the outage.
        await asyncio.gather(*(calls.get(trip) for trip in answers))
    # On a busy machine some are shed while those who waited are served.
    assert refused.keys() <= {UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED}
    connection = await asyncpg.connect(own_schema.dsn)
    try:
        rows = await connection.fetch("SELECT trip_id, driver_id, state FROM trips")
        moves = await connection.fetchval("SELECT count(*) FROM trip_events")
    finally:
        await connection.close()
    assert {(r["trip_id"], r["driver_id"], r["state"]) for r in rows} == {
        (trip.trip_id, trip.driver_id, state_name(trip)) for trip in answers
    }
    assert len(rows) == 200
    # Requested, offered, accepted, approached: once each.
    assert moves == 4 * 200


async def test_missing_schema_is_unavailable_until_it_is_there(
    new_trip_service: NewTripService, sql: asyncpg.Connection
) -> None:
    await sql.execute("ALTER TABLE trips RENAME TO gone")
    service = await new_trip_service()
    async with service.channel() as channel:
        calls = TripCalls(channel)
        error = await refusal(calls.create())
        assert error.code() is UNAVAILABLE
        status = rpc_status.from_call(error)
        assert status is not None
        assert "schema" in status.message
        await sql.execute("ALTER TABLE gone RENAME TO trips")
        assert state_name(await calls.create()) == "REQUESTED"


async def test_pool_that_stands_still_is_told_apart_from_an_absent_store(
    new_trip_service: NewTripService, sql: asyncpg.Connection
) -> None:
    service = await new_trip_service(
        pool_max=1, acquire_seconds=0.2, sweep_milliseconds=60_000, watch_poll_milliseconds=60_000
    )
    async with service.channel() as channel:
        calls = TripCalls(channel)
        trip = await calls.offer(await calls.create(), "driver-1")
        transaction = sql.transaction()
        await transaction.start()
        await sql.execute("SELECT FROM trips FOR UPDATE")
        blocked = asyncio.create_task(calls.cancel(trip, "rider-1"))
        error = await eventually(lambda: refusal(calls.get(trip)), 20)
        # All who were before us wait for one lock, as they do behind a migration: more
        # pods would wait for it too.
        assert error.code() is UNAVAILABLE
        assert "answers nobody" in (error.details() or "")
        assert service.sample("hailstorm_trip_store_failures_total", cause="standstill") == 1
        await transaction.rollback()
        assert state_name(await blocked) == "CANCELLED"
        assert service.sample("hailstorm_trip_store_failures_total", cause="away") == 0


async def test_caller_with_little_time_is_told_so(
    new_trip_service: NewTripService, sql: asyncpg.Connection
) -> None:
    service = await new_trip_service()
    async with service.channel() as channel:
        calls = TripCalls(channel)
        trip = await calls.offer(await calls.create(), "driver-1")
        transaction = sql.transaction()
        await transaction.start()
        await sql.execute("SELECT FROM trips FOR UPDATE")
        request = calls.stub.CancelTrip(_cancellation(trip), timeout=0.5)
        assert await refused_code(request) is grpc.StatusCode.DEADLINE_EXCEEDED
        await transaction.rollback()
        # The wait of one caller says nothing about Postgres.
        assert service.sample("hailstorm_trip_store_failures_total", cause="away") == 0
        await calls.get(trip)


def _cancellation(trip: Any) -> Any:
    from hailstorm.trip.v1 import trip_pb2

    return trip_pb2.CancelTripRequest(
        idempotency_key="cancel-1234",
        city_id=trip.city_id,
        trip_id=trip.trip_id,
        actor_id="rider-1",
    )


async def test_connection_that_heard_half_an_error_fails_one_call_at_most(
    new_trip_service: NewTripService, schema: Database
) -> None:
    """asyncpg notices such a connection with the next statement on it, and not before."""
    wire = Wire(schema)
    service = await new_trip_service(
        await wire.open(), pool_max=4, breaker_failures=1000, sweep_milliseconds=60_000
    )
    async with service.channel() as channel:
        calls = TripCalls(channel)
        trip = await calls.create()
        await asyncio.gather(*(calls.get(trip) for _ in range(50)))
        spoiled = await wire.say_last_words()
        assert spoiled > 0
        codes = Counter([await refused_code(calls.get(trip)) for _ in range(50)])
        assert codes[UNAVAILABLE] <= spoiled
        assert codes[grpc.StatusCode.OK] == 50 - codes[UNAVAILABLE]
    await service.stop()
    await wire.close()
