"""Reads of trips. What a decision rests on comes with the store's own time."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from hailstorm.trip.repository.database import Database
from hailstorm.trip.repository.rows import event_columns, trip_columns, trip_of
from hailstorm.trip.repository.writes import Key, key_columns
from hailstorm.trip.states import Move
from hailstorm.trip.trips import Trip


@dataclass(frozen=True, slots=True)
class Stored:
    """What is known of an idempotency key; `response` None is "the trip as it stands"."""

    request_hash: bytes
    trip_id: str
    response: bytes | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A trip, a key, and the store's time, all of one moment."""

    now: dt.datetime
    trip: Trip | None
    stored: Stored | None


@dataclass(frozen=True, slots=True)
class PageEnd:
    """Where a page of trips ends: the key of its last trip."""

    requested_at: dt.datetime
    trip_id: str


_SNAPSHOT: Final = f"""
SELECT clock_timestamp() AS now, i.request_hash, i.trip_id AS stored_trip_id, i.response,
    {trip_columns("t")}
FROM (SELECT) AS one
LEFT JOIN trips t ON t.city_id = $1 AND t.trip_id = $2
LEFT JOIN idempotency i ON i.city_id = $1 AND i.scope = $3 AND i.key = $4
"""
# The same for several; `place` says which of the questions a row answers.
_SNAPSHOTS: Final = f"""
SELECT clock_timestamp() AS now, i.request_hash, i.trip_id AS stored_trip_id, i.response,
    {trip_columns("t")}, asked.place
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[])
    WITH ORDINALITY AS asked (city_id, trip_id, scope, key, place)
LEFT JOIN trips t ON t.city_id = asked.city_id AND t.trip_id = asked.trip_id
LEFT JOIN idempotency i
    ON i.city_id = asked.city_id AND i.scope = asked.scope AND i.key = asked.key
"""
# The list of states repeats the predicate of trips_driver_live, so that it is used.
_HELD: Final = f"""
SELECT {trip_columns("t")} FROM trips t
WHERE t.city_id = $1 AND t.driver_id = ANY($2::text[])
    AND t.state IN ('OFFERED', 'MATCHED', 'ARRIVING', 'IN_PROGRESS')
"""
_OFFERS: Final = f"""
SELECT {trip_columns("t")} FROM trips t
WHERE t.city_id = $1 AND t.driver_id = ANY($2::text[])
    AND t.state = 'OFFERED' AND t.offer_expires_at > clock_timestamp()
ORDER BY t.offer_expires_at, t.trip_id
"""
_OFFER: Final = f"""
SELECT {event_columns("t", "e")} FROM trip_events e
JOIN trips t ON t.city_id = e.city_id AND t.trip_id = e.trip_id
WHERE e.city_id = $1 AND e.trip_id = $2 AND e.version IN ($3::bigint, $3::bigint + 1)
ORDER BY e.version
"""
_KEY: Final = """
SELECT request_hash, trip_id, response FROM idempotency
WHERE city_id = $1 AND scope = $2 AND key = $3
"""


def _page(party: str) -> str:
    return f"""
SELECT {trip_columns("t")} FROM trips t
WHERE t.city_id = $1 AND t.{party} = $2
    AND ($3::timestamptz IS NULL OR (t.requested_at, t.trip_id) < ($3, $4::text))
ORDER BY t.requested_at DESC, t.trip_id DESC
LIMIT $5
"""


_BY_RIDER: Final = _page("rider_id")
_BY_DRIVER: Final = _page("driver_id")


@dataclass(frozen=True, slots=True)
class Asked:
    """A trip, and a key of which is asked what is known; None asks for none."""

    city_id: str
    trip_id: str
    key: Key | None


async def snapshot(database: Database, asked: Asked) -> Any:
    """The row of a trip and of what is known of a key, for `snapshot_of`."""
    scope, name, _ = key_columns(asked.key)
    (row,) = await database.fetch(_SNAPSHOT, asked.city_id, asked.trip_id, scope, name)
    return row


async def snapshots(database: Database, asked: Sequence[Asked]) -> list[Any]:
    """The same of several in one statement, in the order asked."""
    scopes, names, _ = zip(*(key_columns(one.key) for one in asked), strict=True)
    rows = await database.fetch(
        _SNAPSHOTS,
        [one.city_id for one in asked],
        [one.trip_id for one in asked],
        scopes,
        names,
    )
    rows.sort(key=lambda row: row["place"])
    return rows


def snapshot_of(row: Any) -> Snapshot:
    """Read such a row."""
    return Snapshot(
        now=row["now"],
        trip=None if row["trip_id"] is None else trip_of(row),
        stored=None
        if row["request_hash"] is None
        else Stored(row["request_hash"], row["stored_trip_id"], row["response"]),
    )


async def stored(database: Database, city_id: str, key: Key) -> Stored | None:
    """Read what is known of the key."""
    rows = await database.fetch(_KEY, city_id, key.scope, key.key)
    return (
        Stored(rows[0]["request_hash"], rows[0]["trip_id"], rows[0]["response"]) if rows else None
    )


async def held(database: Database, city_id: str, driver_ids: Sequence[str]) -> dict[str, Trip]:
    """The trips that hold drivers, by driver; an expired offer is among them."""
    rows = await database.fetch(_HELD, city_id, list(driver_ids))
    return {row["driver_id"]: trip_of(row) for row in rows}


async def offers(database: Database, city_id: str, driver_ids: Sequence[str]) -> list[Trip]:
    """The live offers of drivers, those that end first in front."""
    rows = await database.fetch(_OFFERS, city_id, list(driver_ids))
    return [trip_of(row) for row in rows]


async def offer_history(
    database: Database, city_id: str, trip_id: str, version: int
) -> tuple[Trip | None, Move | None]:
    """The record at `version`, and the move that followed it, each None if there is none."""
    trips = [trip_of(row) for row in await database.fetch(_OFFER, city_id, trip_id, version)]
    made = next((trip for trip in trips if trip.version == version), None)
    following = next((trip.move for trip in trips if trip.version == version + 1), None)
    return made, following


async def trips_of_rider(
    database: Database, city_id: str, rider_id: str, after: PageEnd | None, count: int
) -> list[Trip]:
    """Up to `count` trips of a rider, newest first, from behind `after`."""
    return await _list(database, _BY_RIDER, city_id, rider_id, after, count)


async def trips_of_driver(
    database: Database, city_id: str, driver_id: str, after: PageEnd | None, count: int
) -> list[Trip]:
    """Up to `count` trips of a driver, newest first, from behind `after`."""
    return await _list(database, _BY_DRIVER, city_id, driver_id, after, count)


async def _list(
    database: Database, statement: str, city_id: str, party: str, after: PageEnd | None, count: int
) -> list[Trip]:
    at, trip_id = (after.requested_at, after.trip_id) if after else (None, None)
    rows = await database.fetch(statement, city_id, party, at, trip_id, count)
    return [trip_of(row) for row in rows]
