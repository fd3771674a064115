"""A look at the market while some places cannot be searched."""

from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from hailstorm.dispatch.cells import market_cell
from hailstorm.dispatch.market import LOOKS_UNTIL_STALE, Market
from hailstorm.dispatch.settings import MarketSettings
from hailstorm.runtime.errors import ResourceExhaustedError, ServiceError, UnavailableError
from hailstorm.runtime.flags import FixedFlags
from unit.runtime.conftest import FakeClock

# A shard holds each: Manhattan, and another city.
HERE, THERE = (40.75, -73.99), (48.85, 2.35)


class Neighbours:
    """Six requests at each place, and a driver, unless the place cannot be searched."""

    def __init__(self) -> None:
        self.away: dict[str, ServiceError] = {}
        self.drivers = 1

    async def count_requests(self, _seconds: float) -> list[Any]:
        places = (("nyc", HERE), ("paris", THERE))
        return [
            SimpleNamespace(
                city_id=city,
                point=SimpleNamespace(latitude=at[0], longitude=at[1]),
                requests=6,
                unallocated=6,
            )
            for city, at in places
        ]

    async def drivers_at(self, city_id: str, *_: Any) -> list[int]:
        if city_id in self.away:
            raise self.away[city_id]
        return [0] * self.drivers


class Place:
    def __init__(self) -> None:
        self.clock, self.neighbours = FakeClock(), Neighbours()
        neighbours: Any = self.neighbours
        self.settings = MarketSettings()
        self.market = Market(
            self.settings, 2_000, neighbours, FixedFlags(), self.clock, CollectorRegistry()
        )

    def price(self, city: str) -> float:
        return self.market.multiplier(city, market_cell(*(HERE if city == "nyc" else THERE)))

    async def look(self, looks: int = 1) -> None:
        for _ in range(looks):
            await self.clock.run(self.settings.poll_milliseconds / 1000)
            await self.market.look()


async def test_one_place_that_cannot_be_searched_takes_the_price_of_no_other() -> None:
    place = Place()
    await place.look()
    assert (place.price("nyc"), place.price("paris")) == (3.0, 3.0)
    place.neighbours.away["paris"] = UnavailableError("a shard is down")
    await place.look(LOOKS_UNTIL_STALE)
    # What was counted there last is good for as long as a look is.
    assert (place.price("nyc"), place.price("paris")) == (3.0, 3.0)
    await place.look(2)
    assert (place.price("nyc"), place.price("paris")) == (3.0, 1.0)


async def test_no_place_that_can_be_searched_is_no_look() -> None:
    place = Place()
    place.neighbours.away = dict.fromkeys(("nyc", "paris"), UnavailableError("away"))
    with pytest.raises(UnavailableError):
        await place.look()


async def test_shed_look_holds_what_was_counted() -> None:
    place = Place()
    await place.look()
    place.neighbours.away["paris"] = ResourceExhaustedError("shed")
    await place.look(3 * LOOKS_UNTIL_STALE)
    assert place.price("paris") == 3.0
