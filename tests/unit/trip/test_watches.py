"""What one stream of a trip tells, and that nothing follows the end."""

import asyncio
from types import SimpleNamespace
from typing import Any

from hailstorm.trip import trips
from hailstorm.trip.states import Move
from hailstorm.trip.watches import Watch
from unit.trip.test_trips import NOON, matched


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
