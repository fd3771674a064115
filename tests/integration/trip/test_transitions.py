"""Each transition, what it refuses, and what the store keeps of it."""

import asyncio
from typing import Any

import asyncpg
import grpc
import pytest

from eventually import eventually
from hailstorm.trip.v1 import trip_pb2
from integration.trip.conftest import NewTripService
from service_in_process import InProcessService
from trip_calls import CITY, TripCalls, refusal, state_name

Code = grpc.StatusCode


async def matched(calls: TripCalls, driver_id: str = "driver-1") -> Any:
    return await calls.offer(await calls.create(), driver_id)


async def test_ride_is_kept_version_by_version(
    calls: TripCalls, sql: asyncpg.Connection, trip_service: InProcessService
) -> None:
    trip = await matched(calls)
    for method in ("ApproachPickup", "StartTrip", "CompleteTrip"):
        trip = await calls.drive(method, trip, expected_version=trip.version)
    rows = await sql.fetch("SELECT version, move, state FROM trip_events ORDER BY version")
    assert [tuple(row) for row in rows] == [
        (1, "REQUEST", "REQUESTED"),
        (2, "OFFER", "OFFERED"),
        (3, "ACCEPT", "MATCHED"),
        (4, "APPROACH", "ARRIVING"),
        (5, "START", "IN_PROGRESS"),
        (6, "COMPLETE", "COMPLETED"),
    ]
    assert trip == await calls.get(trip)
    counted = trip_service.sample("hailstorm_trip_transitions_total", to="COMPLETED")
    assert counted == 1


async def test_history_cannot_be_rewritten(calls: TripCalls, sql: asyncpg.Connection) -> None:
    await matched(calls)
    for change in ("UPDATE trip_events SET state = 'COMPLETED'", "DELETE FROM trip_events"):
        with pytest.raises(asyncpg.RestrictViolationError):
            await sql.execute(change)
    # The relay's mark is the exception.
    await sql.execute("UPDATE trip_events SET published_at = now()")


async def test_unknown_trip_is_not_found(calls: TripCalls) -> None:
    trip = await calls.create()
    trip.trip_id, trip.driver_id = "no-such-trip", "driver-1"
    for call in (
        calls.get(trip),
        calls.offer(trip, "driver-1"),
        calls.abandon(trip),
        calls.cancel(trip, "rider-1"),
        calls.drive("ApproachPickup", trip),
    ):
        assert (await refusal(call)).code() is Code.NOT_FOUND


async def test_trip_of_another_city_is_not_found(calls: TripCalls) -> None:
    trip = await calls.create()
    trip.city_id = "boston"
    assert (await refusal(calls.get(trip))).code() is Code.NOT_FOUND


async def test_stranger_is_turned_away(calls: TripCalls) -> None:
    trip = await matched(calls)
    stranger = await refusal(calls.drive("ApproachPickup", trip, driver_id="driver-2"))
    assert stranger.code() is Code.PERMISSION_DENIED
    assert (await refusal(calls.cancel(trip, "driver-2"))).code() is Code.PERMISSION_DENIED


async def test_wrong_version_is_aborted(calls: TripCalls) -> None:
    trip = await matched(calls)
    for call in (
        calls.drive("ApproachPickup", trip, expected_version=2),
        calls.cancel(trip, "rider-1", expected_version=4),
    ):
        assert (await refusal(call)).code() is Code.ABORTED
    assert (await calls.get(trip)).version == trip.version


async def test_moves_out_of_turn_are_refused(calls: TripCalls) -> None:
    trip = await matched(calls)
    for call in (
        calls.drive("StartTrip", trip),
        calls.drive("CompleteTrip", trip),
        calls.offer(trip, "driver-2"),
        calls.abandon(trip),
    ):
        assert (await refusal(call)).code() is Code.FAILED_PRECONDITION
    for method in ("ApproachPickup", "StartTrip"):
        trip = await calls.drive(method, trip)
    assert (await refusal(calls.cancel(trip, "rider-1"))).code() is Code.FAILED_PRECONDITION


async def test_cancelling_frees_the_driver_and_says_why(calls: TripCalls) -> None:
    trip = await matched(calls)
    by_driver = await calls.cancel(trip, "driver-1", reason="flat tyre ☹")
    assert (state_name(by_driver), by_driver.end_reason) == ("CANCELLED", "flat tyre ☹")
    by_rider = await calls.cancel(await matched(calls), "rider-1")
    assert by_rider.end_reason == "CancelledByRider"


async def test_abandoning_twice_gives_the_same_trip(calls: TripCalls) -> None:
    trip = await calls.create()
    first, again = await calls.abandon(trip), await calls.abandon(trip)
    assert (state_name(first), first.end_reason) == ("UNFULFILLED", "NoDriverNear")
    assert again == first


async def test_one_of_two_racing_moves_wins(calls: TripCalls, sql: asyncpg.Connection) -> None:
    trips = await asyncio.gather(*(matched(calls, f"driver-{i}") for i in range(30)))
    results = await asyncio.gather(
        *(calls.drive("ApproachPickup", trip, expected_version=3) for trip in trips),
        *(calls.cancel(trip, "rider-1", expected_version=3) for trip in trips),
        return_exceptions=True,
    )
    refused = [each for each in results if isinstance(each, grpc.aio.AioRpcError)]
    assert {error.code() for error in refused} == {Code.ABORTED}
    assert len(refused) == 30
    assert await sql.fetchval("SELECT count(*) FROM trip_events WHERE version = 4") == 30


