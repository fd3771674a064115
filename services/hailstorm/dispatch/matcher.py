"""
From a request on record to a bound driver, or to the fact that there is none.

Dispatch keeps nothing. If it dies between two steps, the rider's retry with the
same key finds the trip on record and goes on from where it stands; a trip that
nobody asks for again is ended by the trip service.
"""

import logging
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter

from hailstorm.dispatch.matching import choose_candidates, search_radii
from hailstorm.dispatch.neighbours import Neighbours, TripMovedOnError
from hailstorm.dispatch.settings import MatchingSettings
from hailstorm.runtime.calls import log_fields
from hailstorm.types.v1 import types_pb2

# Told to the rider as Trip.end_reason.
NO_DRIVER_NEAR: Final = "NoDriverNear"

_REQUESTED: Final = types_pb2.TRIP_STATE_REQUESTED

_log = logging.getLogger(__name__)


class Matcher:
    """Finds a driver for a rider, nearest first, in growing circles."""

    def __init__(
        self, settings: MatchingSettings, neighbours: Neighbours, registry: CollectorRegistry
    ) -> None:
        self._settings = settings
        self._neighbours = neighbours
        counter = Counter(
            "hailstorm_matches",
            "Requests answered, by what became of them.",
            ("result",),
            registry=registry,
        )
        self._bound = counter.labels(result="bound")
        self._repeated = counter.labels(result="repeated")
        self._unfulfilled = counter.labels(result="unfulfilled")

    async def request_trip(self, request: Any) -> Any:
        """
        Serve a checked RequestTripRequest; returns the Trip.

        Repeatable by its idempotency_key. Raises ServiceError.
        """
        trip = await self._neighbours.create_trip(request)
        log_fields(trip_id=trip.trip_id)
        if trip.state != _REQUESTED:
            self._repeated.inc()
            return trip
        try:
            bound = await self._bind(trip)
            if bound is not None:
                self._bound.inc()
                return bound
            ended = await self._neighbours.abandon_trip(trip, NO_DRIVER_NEAR)
        except TripMovedOnError:
            # Two attempts of one rider met here; the other one was faster.
            self._repeated.inc()
            return await self._neighbours.get_trip(trip)
        self._unfulfilled.inc()
        _log.info("no driver near", extra={"reason": NO_DRIVER_NEAR})
        return ended

    async def _bind(self, trip: Any) -> Any | None:
        settings = self._settings
        # Whom Postgres refused once is busy for minutes; asking again is waste.
        taken: set[str] = set()
        for radius_m in search_radii(
            settings.first_radius_m, settings.last_radius_m, settings.radius_growth
        ):
            for _ in range(settings.rounds_per_radius):
                # Taken drivers stay in the index until their phone says busy,
                # so as many more are asked for as are known to be taken.
                wanted = min(100, settings.candidates + len(taken))
                found = await self._neighbours.nearby(trip, radius_m, wanted)
                chosen = choose_candidates(found, taken, settings.candidates)
                if not chosen:
                    break
                offered = await self._neighbours.offer_trip(trip, chosen, settings.auto_accept)
                if offered.state != _REQUESTED:
                    return offered
                taken.update(chosen)
        return None
