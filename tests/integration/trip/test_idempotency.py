"""One key, one effect, one answer: whatever is lost, repeated or sent at once."""

import asyncio
from typing import Any

import asyncpg
import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from hailstorm.trip.v1 import trip_pb2
from integration.trip.conftest import NewTripService
from trip_calls import CITY, DROPOFF, PICKUP, TripCalls, fresh, refusal, state_name


async def test_concurrent_repeats_have_one_effect_each(
    calls: TripCalls, sql: asyncpg.Connection
) -> None:
    # All of them are in flight at once, behind one look-up of the rider; 256 may be.
    keys = [fresh("tap") for _ in range(80)]
    answers = await asyncio.gather(*(calls.create(key) for key in keys * 3))
    assert len({trip.trip_id for trip in answers}) == 80
    for first, second, third in zip(answers, answers[80:], answers[160:], strict=False):
        assert first == second == third
    assert await sql.fetchval("SELECT count(*) FROM trips") == 80
    assert await sql.fetchval("SELECT count(*) FROM trip_events") == 80


async def test_concurrent_repeats_of_a_transition_have_one_answer(
    calls: TripCalls, sql: asyncpg.Connection
) -> None:
    trips = [await calls.offer(await calls.create(), f"driver-{i}") for i in range(20)]
    taps = [(trip, fresh("tap")) for trip in trips] * 5
    answers = await asyncio.gather(
        *(calls.drive("ApproachPickup", trip, key) for trip, key in taps)
    )
    assert len({answer.SerializeToString() for answer in answers}) == 20
    assert await sql.fetchval("SELECT count(*) FROM trip_events WHERE move = 'APPROACH'") == 20


async def test_lost_reply_is_given_again_byte_for_byte_by_another_server(
    calls: TripCalls, new_trip_service: NewTripService
) -> None:
    trip = await calls.offer(await calls.create(), "driver-1")
    request = trip_pb2.ApproachPickupRequest(
        idempotency_key="lost-reply", city_id=trip.city_id, trip_id=trip.trip_id,
        driver_id="driver-1", expected_version=3,
    )  # fmt: skip
    lost = await calls.stub.ApproachPickup(request, timeout=30)
    # The trip goes on in the meantime; the answer to the tap does not change.
    await calls.drive("StartTrip", trip)
    other = await new_trip_service()
    async with other.channel() as channel:
        again = await TripCalls(channel).stub.ApproachPickup(request, timeout=30)
    assert again.SerializeToString() == lost.SerializeToString()
    assert state_name(again.trip) == "ARRIVING"
    assert state_name(await calls.get(trip)) == "IN_PROGRESS"


async def test_repeated_creation_tells_how_far_the_trip_is(calls: TripCalls) -> None:
    first = await calls.create("the-key-1")
    await calls.offer(first, "driver-1")
    again = await calls.create("the-key-1")
    assert (again.trip_id, state_name(again)) == (first.trip_id, "MATCHED")


async def test_created_trip_is_found_by_its_key_and_none_is_made(
    calls: TripCalls, sql: asyncpg.Connection
) -> None:
    async def find(key: str, **fields: Any) -> Any:
        wish = {"city_id": CITY, "rider_id": "rider-1", "pickup": PICKUP, "dropoff": DROPOFF}
        request = trip_pb2.CreateTripRequest(**{"idempotency_key": key, **wish, **fields})
        question = trip_pb2.FindCreatedTripRequest(request=request)
        return await calls.stub.FindCreatedTrip(question, timeout=30)

    assert not (await find("the-key-1")).HasField("trip")
    assert await sql.fetchval("SELECT count(*) FROM trips") == 0
    first = await calls.create("the-key-1", surge_multiplier=1.5)
    await calls.offer(first, "driver-1")
    # As it stands now, whatever multiplier it would have by now.
    found = (await find("the-key-1")).trip
    assert (found.trip_id, state_name(found)) == (first.trip_id, "MATCHED")
    assert not (await find("the-key-1", rider_id="rider-2")).HasField("trip")
    error = await refusal(find("the-key-1", pickup=DROPOFF))
    assert error.code() is grpc.StatusCode.ALREADY_EXISTS
    assert await sql.fetchval("SELECT count(*) FROM trips") == 1


async def test_key_of_another_rider_is_another_key(calls: TripCalls) -> None:
    mine = await calls.create("same-key", rider_id="rider-1")
    theirs = await calls.create("same-key", rider_id="rider-2")
    assert mine.trip_id != theirs.trip_id


@pytest.mark.parametrize("change", [{"pickup": DROPOFF}, {"quote_id": "quote-1"}])
async def test_creation_is_refused_when_its_key_had_another_body(
    calls: TripCalls, change: dict[str, Any]
) -> None:
    await calls.create("the-key-1")
    error = await refusal(calls.create("the-key-1", **change))
    assert error.code() is grpc.StatusCode.ALREADY_EXISTS
    assert "idempotency_key" in (error.details() or "")
    info = error_details_pb2.ErrorInfo()
    status = rpc_status.from_call(error)
    assert status is not None
    assert status.details[0].Unpack(info)
    assert info.reason == "IDEMPOTENCY_KEY_REUSED"
    assert info.metadata["field"] == "idempotency_key"


async def test_creation_is_repeated_although_surge_has_changed(calls: TripCalls) -> None:
    """The multiplier is dispatch's; a rider who taps again does not choose it."""
    first = await calls.create("the-key-1", surge_multiplier=1.0)
    again = await calls.create("the-key-1", surge_multiplier=1.5)
    assert (again.trip_id, again.surge_multiplier) == (first.trip_id, 1.0)


async def test_transition_is_refused_when_its_key_had_another_body(calls: TripCalls) -> None:
    first = await calls.offer(await calls.create(), "driver-1")
    await calls.drive("ApproachPickup", first, "the-key-1")
    error = await refusal(calls.drive("ApproachPickup", first, "the-key-1", trip_id="another-trip"))
    assert error.code() is grpc.StatusCode.ALREADY_EXISTS


async def test_refused_call_leaves_its_key_unused(
    calls: TripCalls, sql: asyncpg.Connection
) -> None:
    trip = await calls.offer(await calls.create(), "driver-1")
    early = await refusal(calls.drive("StartTrip", trip, "the-key-1"))
    assert early.code() is grpc.StatusCode.FAILED_PRECONDITION
    await calls.drive("ApproachPickup", trip)
    assert state_name(await calls.drive("StartTrip", trip, "the-key-1")) == "IN_PROGRESS"


async def test_offer_that_bound_nobody_may_be_made_again_with_its_key(calls: TripCalls) -> None:
    busy = await calls.offer(await calls.create(), "driver-1")
    trip = await calls.create()
    assert state_name(await calls.offer(trip, "driver-1", key="the-key-1")) == "REQUESTED"
    await calls.cancel(busy, "rider-1")
    assert (await calls.offer(trip, "driver-1", key="the-key-1")).driver_id == "driver-1"
