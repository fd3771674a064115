"""Lists of trips and offers, in which no expired offer is shown."""

from collections.abc import Sequence
from dataclasses import dataclass

from hailstorm.trip.repository import reads
from hailstorm.trip.repository.database import Database
from hailstorm.trip.repository.reads import PageEnd
from hailstorm.trip.states import State
from hailstorm.trip.transitions import Transitions
from hailstorm.trip.trips import Trip


@dataclass(frozen=True, slots=True)
class Page:
    """Some trips, newest first, and whether older ones follow."""

    trips: Sequence[Trip]
    has_more: bool


class Queries:
    """Reads that concern more than one trip. Safe to repeat."""

    def __init__(self, database: Database, transitions: Transitions) -> None:
        self._database = database
        self._transitions = transitions

    async def offers(self, city_id: str, driver_ids: Sequence[str]) -> list[Trip]:
        """The live offers of drivers."""
        return await reads.offers(self._database, city_id, driver_ids)

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
