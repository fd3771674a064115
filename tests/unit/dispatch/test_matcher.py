"""A crowd at one spot, and more drivers beside it than one look tells of."""

import asyncio
from typing import Any

from prometheus_client import CollectorRegistry

from hailstorm.dispatch.batching import Batcher
from hailstorm.dispatch.cells import waiting_cell
from hailstorm.dispatch.matcher import Matcher
from hailstorm.dispatch.matching import Candidate
from hailstorm.dispatch.settings import BatchSettings, MatchingSettings
from hailstorm.runtime.clock import SystemClock
from hailstorm.runtime.flags import FixedFlags
from hailstorm.trip.v1 import trip_pb2
from hailstorm.types.v1 import types_pb2

CROWD, DRIVERS = 50, 100
SPOT = (40.75, -73.99)


class Neighbours:
    """Drivers in a row, and a store that binds each once."""

    def __init__(self) -> None:
        self.bound: set[str] = set()
        self.abandoned = 0

    async def nearby(self, _trip: Any, _radius_m: int, wanted: int) -> list[Candidate]:
        return [Candidate(f"driver-{n:03}", 10.0 * n) for n in range(min(wanted, DRIVERS))]

    async def offer_trip(self, trip: Any, chosen: list[str], _auto_accept: bool) -> Any:
        free = [driver for driver in chosen if driver not in self.bound]
        if not free:
            return trip
        self.bound.add(free[0])
        matched = types_pb2.Trip()
        matched.CopyFrom(trip)
        matched.state = types_pb2.TRIP_STATE_MATCHED
        return matched

    async def abandon_trip(self, trip: Any, _reason: str) -> Any:
        self.abandoned += 1
        return trip


async def test_crowd_at_one_spot_gets_the_drivers_behind_the_nearest_ten() -> None:
    neighbours = Neighbours()
    registry = CollectorRegistry()
    batches = BatchSettings(shortest_milliseconds=20, longest_milliseconds=50)
    batcher = Batcher(batches, SystemClock(), FixedFlags(), registry)
    fake: Any = neighbours
    matcher = Matcher(MatchingSettings(), fake, batcher, registry)
    # So many have come in this very moment that a window opens.
    for _ in range(300):
        batcher.expect(("nyc", waiting_cell(*SPOT)))
    searches = []
    for number in range(CROWD):
        trip = types_pb2.Trip(
            city_id="nyc", trip_id=f"trip-{number}", state=types_pb2.TRIP_STATE_REQUESTED, version=1
        )
        trip.pickup.latitude, trip.pickup.longitude = SPOT
        searches.append(trip_pb2.ClaimedSearch(trip=trip))
    await asyncio.gather(*(matcher.go_on(search) for search in searches))
    # One window alone told most of them of ten drivers, who were all others'.
    assert (len(neighbours.bound), neighbours.abandoned) == (CROWD, 0)
