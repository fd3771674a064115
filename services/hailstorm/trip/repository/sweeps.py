"""
Ends what nobody ends: offers whose time is over, requests nobody matches, old keys.

Every process sweeps. SKIP LOCKED lets them share the work instead of waiting
for each other, and the version is raised as by any other change, so that a
decision made in the meantime finds that the trip has moved on.
"""

from typing import Final

from hailstorm.trip.repository.database import Database
from hailstorm.trip.repository.rows import trip_columns, trip_of
from hailstorm.trip.states import Move, State
from hailstorm.trip.trips import Trip


def _sweep(due: str, move: Move, state: State, reason: str) -> str:
    return f"""
WITH due AS (
    SELECT city_id, trip_id FROM trips WHERE {due} LIMIT $1 FOR UPDATE SKIP LOCKED
), moved AS (
    UPDATE trips t SET version = t.version + 1, move = '{move}', state = '{state}',
        driver_id = NULL, offer_id = NULL, offer_expires_at = NULL, end_reason = {reason},
        updated_at = greatest(clock_timestamp(), t.updated_at)
    FROM due WHERE t.city_id = due.city_id AND t.trip_id = due.trip_id
    RETURNING {trip_columns("t")}
), history AS (
    INSERT INTO trip_events (city_id, trip_id, version, move, state, end_reason, occurred_at)
    SELECT city_id, trip_id, version, move, state, end_reason, updated_at FROM moved
)
SELECT * FROM moved
"""


_EXPIRE: Final = _sweep(
    "state = 'OFFERED' AND offer_expires_at <= clock_timestamp() ORDER BY offer_expires_at",
    Move.EXPIRE,
    State.REQUESTED,
    "NULL",
)
_ABANDON: Final = _sweep(
    "state = 'REQUESTED' AND requested_at <= clock_timestamp() - make_interval(secs => $2)"
    " ORDER BY requested_at",
    Move.ABANDON,
    State.UNFULFILLED,
    "'RequestAbandoned'",
)
# clock_timestamp() may differ from row to row, so no index could be searched by it:
# every look read the keys of a whole day. Rows are named by where they lie, which a
# row that is locked and never updated does not change.
_FORGET: Final = """
DELETE FROM idempotency WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM idempotency
    WHERE created_at <= statement_timestamp() - make_interval(secs => $2)
    ORDER BY created_at LIMIT $1 FOR UPDATE SKIP LOCKED
))
RETURNING 1
"""


async def expire_offers(database: Database, batch: int) -> list[Trip]:
    """Take up to `batch` expired offers back; returns the trips, REQUESTED again."""
    return [trip_of(row) for row in await database.fetch(_EXPIRE, batch)]


async def abandon_requests(database: Database, batch: int, age_seconds: float) -> list[Trip]:
    """End up to `batch` requests older than that; returns the trips, UNFULFILLED."""
    return [trip_of(row) for row in await database.fetch(_ABANDON, batch, age_seconds)]


async def forget_keys(database: Database, batch: int, age_seconds: float) -> int:
    """Delete up to `batch` keys older than that; returns how many."""
    return len(await database.fetch(_FORGET, batch, age_seconds))
