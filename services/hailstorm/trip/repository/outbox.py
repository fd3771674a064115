"""
The outbox: events that nobody has been told of yet, taken trip by trip.

The lock of a trip is its first unpublished event. Whoever holds it has all that
follow, and whoever sees it unpublished without holding it takes nothing of that
trip. So versions leave in their order however many relays work at once, no relay
waits for another, and no row of `trips` is locked, which the calls write.
"""

import datetime as dt
from dataclasses import dataclass
from typing import Final

from hailstorm.trip.repository.session import Transaction

# Events of one trip in one batch; the rest comes with the next. A trip has about
# six, so this bounds what a trip with very many declined offers may add.
MAX_EVENTS_OF_TRIP: Final = 20

# Two relays that see the same head meet at its lock; the later one skips it, or
# looks at it again and finds it published.
# The versions of one trip are found by the primary key, whatever the planner
# believes of the backlog: statistics say that there is none, and for none, the
# index of what is unpublished looks cheaper. It was read once for each event,
# and a relay fell ever further behind (seen). `coalesce` hides that index, and a
# comparison with the least version cannot become a join as NOT EXISTS can.
_LEFT: Final = "coalesce({0}.published_at, '-infinity') = '-infinity'"
_TAKE: Final = f"""
WITH heads AS MATERIALIZED (
    SELECT e.city_id, e.trip_id, e.version FROM trip_events e
    WHERE e.published_at IS NULL AND e.version = (
        SELECT f.version FROM trip_events f
        WHERE f.city_id = e.city_id AND f.trip_id = e.trip_id AND {_LEFT.format("f")}
        ORDER BY f.version LIMIT 1)
    ORDER BY e.occurred_at
    LIMIT $1
    FOR UPDATE SKIP LOCKED
)
UPDATE trip_events e SET published_at = clock_timestamp()
FROM heads h
WHERE e.city_id = h.city_id AND e.trip_id = h.trip_id AND {_LEFT.format("e")}
    AND e.version >= h.version AND e.version < h.version + {MAX_EVENTS_OF_TRIP}
RETURNING e.city_id, e.trip_id, e.version, e.move, e.state, e.driver_id, e.end_reason,
    e.occurred_at
"""
_OLDEST: Final = """
SELECT extract(epoch FROM clock_timestamp() - occurred_at)::double precision AS age
FROM trip_events WHERE published_at IS NULL ORDER BY occurred_at LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Event:
    """
    One change of a trip.

    Words are as they are stored: a relay hands on what a newer version wrote.
    """

    city_id: str
    trip_id: str
    version: int
    move: str
    state: str
    driver_id: str | None
    end_reason: str | None
    occurred_at: dt.datetime


async def take(transaction: Transaction, trips: int) -> list[Event]:
    """
    Take the events of up to `trips` trips, the longest waiting first.

    They are published with the commit, and come again if there is none. Each
    trip's are in order of version, without a gap and after all taken before.
    """
    events = [Event(*row.values()) for row in await transaction.fetch(_TAKE, trips)]
    events.sort(key=lambda event: (event.occurred_at, event.version))
    return events


async def oldest_seconds(transaction: Transaction) -> float | None:
    """The age of the oldest unpublished event; None without one."""
    rows = await transaction.fetch(_OLDEST)
    return max(0.0, rows[0]["age"]) if rows else None
