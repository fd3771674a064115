"""Lists of trips and offers, in which no expired offer is shown."""

import contextlib
import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hailstorm.trip.errors import OfferNotFoundError
from hailstorm.trip.repository import dispatching, reads
from hailstorm.trip.repository.database import Database
from hailstorm.trip.repository.dispatching import RequestCount, Search
from hailstorm.trip.repository.reads import PageEnd
from hailstorm.trip.states import Move, State
from hailstorm.trip.transitions import Transitions
from hailstorm.trip.trips import Trip, parse_offer_id


@dataclass(frozen=True, slots=True)
class Page:
    """Some trips, newest first, and whether older ones follow."""

    trips: Sequence[Trip]
    has_more: bool


@dataclass(frozen=True, slots=True)
class EndedOffer:
    """An offer that is live no longer, and the move that ended it."""

    offer_id: str
    driver_id: str
    move: Move


class Queries:
    """Reads that concern more than one trip. Safe to repeat."""

    def __init__(self, database: Database, transitions: Transitions) -> None:
        self._database = database
        self._transitions = transitions

    async def offers(self, city_id: str, driver_ids: Sequence[str]) -> list[Trip]:
        """The live offers of drivers."""
        return await reads.offers(self._database, city_id, driver_ids)

    async def ended_offers(self, city_id: str, offer_ids: Iterable[str]) -> list[EndedOffer]:
        """Those of the offers that have ended; a name that no offer has is left out."""
        named: list[tuple[str, tuple[str, int]]] = []
        for offer_id in offer_ids:
            with contextlib.suppress(OfferNotFoundError):
                named.append((offer_id, parse_offer_id(offer_id, "")))
        if not named:
            return []
        found = await dispatching.ended_offers(self._database, city_id, [made for _, made in named])
        return [EndedOffer(named[each.place][0], each.driver_id, each.move) for each in found]

    async def claim_searches(
        self, at_most: int, lease: dt.timedelta, min_age: dt.timedelta
    ) -> list[Search]:
        """REQUESTED trips on which nobody works; the caller's while the lease lasts."""
        return await dispatching.claim_searches(self._database, at_most, lease, min_age)

    async def request_counts(self, window: dt.timedelta) -> list[RequestCount]:
        """The requests of the last `window`, by place."""
        return await dispatching.request_counts(self._database, window)

    async def page(
        self, city_id: str, party: str, party_id: str, after: PageEnd | None, count: int
    ) -> Page:
        """A page of the trips of a party, which is "rider_id" or "driver_id"."""
        read = reads.trips_of_rider if party == "rider_id" else reads.trips_of_driver
        # One more than asked for tells whether there is another page.
        found = await read(self._database, city_id, party_id, after, count + 1)
        shown = [
            # `current` judges by the store's time, and takes an expired offer back.
            await self._transitions.current(city_id, trip.trip_id)
            if trip.state is State.OFFERED
            else trip
            for trip in found[:count]
        ]
        return Page(shown, len(found) > count)
