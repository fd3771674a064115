"""
What dispatch asks of many trips at once: work to do, ended offers, demand.

Dispatch keeps nothing, so who works on what must stand here: a claim is a lease
on one version of a trip. It excludes nobody from writing (the version judges
that); it only keeps two pods from doing the same search, and lets another one
take over when the first has died.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hailstorm.trip.repository.arrays import texts
from hailstorm.trip.repository.database import Database
from hailstorm.trip.repository.rows import trip_columns, trip_of
from hailstorm.trip.states import Move
from hailstorm.trip.trips import Trip

# The state repeats the predicate of trips_unanswered, so that it is used.
_CLAIM: Final = f"""
WITH due AS (
    SELECT city_id, trip_id FROM trips
    WHERE state = 'REQUESTED'
        AND (move <> 'REQUEST' OR requested_at <= clock_timestamp() - $3::interval)
        AND (search_version IS DISTINCT FROM version OR search_until <= clock_timestamp())
    ORDER BY requested_at LIMIT $1 FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE trips t SET search_version = t.version, search_until = clock_timestamp() + $2::interval
    FROM due WHERE t.city_id = due.city_id AND t.trip_id = due.trip_id
    RETURNING {trip_columns("t")}
)
SELECT c.*, clock_timestamp() - c.requested_at AS age, ARRAY(
    -- Of a trip that is REQUESTED, every offer ended without a yes.
    SELECT DISTINCT e.driver_id FROM trip_events e
    WHERE e.city_id = c.city_id AND e.trip_id = c.trip_id AND e.move = 'OFFER'
    ORDER BY e.driver_id
) AS passed
FROM claimed c ORDER BY c.requested_at, c.trip_id
"""
# The move that follows an offer is what ended it.
_ENDED: Final = """
SELECT asked.place, made.driver_id, e.move
FROM unnest($2::text[], $3::text[]::bigint[]) WITH ORDINALITY AS asked (trip_id, version, place)
JOIN trip_events made ON made.city_id = $1 AND made.trip_id = asked.trip_id
    AND made.version = asked.version
JOIN trip_events e ON e.city_id = $1 AND e.trip_id = asked.trip_id
    AND e.version = asked.version + 1
WHERE made.move = 'OFFER'
ORDER BY asked.place
"""
# clock_timestamp() may differ from row to row, so no index could be searched by it.
_COUNT: Final = """
SELECT city_id, round(pickup_latitude * 1000) AS latitude_e3,
    round(pickup_longitude * 1000) AS longitude_e3, count(*) AS requests,
    count(*) FILTER (WHERE state IN ('REQUESTED', 'UNFULFILLED')) AS unallocated
FROM trips WHERE requested_at > statement_timestamp() - $1::interval
GROUP BY 1, 2, 3
"""


@dataclass(frozen=True, slots=True)
class Search:
    """A trip to look for a driver for, who passed on it, and how old the request is."""

    trip: Trip
    passed: Sequence[str]
    age: dt.timedelta


@dataclass(frozen=True, slots=True)
class Ended:
    """An offer that has ended: its place among those asked for, its driver, and what ended it."""

    place: int
    driver_id: str
    move: Move


@dataclass(frozen=True, slots=True)
class RequestCount:
    """Requests around one place, and those that have no driver among them."""

    city_id: str
    latitude: float
    longitude: float
    requests: int
    unallocated: int


async def claim_searches(
    database: Database, batch: int, lease: dt.timedelta, min_age: dt.timedelta
) -> list[Search]:
    """Take up to `batch` REQUESTED trips on which nobody works, for the time of the lease."""
    return [
        Search(trip_of(row), row["passed"], row["age"])
        for row in await database.fetch(_CLAIM, batch, lease, min_age)
    ]


async def ended_offers(
    database: Database, city_id: str, offers: Sequence[tuple[str, int]]
) -> list[Ended]:
    """Those of the offers, each a trip and the version that made it, that have ended."""
    rows = await database.fetch(
        _ENDED, city_id, [trip_id for trip_id, _ in offers], texts(made for _, made in offers)
    )
    return [Ended(row["place"] - 1, row["driver_id"], Move(row["move"])) for row in rows]


async def request_counts(database: Database, window: dt.timedelta) -> list[RequestCount]:
    """The requests of the last `window`, by place."""
    return [
        RequestCount(
            row["city_id"],
            row["latitude_e3"] / 1000,
            row["longitude_e3"] / 1000,
            row["requests"],
            row["unallocated"],
        )
        for row in await database.fetch(_COUNT, window)
    ]
