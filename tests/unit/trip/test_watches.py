"""What one stream of a trip tells, and that nothing follows the end."""

import asyncio
import datetime as dt
from types import SimpleNamespace
from typing import Any

from hailstorm.trip import trips
from hailstorm.trip.states import Move, State
from hailstorm.trip.trips import Place, Trip
from hailstorm.trip.watches import Watch

NOON = dt.datetime(2026, 7, 1, 12, tzinfo=dt.UTC)


def matched() -> Trip:
    requested = Trip(
        city_id="nyc",
        trip_id="trip-1",
        rider_id="rider-1",
        pickup=Place(40.7, -74.0),
        dropoff=Place(40.6, -73.8),
        surge_multiplier=1.0,
        quote_id=None,
        requested_at=NOON,
        state=State.REQUESTED,
        version=1,
        move=Move.REQUEST,
        updated_at=NOON,
    )
    offered = trips.decide_offer(requested, "driver-1", dt.timedelta(seconds=15), NOON)
    return trips.moved(offered, Move.ACCEPT, NOON)


async def test_no_position_follows_the_end_of_the_trip() -> None:
    trip = matched()
    watch = Watch(trip, trip.version, asyncio.Event())
    position: Any = SimpleNamespace(driver_id="driver-1")
    watch.tell_position(position)
    assert list(watch._news()) == [position]
    # Its reader is slow: the last position and the end lie there together.
    cancelled = trips.moved(trip, Move.CANCEL, NOON)
    watch.tell_position(position)
    watch.tell(cancelled)
    assert cancelled.driver_id == "driver-1"
    assert list(watch._news()) == [cancelled]
    assert watch.is_over
