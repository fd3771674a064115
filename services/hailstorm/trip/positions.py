"""
Where the drivers of watched trips are: one question a second and city.

Positions are a courtesy: when the location service is away the streams go on
telling states, and a counter says that positions are missing.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Final

import grpc
from prometheus_client import CollectorRegistry, Counter

from hailstorm.location.v1 import location_pb2
from hailstorm.runtime.clock import Clock
from hailstorm.runtime.flags import Flags
from hailstorm.trip.flags import TRACKING_STREAM
from hailstorm.trip.states import ACCEPTED
from hailstorm.trip.v1 import trip_pb2
from hailstorm.trip.watches import Watch, Watches

# The most that BatchGetPositions takes.
MAX_DRIVERS: Final = 500
# An answer that comes later is overtaken by the next one.
TIMEOUT_SECONDS: Final = 0.8

_log = logging.getLogger(__name__)


class Positions:
    """Tells watches where their drivers are. `location` is a LocationServiceStub."""

    def __init__(
        self,
        location: Any,
        watches: Watches,
        clock: Clock,
        registry: CollectorRegistry,
        period_seconds: float,
        flags: Flags,
    ) -> None:
        self._location = location
        self._watches = watches
        self._clock = clock
        self._period_seconds = period_seconds
        self._flags = flags
        self._failures = Counter(
            "hailstorm_trip_position_failures",
            "Questions for drivers' positions that were not answered.",
            registry=registry,
        )
        self._is_answered = True

    async def follow(self) -> None:
        """Ask once a period for as long as the process lives."""
        while True:
            await self._clock.sleep(self._period_seconds)
            if not self._flags.boolean(TRACKING_STREAM, True):
                continue
            cities: dict[str, dict[str, list[Watch]]] = {}
            for watch in self._watches:
                trip = watch.trip
                if trip.state in ACCEPTED and trip.driver_id is not None:
                    drivers = cities.setdefault(trip.city_id, {})
                    drivers.setdefault(trip.driver_id, []).append(watch)
            await asyncio.gather(*(self._ask(city, drivers) for city, drivers in cities.items()))

    async def _ask(self, city_id: str, drivers: dict[str, list[Watch]]) -> None:
        driver_ids = list(drivers)
        for start in range(0, len(driver_ids), MAX_DRIVERS):
            for position in await self._positions(city_id, driver_ids[start : start + MAX_DRIVERS]):
                told = trip_pb2.DriverPosition(
                    driver_id=position.driver_id,
                    point=position.point,
                    observed_at=position.observed_at,
                )
                for watch in drivers.get(position.driver_id, ()):
                    watch.tell_position(told)

    async def _positions(self, city_id: str, driver_ids: Sequence[str]) -> Sequence[Any]:
        request = location_pb2.BatchGetPositionsRequest(city_id=city_id, driver_ids=driver_ids)
        try:
            response = await self._location.BatchGetPositions(request, timeout=TIMEOUT_SECONDS)
        except grpc.aio.AioRpcError as error:
            self._failures.inc()
            if self._is_answered:
                # Once for each outage; the counter has the rest.
                _log.warning("no positions for watched trips: %s", error.details())
            self._is_answered = False
            return ()
        self._is_answered = True
        positions: Sequence[Any] = response.positions
        return positions
