"""
What the trip service promises, written a second time and as simply as can be.

One dictionary for everything, no table, no store, no retries: property tests
do the same thing to the service and to this, and hold the answers together.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from hailstorm.runtime.errors import ServiceError
from hailstorm.trip.errors import (
    NotYoursError,
    OfferNotFoundError,
    OfferOverError,
    TripNotFoundError,
    VersionChangedError,
    WrongStateError,
)

Outcome = type[ServiceError] | tuple[str, int, str | None]

AFTER_DRIVE = {
    "APPROACH": ("MATCHED", "ARRIVING"),
    "START": ("ARRIVING", "IN_PROGRESS"),
    "COMPLETE": ("IN_PROGRESS", "COMPLETED"),
}
HOLDING = ("OFFERED", "MATCHED", "ARRIVING", "IN_PROGRESS")


@dataclass
class Offer:
    """An offer that was made; `end` is what became of it, None while it is live."""

    driver: str
    expires: float
    end: str | None = None


@dataclass
class ModelTrip:
    """A trip: what its rider sees, and the offers it has made, by version."""

    rider: str
    state: str = "REQUESTED"
    version: int = 1
    driver: str | None = None
    offers: dict[int, Offer] = field(default_factory=dict)

    @property
    def seen(self) -> tuple[str, int, str | None]:
        """State, version and driver."""
        return self.state, self.version, self.driver


class Model:
    """All trips, by number in order of their request. `now` is seconds, set by the test."""

    def __init__(self) -> None:
        self.trips: list[ModelTrip] = []
        self.now = 0.0

    def live_offers(self) -> list[tuple[int, int, Offer]]:
        """(trip, version, offer) of those that may still be answered."""
        return [
            (number, version, offer)
            for number, trip in enumerate(self.trips)
            for version, offer in trip.offers.items()
            if offer.end is None and offer.expires > self.now
        ]

    def accepted_offers(self) -> list[tuple[int, int, Offer]]:
        """(trip, version, offer) of those that were, whatever their trip did afterwards."""
        return [
            (number, version, offer)
            for number, trip in enumerate(self.trips)
            for version, offer in trip.offers.items()
            if offer.end == "ACCEPT"
        ]

    def next_move(self, number: int) -> tuple[str, str] | None:
        """What the trip's driver does next, and who that is; None without one."""
        trip = self.trips[number]
        for move, (before, _) in AFTER_DRIVE.items():
            if trip.state == before and trip.driver is not None:
                return move, trip.driver
        return None

    def create(self, rider: str) -> Outcome:
        self.trips.append(ModelTrip(rider))
        return self.trips[-1].seen

    def get(self, number: int) -> Outcome:
        if number >= len(self.trips):
            return TripNotFoundError
        return self._fresh(number).seen

    def offer(self, number: int, drivers: Sequence[str], ttl: float, auto: bool) -> Outcome:
        """The first driver whom nothing holds; an offer that is over holds nobody."""
        trip = self._fresh(number)
        if trip.state != "REQUESTED":
            return WrongStateError
        for driver in drivers:
            held = [n for n, t in enumerate(self.trips) if self._holds(t, driver)]
            if any(self._fresh(n).state in HOLDING for n in held):
                continue
            self._move(trip, "OFFERED", driver)
            trip.offers[trip.version] = Offer(driver, self.now + ttl)
            if auto:
                self._end_offer(trip, "ACCEPT")
                self._move(trip, "MATCHED", driver)
            return trip.seen
        return trip.seen

    def answer(self, number: int, version: int, driver: str, accepts: bool) -> Outcome:
        trip = self._fresh(number)
        made = trip.offers.get(version)
        if made is None or made.driver != driver:
            return OfferNotFoundError
        if made.end is None:
            self._end_offer(trip, "ACCEPT" if accepts else "DECLINE")
            self._move(trip, *(("MATCHED", driver) if accepts else ("REQUESTED", None)))
            return trip.seen
        was_accepted = accepts and made.end == "ACCEPT"
        if was_accepted and trip.state not in ("CANCELLED", "UNFULFILLED"):
            return trip.seen
        return OfferOverError

    def drive(self, number: int, move: str, driver: str, version: int | None) -> Outcome:
        trip = self._fresh(number)
        if trip.driver is not None and trip.driver != driver:
            return NotYoursError
        if version is not None and version != trip.version:
            return VersionChangedError
        before, after = AFTER_DRIVE[move]
        if trip.state != before:
            return WrongStateError
        self._move(trip, after, trip.driver)
        return trip.seen

    def cancel(self, number: int, actor: str, version: int | None) -> Outcome:
        trip = self._fresh(number)
        asked = trip.state == "OFFERED"
        if actor not in (trip.rider, None if asked else trip.driver):
            return NotYoursError
        if version is not None and version != trip.version:
            return VersionChangedError
        if trip.state in ("IN_PROGRESS", "COMPLETED", "CANCELLED", "UNFULFILLED"):
            return WrongStateError
        self._end_offer(trip, "CANCEL")
        # Who never said yes was never bound.
        bound = trip.driver if trip.state in ("MATCHED", "ARRIVING") else None
        self._move(trip, "CANCELLED", bound)
        return trip.seen

    def abandon(self, number: int, version: int | None) -> Outcome:
        trip = self._fresh(number)
        if trip.state == "UNFULFILLED":
            return trip.seen
        if version is not None and version != trip.version:
            return VersionChangedError
        if trip.state not in ("REQUESTED", "OFFERED"):
            return WrongStateError
        self._end_offer(trip, "ABANDON")
        self._move(trip, "UNFULFILLED", None)
        return trip.seen

    def sweep(self) -> None:
        """Every offer that is over is taken back."""
        for number in range(len(self.trips)):
            self._fresh(number)

    def _fresh(self, number: int) -> ModelTrip:
        """The trip; whoever looks takes back an offer that is over."""
        trip = self.trips[number]
        if trip.state == "OFFERED" and trip.offers[trip.version].expires <= self.now:
            self._end_offer(trip, "EXPIRE")
            self._move(trip, "REQUESTED", None)
        return trip

    def _holds(self, trip: ModelTrip, driver: str) -> bool:
        return trip.state in HOLDING and trip.driver == driver

    def _end_offer(self, trip: ModelTrip, how: str) -> None:
        if trip.state == "OFFERED":
            trip.offers[trip.version].end = how

    def _move(self, trip: ModelTrip, state: str, driver: str | None) -> None:
        trip.state, trip.driver, trip.version = state, driver, trip.version + 1
