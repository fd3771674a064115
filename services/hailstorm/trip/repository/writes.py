"""
Writes of trips: a new one, and the next versions of one.

Effect, history and idempotency key are one statement, hence one transaction
and one round trip: either all three are there or none is. Two indexes and one
condition judge races, whatever the code before them believed:

- `version = $before`: of two changes of one trip, one finds nothing to change;
- `trips_driver_live`: of two trips for one driver, one is refused;
- `idempotency_pkey`: of two effects for one key, one is refused.
"""

import datetime as dt
import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import asyncpg

from hailstorm.trip.repository.arrays import texts
from hailstorm.trip.repository.database import Database
from hailstorm.trip.states import Move, State
from hailstorm.trip.trips import Place, Trip


@dataclass(frozen=True, slots=True)
class Key:
    """
    An idempotency key, and what it was used for.

    Attributes:
        scope: method and actor; the same key of another actor is another key.
        request_hash: of all in the request that a repetition must have equal.
    """

    scope: str
    key: str
    request_hash: bytes


@dataclass(frozen=True, slots=True)
class Request:
    """A rider's wish, before it is on record."""

    city_id: str
    trip_id: str
    rider_id: str
    pickup: Place
    dropoff: Place
    surge_multiplier: float
    quote_id: str | None


class Written(enum.Enum):
    """What became of a write. Only DONE changed anything."""

    DONE = "done"
    MOVED_ON = "moved_on"
    DRIVER_TAKEN = "driver_taken"
    KEY_TAKEN = "key_taken"


_CREATE: Final = """
WITH claim AS (
    INSERT INTO idempotency (city_id, scope, key, request_hash, trip_id, created_at)
    VALUES ($1, $2, $3, $4, $5, clock_timestamp())
    ON CONFLICT DO NOTHING
    RETURNING created_at
), trip AS (
    INSERT INTO trips (city_id, trip_id, rider_id, pickup_latitude, pickup_longitude,
        dropoff_latitude, dropoff_longitude, surge_multiplier, quote_id,
        requested_at, version, move, state, updated_at)
    SELECT $1, $5, $6, $7, $8, $9, $10, $11, $12, created_at, 1, $13, $14, created_at FROM claim
), history AS (
    INSERT INTO trip_events (city_id, trip_id, version, move, state, occurred_at)
    SELECT $1, $5, 1, $13, $14, created_at FROM claim
)
SELECT created_at FROM claim
"""

# The arrays hold one element for each new version; the row takes the last. Every array is
# sent as text[]: see `arrays`.
_ADVANCE: Final = """
WITH moved AS (
    UPDATE trips SET version = $4, move = $5, state = $6, driver_id = $7, offer_id = $8,
        offer_expires_at = $9, end_reason = $10, updated_at = $11
    WHERE city_id = $1 AND trip_id = $2 AND version = $3
    RETURNING city_id, trip_id
), history AS (
    INSERT INTO trip_events (city_id, trip_id, version, move, state, driver_id, offer_id,
        offer_expires_at, end_reason, occurred_at)
    SELECT moved.city_id, moved.trip_id, event.*
    FROM moved CROSS JOIN unnest($12::text[]::bigint[], $13::text[], $14::text[],
        $15::text[], $16::text[], $17::text[]::timestamptz[], $18::text[],
        $19::text[]::timestamptz[]) AS event
), answered AS (
    INSERT INTO idempotency (city_id, scope, key, request_hash, trip_id, response, created_at)
    SELECT moved.city_id, $20::text, $21::text, $22::bytea, moved.trip_id, $23::bytea,
        clock_timestamp()
    FROM moved WHERE $20::text IS NOT NULL
)
SELECT 1 FROM moved
"""


