"""Streams of trips: what they tell, when they end, and what they never do."""

import asyncio
import datetime as dt
from typing import Any

import asyncpg
import grpc
from prometheus_client import CollectorRegistry

from eventually import eventually
from hailstorm.runtime.clock import SystemClock
from hailstorm.trip.repository.database import Database as TripDatabase
from hailstorm.trip.states import Move, State
from hailstorm.trip.trips import Place, Trip
from hailstorm.trip.watches import Watches
from hailstorm.types.v1 import types_pb2
from integration.stores import Database
from integration.trip.conftest import NewTripService
from service_in_process import InProcessService
from trip_calls import TripCalls, postgres_settings, refusal, state_name

RIDE = ("ApproachPickup", "StartTrip", "CompleteTrip")


async def read_to_end(stream: Any) -> list[tuple[str, int]]:
    """What a stream tells, as (state, version), a resume marker as ("resume", version)."""
    told = []
    async for event in stream:
        if event.HasField("trip"):
            told.append((state_name(event.trip), event.trip.version))
        elif event.HasField("resume"):
            told.append(("resume", event.resume.after_version))
    return told


async def test_watch_tells_every_version_and_ends_with_the_trip(calls: TripCalls) -> None:
    trip = await calls.create()
    reading = asyncio.create_task(read_to_end(calls.watch(trip)))
    trip = await calls.offer(trip, "driver-1")
    for method in RIDE:
        await calls.drive(method, trip)
    assert await asyncio.wait_for(reading, 20) == [
        ("REQUESTED", 1),
        ("OFFERED", 2),
        ("MATCHED", 3),
        ("ARRIVING", 4),
        ("IN_PROGRESS", 5),
        ("COMPLETED", 6),
    ]


async def test_watch_tells_the_trip_as_it_stood(calls: TripCalls) -> None:
    trip = await calls.create()
    matched = await calls.offer(trip, "driver-1")
    approached = await calls.drive("ApproachPickup", matched)
    await calls.cancel(trip, "rider-1")
    told = [event.trip async for event in calls.watch(trip)]
    assert (told[0], told[2], told[3]) == (trip, matched, approached)
    assert told[1].offer_id == f"{trip.trip_id}-o2"
    assert told[1].driver_id == "driver-1"


async def test_watch_starts_behind_the_version_that_was_seen(calls: TripCalls) -> None:
    trip = await calls.offer(await calls.create(), "driver-1")
    await calls.cancel(trip, "rider-1")
    assert await read_to_end(calls.watch(trip, 2)) == [("MATCHED", 3), ("CANCELLED", 4)]
    # Opened again after the end: nothing is left to tell.
    assert await read_to_end(calls.watch(trip, 4)) == []


async def test_watch_of_an_unknown_trip_is_not_found(calls: TripCalls) -> None:
    trip = types_pb2.Trip(city_id="nyc", trip_id="no-such-trip")
    assert (await refusal(read_to_end(calls.watch(trip)))).code() is grpc.StatusCode.NOT_FOUND


async def test_watch_sees_what_another_server_changes(
    calls: TripCalls, new_trip_service: NewTripService
) -> None:
    other = await new_trip_service()
    trip = await calls.create()
    async with other.channel() as channel:
        reading = asyncio.create_task(read_to_end(TripCalls(channel).watch(trip)))
        await eventually(lambda: other.sample("hailstorm_trip_watches"), 20)
        await calls.cancel(trip, "rider-1")
        assert await asyncio.wait_for(reading, 20) == [("REQUESTED", 1), ("CANCELLED", 2)]
    await eventually(lambda: other.sample("hailstorm_trip_watches") == 0, 20)


async def test_resuming_through_a_drain_loses_and_doubles_nothing(
    new_trip_service: NewTripService, calls: TripCalls
) -> None:
    """Fifty riders watch while their trips move and their server leaves in the middle."""
    leaving = await new_trip_service()
    trips = await asyncio.gather(*(calls.create(rider_id=f"rider-{i}") for i in range(50)))

    async def ride(number: int) -> None:
        trip = await calls.offer(trips[number], f"driver-{number}")
        for method in RIDE:
            trip = await calls.drive(method, trip)

    async with leaving.channel() as channel:
        first = [asyncio.create_task(read_to_end(TripCalls(channel).watch(t))) for t in trips]
        await eventually(lambda: leaving.sample("hailstorm_trip_watches") == 50, 20)
        riding = [asyncio.create_task(ride(number)) for number in range(50)]
        await leaving.stop()
        seen = await asyncio.gather(*first)
    resumed = 0
    for told, trip in zip(seen, trips, strict=True):
        # Without a marker the stream has told the end.
        if told[-1][0] == "resume":
            resumed += 1
            _, version = told.pop()
            assert version == (told[-1][1] if told else 0)
            told += await asyncio.wait_for(read_to_end(calls.watch(trip, version)), 30)
        assert [version for _, version in told] == [1, 2, 3, 4, 5, 6]
    assert resumed > 0, "the drain met no open stream: nothing was tested"
    await asyncio.gather(*riding)


async def test_stream_opened_on_a_draining_server_is_sent_on(
    trip_service: InProcessService, calls: TripCalls
) -> None:
    trip = await calls.create()
    trip_service.lifecycle.draining.set()
    assert await read_to_end(calls.watch(trip, 1)) == [("resume", 1)]


async def test_watch_outlasts_an_absent_store(calls: TripCalls, sql: asyncpg.Connection) -> None:
    trip = await calls.create()
    reading = asyncio.create_task(read_to_end(calls.watch(trip)))
    await sql.execute("ALTER TABLE trip_events RENAME TO gone")
    assert (await refusal(calls.cancel(trip, "rider-1"))).code() is grpc.StatusCode.UNAVAILABLE
    await sql.execute("ALTER TABLE gone RENAME TO trip_events")
    await calls.cancel(trip, "rider-1")
    assert (await asyncio.wait_for(reading, 20))[-1] == ("CANCELLED", 2)


async def test_slow_reader_is_told_nothing_twice(calls: TripCalls, schema: Database) -> None:
    """The stream holds on to a change that it was given while the feed looks again and again."""
    database = TripDatabase(postgres_settings(schema), SystemClock(), CollectorRegistry())
    watches = Watches(database, SystemClock(), CollectorRegistry(), asyncio.Event(), 0.02)
    feeding = asyncio.create_task(watches.feed())
    slow, other = await calls.create(), await calls.create()
    with watches.watch(_record(slow), 0) as watch, watches.watch(_record(other), 0) as marker:
        events, marks = watch.events(), marker.events()
        told = [(await anext(events)).version]
        # The reader does not come back before the feed has looked again.
        assert (await anext(marks)).version == 1
        await calls.offer(other, "driver-1", accept=False)
        assert (await anext(marks)).version == 2
        await calls.cancel(slow, "rider-1")
        told += [trip.version async for trip in events]
        await marks.aclose()
    assert told == [1, 2]
    feeding.cancel()
    await database.close()


def _record(trip: Any) -> Trip:
    """As the servicer hands it over."""
    at = trip.requested_at.ToDatetime(tzinfo=dt.UTC)
    place = Place(trip.pickup.latitude, trip.pickup.longitude)
    return Trip(
        trip.city_id, trip.trip_id, trip.rider_id, place, place, 1.0, None, at,
        State.REQUESTED, trip.version, Move.REQUEST, at,
    )  # fmt: skip
