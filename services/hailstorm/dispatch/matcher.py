"""
From a request on record to a bound driver, or to the fact that there is none.

Dispatch keeps nothing. If it dies between two steps, the rider's retry with the
same key finds the trip on record and goes on from where it stands; when the
rider does not come back either, another pod takes the search up (`searches`).
Whatever is chosen here, `OfferTrip` binds, and Postgres judges.
"""

import logging
from collections.abc import Callable, Set
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter

from hailstorm.dispatch.batching import Batcher, Cell
from hailstorm.dispatch.cells import matching_cell, waiting_cell
from hailstorm.dispatch.matching import choose_candidates, nearest, search_radii
from hailstorm.dispatch.neighbours import Neighbours, TripMovedOnError
from hailstorm.dispatch.settings import MatchingSettings
from hailstorm.runtime.calls import log_fields
from hailstorm.types.v1 import types_pb2

# Told to the rider as Trip.end_reason.
NO_DRIVER_NEAR: Final = "NoDriverNear"
NO_DRIVER_ACCEPTED: Final = "NoDriverAccepted"
# The most that location tells of at once.
MAX_FOUND: Final = 100

_REQUESTED: Final = types_pb2.TRIP_STATE_REQUESTED

_log = logging.getLogger(__name__)


class Matcher:
    """Finds a driver for a rider in growing circles, together with others who ask."""

    def __init__(
        self,
        settings: MatchingSettings,
        neighbours: Neighbours,
        batcher: Batcher,
        registry: CollectorRegistry,
    ) -> None:
        self._settings = settings
        self._neighbours = neighbours
        self._batcher = batcher
        self._on_offer: Callable[[Any], None] = lambda _trip: None
        self._on_wait: Callable[[Any], None] = lambda _trip: None
        counter = Counter(
            "hailstorm_matches",
            "Requests answered, by what became of them.",
            ("result",),
            registry=registry,
        )
        self._bound = counter.labels(result="bound")
        self._repeated = counter.labels(result="repeated")
        self._unfulfilled = counter.labels(result="unfulfilled")
        self._waits = counter.labels(result="waits")
        searches = Counter(
            "hailstorm_searches",
            "Searches that were taken up again, by what became of them.",
            ("result",),
            registry=registry,
        )
        results = ("bound", "moved_on", "unfulfilled", "goes_on")
        self._searches = {result: searches.labels(result=result) for result in results}

    def on_offer(self, listener: Callable[[Any], None]) -> None:
        """Call `listener` with each trip that this process has offered to a driver."""
        self._on_offer = listener

    def on_wait(self, listener: Callable[[Any], None]) -> None:
        """Call `listener` with each trip that waits because its first look found nobody."""
        self._on_wait = listener

    async def request_trip(self, request: Any, surge_multiplier: float) -> Any:
        """
        Serve a checked RequestTripRequest; returns the Trip.

        Repeatable by its idempotency_key. Raises ServiceError.
        """
        return await self._serve(await self._neighbours.create_trip(request, surge_multiplier))

    async def repeat_request(self, request: Any) -> Any | None:
        """
        Serve a RequestTripRequest whose key has made a trip before; None without one.

        Raises ServiceError.
        """
        trip = await self._neighbours.find_created(request)
        return None if trip is None else await self._serve(trip)

    async def _serve(self, trip: Any) -> Any:
        """Go on with a trip on record from where it stands; the trip after it."""
        log_fields(trip_id=trip.trip_id)
        if trip.state != _REQUESTED or trip.version > 1:
            # One that was offered before is searched for already, by `searches`,
            # which know who has passed on it.
            self._repeated.inc()
            return trip
        try:
            cell_of = matching_cell if self._batcher.takes_new_requests else None
            bound = await self._bind(trip, frozenset(), cell_of)
            if bound is not None:
                self._bound.inc()
                return bound
            if self._settings.waits_without_drivers:
                self._waits.inc()
                self._on_wait(trip)
                return trip
            ended = await self._neighbours.abandon_trip(trip, NO_DRIVER_NEAR)
        except TripMovedOnError:
            # Two attempts of one rider met here; the other one was faster.
            self._repeated.inc()
            return await self._neighbours.get_trip(trip)
        self._unfulfilled.inc()
        _log.info("no driver near", extra={"reason": NO_DRIVER_NEAR})
        return ended

    async def go_on(self, search: Any) -> bool:
        """
        Look once more for a driver for a ClaimedSearch, passing over who passed.

        Returns whether the trip needs yet another look; without a driver it ends
        when its rider's patience does. Raises ServiceError.
        """
        trip, passed = search.trip, frozenset(search.passed_driver_ids)
        try:
            if await self._bind(trip, passed, waiting_cell) is not None:
                result = "bound"
            elif self._is_worth_another_look(search):
                result = "goes_on"
            else:
                reason = NO_DRIVER_ACCEPTED if passed else NO_DRIVER_NEAR
                await self._neighbours.abandon_trip(trip, reason)
                result = "unfulfilled"
        except TripMovedOnError:
            result = "moved_on"
        self._searches[result].inc()
        return result == "goes_on"

    def _is_worth_another_look(self, search: Any) -> bool:
        if not search.passed_driver_ids and not self._settings.waits_without_drivers:
            # Nobody was ever near: told at once, as the request itself would have been.
            return False
        age_seconds: float = search.age.ToTimedelta().total_seconds()
        return age_seconds < self._settings.patience_seconds

    async def _bind(
        self, trip: Any, passed: Set[str], cell_of: Callable[[float, float], int] | None
    ) -> Any | None:
        """Offer the trip; None without a free driver. Without `cell_of`, alone and at once."""
        settings = self._settings
        cell: Cell | None = None
        if cell_of is not None:
            cell = (trip.city_id, cell_of(trip.pickup.latitude, trip.pickup.longitude))
            self._batcher.expect(cell)
        # Whom Postgres refused once is busy for minutes; asking again is waste.
        taken = set(passed)
        for radius_m in search_radii(
            settings.first_radius_m, settings.last_radius_m, settings.radius_growth
        ):
            for look in range(settings.rounds_per_radius):
                # Taken drivers stay in the index until their phone says busy,
                # so as many more are asked for as are known to be taken.
                wanted = min(MAX_FOUND, settings.candidates + len(taken))
                found = await self._neighbours.nearby(trip, radius_m, wanted)
                if look == 0 and cell is not None:
                    free = nearest(found, taken, settings.candidates)
                    choice = await self._batcher.choose(
                        cell, trip.trip_id, free, settings.candidates
                    )
                    chosen = choice.driver_ids
                    # Others are about to have them; looking further, they would only be in the way.
                    taken |= choice.kept_for_others
                    if free and not chosen and choice.kept_for_others:
                        # All ten of a crowd's nearest are others'; the next ten may be free.
                        continue
                else:
                    # Alone, or those chosen for us were taken meanwhile: no second wait.
                    chosen = choose_candidates(found, taken, settings.candidates)
                if not chosen:
                    break
                offered = await self._neighbours.offer_trip(trip, chosen, settings.auto_accept)
                if offered.state != _REQUESTED:
                    self._on_offer(offered)
                    return offered
                taken.update(chosen)
        return None