async def test_accepted_offer_may_be_accepted_again(calls: TripCalls) -> None:
    offered = await calls.offer(await calls.create(), "driver-1", accept=False)
    assert (state_name(offered), offered.HasField("offer_expires_at")) == ("OFFERED", True)
    accepted = await calls.answer(offered, accept=True)
    assert (state_name(accepted), accepted.HasField("offer_id")) == ("MATCHED", False)
    # With another key, as from another device.
    assert await calls.answer(offered, accept=True) == accepted
    assert (await refusal(calls.answer(offered, accept=False))).code() is Code.FAILED_PRECONDITION


async def test_declined_offer_frees_trip_and_driver(calls: TripCalls) -> None:
    offered = await calls.offer(await calls.create(), "driver-1", accept=False)
    declined = await calls.answer(offered, accept=False)
    assert (state_name(declined), declined.HasField("driver_id")) == ("REQUESTED", False)
    assert (await refusal(calls.answer(offered, accept=True))).code() is Code.FAILED_PRECONDITION
    second = await calls.offer(declined, "driver-1", accept=False)
    assert second.offer_id != offered.offer_id
    await calls.answer(second, accept=True)
    # The yes to the second is no yes to the first.
    assert (await refusal(calls.answer(offered, accept=True))).code() is Code.FAILED_PRECONDITION


async def test_offer_that_was_never_made_is_not_found(calls: TripCalls) -> None:
    offered = await calls.offer(await calls.create(), "driver-1", accept=False)
    for fields in (
        {"driver_id": "driver-2"},
        {"offer_id": f"{offered.trip_id}-o1"},
        {"offer_id": f"{offered.trip_id}-o9"},
        {"offer_id": "no-offer"},
        {"offer_id": "no-trip-o2"},
    ):
        error = await refusal(calls.answer(offered, accept=True, **fields))
        assert error.code() is Code.NOT_FOUND, fields


async def test_expired_offer_is_live_for_nobody(calls: TripCalls) -> None:
    """The sweeper is as good as off here: every reader looks at the time itself."""
    first = await calls.offer(await calls.create(), "driver-1", accept=False, ttl_seconds=0.2)

    async def offers() -> int:
        request = trip_pb2.ListOffersRequest(city_id=CITY, driver_ids=["driver-1", "driver-2"])
        return len((await calls.stub.ListOffers(request)).trips)

    assert await offers() == 1
    await eventually(offers, 10, until=lambda count: count == 0)
    assert (await refusal(calls.answer(first, accept=True))).code() is Code.FAILED_PRECONDITION
    # Neither its driver nor its trip are held by it.
    second = await calls.offer(await calls.create(), "driver-1", accept=False, ttl_seconds=0.2)
    assert second.driver_id == "driver-1"
    assert state_name(await calls.get(first)) == "REQUESTED"
    await eventually(offers, 10, until=lambda count: count == 0)
    assert (await calls.offer(second, "driver-3")).driver_id == "driver-3"


async def test_sweeper_ends_offers_and_requests_by_their_age(
    new_trip_service: NewTripService, sql: asyncpg.Connection
) -> None:
    service = await new_trip_service(
        sweep_milliseconds=50, sweep_batch=7, request_max_age_seconds=1.0
    )
    async with service.channel() as channel:
        calls = TripCalls(channel)
        bound = await matched(calls, "driver-bound")
        trips = await asyncio.gather(*(calls.create() for _ in range(20)))
        await asyncio.gather(
            *(
                calls.offer(trip, f"driver-{i}", accept=False, ttl_seconds=0.05)
                for i, trip in enumerate(trips[:10])
            )
        )

    async def reasons() -> set[tuple[str, str | None]]:
        rows = await sql.fetch("SELECT state, end_reason FROM trips")
        return {(row["state"], row["end_reason"]) for row in rows}

    expected = {("UNFULFILLED", "RequestAbandoned"), ("MATCHED", None)}
    await eventually(reasons, 20, until=lambda found: found == expected)
    assert await sql.fetchval("SELECT count(*) FROM trip_events WHERE move = 'EXPIRE'") == 10
    assert await sql.fetchval("SELECT state FROM trips WHERE trip_id = $1", bound.trip_id)
    assert service.sample("hailstorm_trip_transitions_total", to="UNFULFILLED") == 20


async def test_lists_are_pages_without_gaps_or_repeats(calls: TripCalls) -> None:
    made = [await calls.create(rider_id="rider-7") for _ in range(7)]
    for number, trip in enumerate(made):
        await calls.offer(trip, f"driver-{number}")
    await calls.create(rider_id="rider-8")
    seen: list[str] = []
    token = ""
    while True:
        answer = await calls.stub.ListTrips(
            trip_pb2.ListTripsRequest(
                city_id=CITY, rider_id="rider-7", page_size=3, page_token=token
            )
        )
        seen += [trip.trip_id for trip in answer.trips]
        token = answer.next_page_token
        if not token:
            break
    assert seen == [trip.trip_id for trip in reversed(made)]
    of_driver = await calls.stub.ListTrips(
        trip_pb2.ListTripsRequest(city_id=CITY, driver_id="driver-3")
    )
    assert [trip.trip_id for trip in of_driver.trips] == [made[3].trip_id]
