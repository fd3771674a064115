"""Searches of one process: each trip once at a time."""

import asyncio
from typing import Any

from hailstorm.dispatch.searches import Searches
from hailstorm.dispatch.settings import SearchSettings
from hailstorm.trip.v1 import trip_pb2
from hailstorm.types.v1 import types_pb2
from unit.runtime.conftest import FakeClock, settle

TRIP = types_pb2.Trip(city_id="nyc", trip_id="trip-1", version=1)


class Matcher:
    """Looks that take until they are let go, and find nobody."""

    def __init__(self) -> None:
        self.looks: list[str] = []
        self.may_end = asyncio.Event()

    async def go_on(self, search: Any) -> bool:
        self.looks.append(search.trip.trip_id)
        await self.may_end.wait()
        return True


class Place:
    def __init__(self) -> None:
        self.clock, self.matcher = FakeClock(), Matcher()
        matcher: Any = self.matcher
        neighbours: Any = None
        draining = asyncio.Event()
        settings = SearchSettings()
        self.searches = Searches(settings, neighbours, matcher, draining, self.clock)


async def test_trip_whose_lease_was_over_before_the_look_is_not_looked_for_twice() -> None:
    place = Place()
    search = trip_pb2.ClaimedSearch(trip=TRIP)
    first = asyncio.create_task(place.searches._search(search))
    await settle()
    # Handed out again: it needs another look, but not now.
    assert await place.searches._search(search)
    assert place.matcher.looks == ["trip-1"]
    place.matcher.may_end.set()
    assert await first
    assert await place.searches._search(search)
    assert place.matcher.looks == ["trip-1"] * 2


async def test_rider_who_asks_again_waits_once() -> None:
    place = Place()
    for _ in range(8):
        place.searches.keep(TRIP)
    await settle()
    assert len(place.searches._kept) == 1
    other = types_pb2.Trip(city_id="nyc", trip_id="trip-2", version=1)
    place.searches.keep(other)
    assert len(place.searches._kept) == 2
    for task in place.searches._kept:
        task.cancel()
    await settle()
    # Whoever has gone may come again.
    place.searches.keep(TRIP)
    assert len(place.searches._kept) == 1
