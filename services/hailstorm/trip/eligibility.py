"""
Whether a rider may request a trip in a city: by what this process read of both.

Both are read far more often than they change, so both are cached; how and why
so is in docs/decisions/caches-where-they-pay.md. A rider without a profile and
a city of which nothing is said are served: the tables name exceptions.
"""

from typing import Final

from hailstorm.runtime.cache import Cache, CacheMetrics, CachePolicy, Versioned
from hailstorm.runtime.clock import Clock
from hailstorm.trip.errors import CityClosedError, RiderBlockedError
from hailstorm.trip.repository import profiles
from hailstorm.trip.repository.database import Database
from hailstorm.trip.repository.profiles import City, Rider
from hailstorm.trip.settings import CacheSettings

# A busy pool must not refuse whom it let in a moment ago. With Postgres away no
# trip is stored either, so this need not be long.
STALE_SECONDS: Final = 60.0
# Nobody runs as many cities; it bounds what invented names can fill.
CITY_ENTRIES: Final = 1000
# Half of the time: a city with any requests is never waited for.
CITY_REFRESH_AHEAD: Final = 0.5


class Eligibility:
    """Knows who is blocked and which city is closed, a little late."""

    def __init__(
        self, database: Database, settings: CacheSettings, clock: Clock, metrics: CacheMetrics
    ) -> None:
        self._database = database
        self._riders: Cache[tuple[str, str], Rider] = Cache(
            "rider",
            self._load_rider,
            CachePolicy(
                size=settings.rider_entries,
                ttl_seconds=settings.rider_seconds,
                absent_seconds=settings.rider_seconds,
                stale_seconds=STALE_SECONDS,
            ),
            clock,
            metrics,
        )
        self._cities: Cache[str, City] = Cache(
            "city",
            self._load_city,
            CachePolicy(
                size=CITY_ENTRIES,
                ttl_seconds=settings.city_seconds,
                absent_seconds=settings.city_seconds,
                refresh_ahead=CITY_REFRESH_AHEAD,
                stale_seconds=STALE_SECONDS,
            ),
            clock,
            metrics,
        )

    async def check(self, city_id: str, rider_id: str) -> None:
        """Raises CityClosedError, RiderBlockedError, and what a read of the store raises."""
        city = await self._cities.get(city_id)
        if city is not None and not city.is_open:
            raise CityClosedError(city_id)
        rider = await self._riders.get((city_id, rider_id))
        if rider is not None and rider.is_blocked:
            raise RiderBlockedError(city_id, rider_id)

    async def _load_rider(self, key: tuple[str, str]) -> Versioned[Rider] | None:
        found = await profiles.rider(self._database, *key)
        return None if found is None else Versioned(found, found.version)

    async def _load_city(self, city_id: str) -> Versioned[City] | None:
        found = await profiles.city(self._database, city_id)
        return None if found is None else Versioned(found, found.version)
