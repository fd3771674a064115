"""
What happened to many trips since each one's own version, in one query.

Changes of one trip are serialised by its row, so versions appear in their
order: whoever asks for what follows the last version seen misses nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hailstorm.trip.repository.arrays import texts
from hailstorm.trip.repository.database import Database
from hailstorm.trip.repository.rows import event_columns, trip_of
from hailstorm.trip.trips import Trip

# Changes told at once; the rest is told by the next query. A trip has about
# five, so that this is a thousand trips that all move at the same moment.
MAX_CHANGES: Final = 5000

_CHANGES: Final = f"""
SELECT w.place, {event_columns("t", "e")}
FROM unnest($1::text[], $2::text[], $3::text[]::bigint[])
    WITH ORDINALITY AS w (city_id, trip_id, after_version, place)
JOIN trip_events e
    ON e.city_id = w.city_id AND e.trip_id = w.trip_id AND e.version > w.after_version
JOIN trips t ON t.city_id = e.city_id AND t.trip_id = e.trip_id
ORDER BY w.place, e.version
LIMIT {MAX_CHANGES}
"""


@dataclass(frozen=True, slots=True)
class Since:
    """A trip, and the last version of it that is known."""

    city_id: str
    trip_id: str
    after_version: int


async def changes(database: Database, asked: Sequence[Since]) -> list[tuple[int, Trip]]:
    """The later versions of each trip, in order, each with its place in `asked`."""
    rows = await database.fetch(
        _CHANGES,
        [since.city_id for since in asked],
        [since.trip_id for since in asked],
        texts(since.after_version for since in asked),
    )
    return [(row["place"] - 1, trip_of(row)) for row in rows]
