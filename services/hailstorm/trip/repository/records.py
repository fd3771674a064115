"""
The records of finished trips, in `trip_history`, written by COPY.

COPY goes into a table of the session's own first, since COPY itself cannot pass
over a record that is there already: a batch may come twice.
"""

import itertools
from collections.abc import Sequence
from typing import Any, Final

from hailstorm.trip.finished import Step, course_of
from hailstorm.trip.repository.outbox import Event
from hailstorm.trip.repository.session import Transaction

_FIXED: Final = (
    "city_id",
    "trip_id",
    "rider_id",
    "surge_multiplier",
    "quote_id",
    "pickup_latitude",
    "pickup_longitude",
    "dropoff_latitude",
    "dropoff_longitude",
    "requested_at",
)
_COURSE: Final = (
    "state",
    "driver_id",
    "end_reason",
    "version",
    "offers",
    "offered_at",
    "matched_at",
    "arriving_at",
    "started_at",
    "ended_at",
)
_COLUMNS: Final = (*_FIXED, *_COURSE)

_STEPS: Final = f"""
SELECT {", ".join(f"t.{name}" for name in _FIXED)},
    e.version, e.state, e.driver_id, e.end_reason, e.occurred_at
FROM unnest($1::text[], $2::text[]) AS ended (city_id, trip_id)
JOIN trips t ON t.city_id = ended.city_id AND t.trip_id = ended.trip_id
JOIN trip_events e ON e.city_id = ended.city_id AND e.trip_id = ended.trip_id
ORDER BY e.city_id, e.trip_id, e.version
"""
# Made so, it has none of the constraints: rows are judged once.
_STAGING: Final = f"""
CREATE TEMP TABLE IF NOT EXISTS trip_history_staging ON COMMIT DELETE ROWS
AS SELECT {", ".join(_COLUMNS)} FROM trip_history WITH NO DATA
"""
_KEEP: Final = f"""
INSERT INTO trip_history ({", ".join(_COLUMNS)})
SELECT {", ".join(_COLUMNS)} FROM trip_history_staging
ON CONFLICT (city_id, trip_id) DO NOTHING
RETURNING 1
"""


async def write(transaction: Transaction, ended: Sequence[Event]) -> int:
    """
    Write the records of the trips that these final events ended.

    Returns how many are new; what is on record stays as it is, since a finished
    trip does not change.
    """
    names = [event.city_id for event in ended], [event.trip_id for event in ended]
    rows = await transaction.fetch(_STEPS, *names)
    by_trip = itertools.groupby(rows, key=lambda row: (row["city_id"], row["trip_id"]))
    records = [_record(list(versions)) for _, versions in by_trip]
    await transaction.execute(_STAGING)
    await transaction.copy("trip_history_staging", _COLUMNS, records)
    return len(await transaction.fetch(_KEEP))


def _record(versions: Sequence[Any]) -> tuple[Any, ...]:
    course = course_of(
        [
            Step(row["version"], row["state"], row["driver_id"], row["end_reason"],
                 row["occurred_at"])
            for row in versions
        ]
    )  # fmt: skip
    first = versions[0]
    return (
        *(first[name] for name in _FIXED),
        *(getattr(course, name) for name in _COURSE),
    )