# The same for several trips, of each of which one version is stored. It waits for no row:
# one that somebody else holds would hold up the others, with theirs held meanwhile.
_ADVANCE_MANY: Final = """
WITH asked AS MATERIALIZED (
    SELECT asked.*, t.ctid AS found
    FROM unnest($1::text[], $2::text[], $3::text[]::bigint[], $4::text[]::bigint[],
        $5::text[], $6::text[], $7::text[], $8::text[], $9::text[]::timestamptz[], $10::text[],
        $11::text[]::timestamptz[], $12::text[], $13::text[], $14::text[]::bytea[],
        $15::text[]::bytea[])
        WITH ORDINALITY AS asked (city_id, trip_id, before, version, move, state, driver_id,
            offer_id, offer_expires_at, end_reason, updated_at, scope, key, request_hash,
            response, place)
    JOIN trips t ON t.city_id = asked.city_id AND t.trip_id = asked.trip_id
        AND t.version = asked.before
    FOR NO KEY UPDATE OF t SKIP LOCKED
), moved AS (
    UPDATE trips t SET version = asked.version, move = asked.move, state = asked.state,
        driver_id = asked.driver_id, offer_id = asked.offer_id,
        offer_expires_at = asked.offer_expires_at, end_reason = asked.end_reason,
        updated_at = asked.updated_at
    FROM asked
    WHERE t.ctid = asked.found AND t.version = asked.before
    RETURNING asked.*
), history AS (
    INSERT INTO trip_events (city_id, trip_id, version, move, state, driver_id, offer_id,
        offer_expires_at, end_reason, occurred_at)
    SELECT city_id, trip_id, version, move, state, driver_id, offer_id, offer_expires_at,
        end_reason, updated_at
    FROM moved
), answered AS (
    INSERT INTO idempotency (city_id, scope, key, request_hash, trip_id, response, created_at)
    SELECT city_id, scope, key, request_hash, trip_id, response, clock_timestamp()
    FROM moved WHERE scope IS NOT NULL
)
SELECT place FROM moved
"""


async def create(database: Database, request: Request, key: Key) -> dt.datetime | None:
    """
    Put a request on record as version 1, unless the key was used before.

    Returns when, or None for a used key. A concurrent call with the same key
    waits for the first one's end.
    """
    rows = await database.fetch(
        _CREATE,
        request.city_id,
        key.scope,
        key.key,
        key.request_hash,
        request.trip_id,
        request.rider_id,
        request.pickup.latitude,
        request.pickup.longitude,
        request.dropoff.latitude,
        request.dropoff.longitude,
        request.surge_multiplier,
        request.quote_id,
        Move.REQUEST.value,
        State.REQUESTED.value,
    )
    return rows[0]["created_at"] if rows else None


@dataclass(frozen=True, slots=True)
class Change:
    """
    What follows upon a trip: its next versions, and the answer that the key gets.

    Attributes:
        after: at least one version, each of which follows upon the one before.
    """

    before: Trip
    after: Sequence[Trip]
    key: Key | None
    response: bytes | None

    @property
    def is_plain(self) -> bool:
        """Whether it is one version that binds no driver, as nearly all are."""
        return len(self.after) == 1 and self.after[0].driver_id in (None, self.before.driver_id)


async def advances(database: Database, changes: Sequence[Change]) -> list[Written | None]:
    """
    Store plain changes in one statement, each with its history and its answer.

    Each is DONE, or None: it is not stored, and `advance` has to say why. That is so for a
    trip that has moved on or is held by somebody else; and for all of them, when Postgres
    refuses one.
    """
    events = zip(*(_event(change.after[0]) for change in changes), strict=True)
    keys = zip(*(key_columns(change.key) for change in changes), strict=True)
    try:
        rows = await database.fetch(
            _ADVANCE_MANY,
            [change.before.city_id for change in changes],
            [change.before.trip_id for change in changes],
            texts(change.before.version for change in changes),
            *(texts(column) for column in events),
            *(texts(column) for column in keys),
            texts(change.response for change in changes),
        )
    except asyncpg.PostgresError:
        return [None] * len(changes)
    done = {row["place"] for row in rows}
    return [Written.DONE if place in done else None for place in range(1, len(changes) + 1)]


async def advance(database: Database, change: Change) -> Written:
    """
    Store the versions that follow upon a trip, and the answer given.

    Changes nothing unless it returns DONE.
    """
    before = change.before
    events = [_event(trip) for trip in change.after]
    try:
        rows = await database.fetch(
            _ADVANCE,
            before.city_id,
            before.trip_id,
            before.version,
            *events[-1],
            *(texts(column) for column in zip(*events, strict=True)),
            *key_columns(change.key),
            change.response,
        )
    except asyncpg.UniqueViolationError as error:
        # Both names are the schema's; anything else is a defect.
        if error.constraint_name == "trips_driver_live":
            return Written.DRIVER_TAKEN
        if error.constraint_name == "idempotency_pkey":
            return Written.KEY_TAKEN
        raise
    except (asyncpg.DeadlockDetectedError, asyncpg.SerializationError):
        return Written.MOVED_ON
    return Written.DONE if rows else Written.MOVED_ON


def key_columns(key: Key | None) -> tuple[str | None, str | None, bytes | None]:
    """Scope, key and hash as statements take them; all None without a key."""
    return (key.scope, key.key, key.request_hash) if key else (None, None, None)


def _event(trip: Trip) -> tuple[Any, ...]:
    return (
        trip.version,
        trip.move.value,
        trip.state.value,
        trip.driver_id,
        trip.offer_id,
        trip.offer_expires_at,
        trip.end_reason,
        trip.updated_at,
    )
