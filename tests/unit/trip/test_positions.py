"""Positions of watched trips: asked for once a second, unless somebody switched it off."""

import asyncio
import datetime as dt
from typing import Any

from prometheus_client import CollectorRegistry

from hailstorm.location.v1 import location_pb2
from hailstorm.runtime.flags import FixedFlags
from hailstorm.trip.flags import TRACKING_STREAM
from hailstorm.trip.positions import Positions
from hailstorm.trip.states import Move, State
from hailstorm.trip.trips import Place, Trip
from hailstorm.trip.watches import Watch
from unit.runtime.conftest import FakeClock

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
TRIP = Trip(
    "nyc", "trip-1", "rider-1", Place(40.7, -74.0), Place(40.6, -73.8), 1.0, None, NOW,
    State.MATCHED, 3, Move.ACCEPT, NOW, driver_id="driver-1",
)  # fmt: skip


class Location:
    """Answers with the driver's position, and counts the questions."""

    asked = 0

    async def BatchGetPositions(self, request: Any, timeout: float) -> Any:
        self.asked += 1
        response = location_pb2.BatchGetPositionsResponse()
        for driver_id in request.driver_ids:
            response.positions.add(driver_id=driver_id)
        return response


async def test_flag_ends_positions_and_leaves_the_stream_open() -> None:
    clock, location, flags = FakeClock(), Location(), FixedFlags()
    watch = Watch(TRIP, TRIP.version, asyncio.Event())
    positions = Positions(location, [watch], clock, CollectorRegistry(), 1.0, flags)  # type: ignore[arg-type]
    following = asyncio.create_task(positions.follow())
    events = watch.events()
    reading = asyncio.ensure_future(anext(events))
    await clock.run(1.1)
    assert (await reading).driver_id == "driver-1"
    assert location.asked == 1

    flags.values[TRACKING_STREAM] = False
    reading = asyncio.ensure_future(anext(events))
    await clock.run(5.0)
    assert location.asked == 1
    assert not reading.done()
    # States go on being told.
    watch.tell(TRIP)
    assert await reading is TRIP

    flags.values[TRACKING_STREAM] = True
    reading = asyncio.ensure_future(anext(events))
    await clock.run(1.1)
    assert (await reading).driver_id == "driver-1"
    following.cancel()
    await events.aclose()
