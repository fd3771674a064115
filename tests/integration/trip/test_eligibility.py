"""Who may request a trip, by what a process remembers of riders and cities."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import grpc
import pytest

from eventually import eventually
from hailstorm.runtime.statuses import reason_of
from integration.trip.conftest import NewTripService
from service_in_process import InProcessService
from trip_calls import CITY, TripCalls, refusal, state_name

SECONDS = 20.0
BLOCK = "INSERT INTO riders (city_id, rider_id, display_name, status) VALUES ($1, $2, 'X', $3)"


@pytest.fixture
async def service(new_trip_service: NewTripService) -> InProcessService:
    return await new_trip_service(rider_seconds=0.2, city_seconds=0.2)


@pytest.fixture
async def calls(service: InProcessService) -> AsyncIterator[TripCalls]:
    async with service.channel() as channel:
        yield TripCalls(channel)


async def test_blocked_rider_is_refused_until_unblocked(
    calls: TripCalls, sql: asyncpg.Connection
) -> None:
    await sql.execute(BLOCK, CITY, "rider-1", "blocked")
    error = await refusal(calls.create())
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    assert reason_of(error) == "RIDER_BLOCKED"
    # Another one is not, and neither is one of that name in another city.
    assert state_name(await calls.create(rider_id="rider-2")) == "REQUESTED"
    assert state_name(await calls.create(city_id="ams")) == "REQUESTED"
    assert await sql.fetchval("SELECT count(*) FROM trips WHERE rider_id = 'rider-1'") == 1
    await sql.execute("UPDATE riders SET status = 'active', version = version + 1")
    await eventually(calls.create, SECONDS)


async def test_block_takes_effect_and_spares_the_trips_that_there_are(
    calls: TripCalls, sql: asyncpg.Connection
) -> None:
    await sql.execute(BLOCK, CITY, "rider-1", "active")
    trip = await calls.create("key-before")
    await sql.execute("UPDATE riders SET status = 'blocked', version = version + 1")
    await eventually(lambda: refusal(calls.create()), SECONDS)
    # The answer to a call that was made before stays what it was.
    assert (await calls.create("key-before")).trip_id == trip.trip_id
    assert state_name(await calls.offer(trip, "driver-1")) == "MATCHED"
    # And another body under its key is still told so.
    error = await refusal(calls.create("key-before", dropoff=trip.pickup))
    assert error.code() is grpc.StatusCode.ALREADY_EXISTS


async def test_closed_city_takes_no_new_trips(calls: TripCalls, sql: asyncpg.Connection) -> None:
    trip = await calls.create("key-before")
    await sql.execute("INSERT INTO cities (city_id, name, is_open) VALUES ($1, 'NYC', false)", CITY)
    error = await eventually(lambda: refusal(calls.create()), SECONDS)
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert reason_of(error) == "CITY_CLOSED"
    assert (await calls.create("key-before")).trip_id == trip.trip_id
    assert state_name(await calls.create(city_id="ams")) == "REQUESTED"
    assert state_name(await calls.cancel(trip, "rider-1")) == "CANCELLED"
    await sql.execute("UPDATE cities SET is_open = true, version = version + 1")
    await eventually(calls.create, SECONDS)


async def test_burst_of_requests_asks_for_city_and_rider_once(
    new_trip_service: NewTripService,
) -> None:
    service = await new_trip_service(rider_seconds=60.0, city_seconds=60.0)
    async with service.channel() as channel:
        calls = TripCalls(channel)
        await asyncio.gather(*(calls.create() for _ in range(30)))
    for cache in ("rider", "city"):
        loads = {
            outcome: service.sample("hailstorm_cache_loads_total", cache=cache, outcome=outcome)
            for outcome in ("ok", "absent", "error")
        }
        assert loads == {"ok": 0, "absent": 1, "error": 0}, cache
