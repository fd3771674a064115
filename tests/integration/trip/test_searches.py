"""What dispatch asks of many trips: whose search is whose, ended offers, demand."""

import asyncio
from typing import Any

import asyncpg
import grpc
from google.protobuf import duration_pb2

from hailstorm.trip.repository import dispatching
from hailstorm.trip.v1 import trip_pb2
from integration.trip.conftest import NewTripService
from trip_calls import CITY, TripCalls, refusal, state_name


async def claim(calls: TripCalls, lease_seconds: float = 60, min_age_seconds: int = 0) -> list[Any]:
    """The searches that are handed out now, those that wait longest first."""
    request = trip_pb2.ClaimSearchesRequest(
        max_trips=500,
        lease=duration_pb2.Duration(nanos=round(lease_seconds * 1e9))
        if lease_seconds < 1
        else duration_pb2.Duration(seconds=round(lease_seconds)),
        min_age=duration_pb2.Duration(seconds=min_age_seconds),
    )
    return list((await calls.stub.ClaimSearches(request, timeout=30)).searches)


async def test_search_is_handed_to_one_caller_while_its_lease_lasts(
    calls: TripCalls, new_trip_service: NewTripService, sql: asyncpg.Connection
) -> None:
    trips = [await calls.create(rider_id=f"rider-{i}") for i in range(40)]
    other = await new_trip_service()
    async with other.channel() as channel:
        answers = await asyncio.gather(*(claim(c) for c in (calls, TripCalls(channel)) * 8))
    handed = [search.trip.trip_id for searches in answers for search in searches]
    assert sorted(handed) == sorted(trip.trip_id for trip in trips)
    assert await claim(calls) == []
    # Whoever had it has died: the lease runs out.
    await sql.execute("UPDATE trips SET search_until = now() WHERE trip_id = $1", trips[7].trip_id)
    assert [search.trip for search in await claim(calls)] == [trips[7]]


async def test_young_request_is_left_to_whoever_put_it_on_record(
    calls: TripCalls, sql: asyncpg.Connection
) -> None:
    trip = await calls.create()
    assert await claim(calls, min_age_seconds=30) == []
    await sql.execute("UPDATE trips SET requested_at = requested_at - interval '31 s'")
    (search,) = await claim(calls, min_age_seconds=30)
    assert search.trip.trip_id == trip.trip_id
    assert search.passed_driver_ids == []
    assert 31 <= search.age.ToSeconds() < 60


async def test_declined_and_expired_trips_are_searched_for_at_once_without_their_drivers(
    calls: TripCalls,
) -> None:
    trip = await calls.create()
    assert len(await claim(calls)) == 1
    offered = await calls.offer(trip, "driver-1", accept=False)
    assert await claim(calls) == []
    await calls.answer(offered, accept=False)
    (search,) = await claim(calls, min_age_seconds=3600)
    assert search.passed_driver_ids == ["driver-1"]
    # Offered again, and left alone until it is over.
    expired = await calls.offer(search.trip, "driver-2", accept=False, ttl_seconds=0.001)
    assert state_name(await calls.get(expired)) == "REQUESTED"
    (search,) = await claim(calls, min_age_seconds=3600)
    assert search.passed_driver_ids == ["driver-1", "driver-2"]


async def test_matched_and_ended_trips_are_never_handed_out(calls: TripCalls) -> None:
    await calls.offer(await calls.create(), "driver-1")
    await calls.cancel(await calls.create(), "rider-1")
    await calls.abandon(await calls.create())
    assert await claim(calls) == []


async def test_abandoning_a_trip_that_was_offered_meanwhile_is_refused(calls: TripCalls) -> None:
    trip = await calls.create()
    offered = await calls.offer(trip, "driver-1", accept=False)
    request = trip_pb2.AbandonTripRequest(
        idempotency_key="abandon-it", city_id=CITY, trip_id=trip.trip_id, reason="NoDriverNear",
        expected_version=trip.version,
    )  # fmt: skip
    error = await refusal(calls.stub.AbandonTrip(request, timeout=30))
    assert error.code() is grpc.StatusCode.ABORTED
    assert (await calls.get(trip)).offer_id == offered.offer_id


async def test_ended_offers_are_told_with_what_ended_them(calls: TripCalls) -> None:
    offered = {}
    for word in ("accepted", "declined", "cancelled", "expired", "live"):
        trip = await calls.create()
        ttl = 0.001 if word == "expired" else None
        offered[word] = await calls.offer(trip, f"driver-{word}", accept=False, ttl_seconds=ttl)
    await calls.answer(offered["accepted"], accept=True)
    await calls.answer(offered["declined"], accept=False)
    await calls.cancel(offered["cancelled"], "rider-1")
    known = [trip.offer_id for trip in offered.values()]
    request = trip_pb2.ListOffersRequest(
        city_id=CITY,
        driver_ids=[trip.driver_id for trip in offered.values()],
        known_offer_ids=[*known, "no-offer", "no-trip-o2", f"{trip.trip_id}-o1"],
    )

    async def ends() -> dict[str, tuple[str, str]]:
        answer = await calls.stub.ListOffers(request, timeout=30)
        assert [trip.driver_id for trip in answer.trips] == ["driver-live"]
        word = {trip.offer_id: word for word, trip in offered.items()}
        return {
            word[each.offer_id]: (each.driver_id, trip_pb2.OfferEnd.Name(each.end))
            for each in answer.ended_offers
        }

    told = {
        word: (f"driver-{word}", f"OFFER_END_{word.upper()}")
        for word in ("accepted", "declined", "cancelled")
    }
    # Until its end is on record, an offer whose time is over is in neither list.
    assert await ends() == told
    await calls.get(offered["expired"])
    assert await ends() == {**told, "expired": ("driver-expired", "OFFER_END_EXPIRED")}


async def test_requests_are_counted_by_place(calls: TripCalls, sql: asyncpg.Connection) -> None:
    await calls.offer(await calls.create(), "driver-1")
    await calls.abandon(await calls.create())
    await calls.create()
    await calls.create(pickup={"latitude": 40.7, "longitude": -74.0001})
    await calls.create(city_id="boston")
    old = await calls.create()
    await sql.execute(
        "UPDATE trips SET requested_at = now() - interval '2 min' WHERE trip_id = $1", old.trip_id
    )
    request = trip_pb2.CountRequestsRequest(window=duration_pb2.Duration(seconds=60))
    counts = (await calls.stub.CountRequests(request, timeout=30)).counts
    assert sorted(
        (c.city_id, c.point.latitude, c.point.longitude, c.requests, c.unallocated) for c in counts
    ) == [
        ("boston", 40.758, -73.986, 1, 1),
        (CITY, 40.7, -74.0, 1, 1),
        (CITY, 40.758, -73.986, 3, 2),
    ]


async def test_claims_and_counts_use_their_indexes(sql: asyncpg.Connection) -> None:
    """Planned for a table that is too large to be read whole."""
    await sql.execute("SET enable_seqscan = off")
    claim_plan = await sql.fetch(
        "EXPLAIN " + dispatching._CLAIM.replace("$1", "10").replace("$2", "'1 s'")
        .replace("$3", "'1 s'")
    )  # fmt: skip
    assert "trips_unanswered" in "\n".join(row[0] for row in claim_plan)
    count_plan = await sql.fetch("EXPLAIN " + dispatching._COUNT.replace("$1", "'1 min'"))
    assert "trips_requested" in "\n".join(row[0] for row in count_plan)
