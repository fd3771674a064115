"""
Two years of trips as COPY lines: pure, and the same for the same seed.

Most trips have ended; a few thousand of the last hour are under way, each with
a driver of its own. Riders are drawn by Zipf's law, since a few ride daily and
most hardly ever. Trips come in order of time, as their names do.
"""

import datetime as dt
import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

# Shares, guesses: what ride-hailing companies tell of cancellations, and a city
# at night without a driver.
ENDS: Final[tuple[tuple[str, float], ...]] = (
    ("COMPLETED", 0.86),
    ("CANCELLED", 0.09),
    ("UNFULFILLED", 0.05),
)
# Name, share of all trips, centre.
CITIES: Final[tuple[tuple[str, float, float, float], ...]] = (
    ("nyc", 0.6, 40.75, -73.95),
    ("chi", 0.25, 41.88, -87.63),
    ("bos", 0.15, 42.36, -71.06),
)
YEARS: Final = dt.timedelta(days=730)
# Idempotency keys are forgotten after a day (TripsSettings.key_retention_hours).
KEY_AGE: Final = dt.timedelta(days=1)
LIVE_AGE: Final = dt.timedelta(hours=1)
# About one driver for thirty riders.
RIDERS_PER_DRIVER: Final = 30
NULL: Final = r"\N"

TRIP_COLUMNS: Final = (
    *("city_id", "trip_id", "rider_id", "pickup_latitude", "pickup_longitude"),
    *("dropoff_latitude", "dropoff_longitude", "surge_multiplier", "requested_at"),
    *("version", "move", "state", "driver_id", "end_reason", "updated_at"),
)
EVENT_COLUMNS: Final = (
    *("city_id", "trip_id", "version", "move", "state", "driver_id", "end_reason"),
    *("occurred_at", "published_at"),
)
KEY_COLUMNS: Final = ("city_id", "scope", "key", "request_hash", "trip_id", "created_at")
RIDER_COLUMNS: Final = ("city_id", "rider_id", "display_name", "status", "version", "created_at")

# The way of a trip, as states.TABLE has it: move, state, whether a driver is bound.
_REQUESTED: Final = ("REQUEST", "REQUESTED", False)
_TAKEN: Final = (_REQUESTED, ("OFFER", "OFFERED", True), ("ACCEPT", "MATCHED", True))
_PATHS: Final = {
    "MATCHED": _TAKEN,
    "ARRIVING": (*_TAKEN, ("APPROACH", "ARRIVING", True)),
    "IN_PROGRESS": (*_TAKEN, ("APPROACH", "ARRIVING", True), ("START", "IN_PROGRESS", True)),
    "COMPLETED": (
        *(*_TAKEN, ("APPROACH", "ARRIVING", True), ("START", "IN_PROGRESS", True)),
        ("COMPLETE", "COMPLETED", True),
    ),
    "CANCELLED": (*_TAKEN, ("CANCEL", "CANCELLED", True)),
    "UNFULFILLED": (_REQUESTED, ("ABANDON", "UNFULFILLED", False)),
}
_LIVE: Final = ("MATCHED", "ARRIVING", "IN_PROGRESS")
_REASONS: Final = {"CANCELLED": "CancelledByRider", "UNFULFILLED": "NoDriverNear"}


@dataclass(frozen=True)
class Plan:
    """What to make; `until` is the last moment, and `events_share` of trips keep a history."""

    trips: int
    riders: int
    live: int
    events_share: float
    until: dt.datetime
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Lines:
    """One trip as lines of COPY's text format."""

    trip: str
    events: tuple[str, ...]
    keys: tuple[str, ...]


def trips(plan: Plan) -> Iterator[Lines]:
    """Every trip, oldest first."""
    source = random.Random(plan.seed)
    names, weights = [name for name, _ in ENDS], [weight for _, weight in ENDS]
    cities, shares = [city for city, *_ in CITIES], [share for _, share, *_ in CITIES]
    where = {city: (latitude, longitude) for city, _, latitude, longitude in CITIES}
    drivers = max(plan.live, plan.riders // RIDERS_PER_DRIVER)
    step = (YEARS - LIVE_AGE) / max(1, plan.trips - plan.live)
    for number in range(plan.trips):
        place = number - (plan.trips - plan.live)
        is_live = place >= 0
        if is_live:
            at = plan.until - LIVE_AGE + LIVE_AGE * (place / plan.live)
            state = _LIVE[place % len(_LIVE)]
            # One live trip a driver: the index would refuse another.
            driver = f"driver-{place:07}"
        else:
            at = plan.until - YEARS + step * number
            state = source.choices(names, weights)[0]
            driver = f"driver-{int(source.random() * drivers):07}"
        city = source.choices(cities, shares)[0]
        rider = f"rider-{zipf(source, plan.riders):07}"
        yield _lines(plan, source, city, where[city], rider, driver, state, at)


def riders(plan: Plan) -> Iterator[str]:
    """Every rider of every city, as lines for RIDER_COLUMNS."""
    at = _time(plan.until - YEARS)
    for city, _, _, _ in CITIES:
        for number in range(plan.riders // len(CITIES)):
            yield (
                "\t".join((city, f"rider-{number:07}", f"Rider {number}", "active", "1", at)) + "\n"
            )


def zipf(source: random.Random, count: int) -> int:
    """
    A rank from 0 below `count`, drawn with weights of about 1/(rank + 1).

    The inverse of a logarithm instead of a table of a million weights.
    """
    return min(count, int((count + 1) ** source.random())) - 1


def _lines(
    plan: Plan,
    source: random.Random,
    city: str,
    centre: tuple[float, float],
    rider: str,
    driver: str,
    state: str,
    at: dt.datetime,
) -> Lines:
    trip_id = _trip_id(source, at)
    path = _PATHS[state]
    reason = _REASONS.get(state, NULL)
    move, _, has_driver = path[-1]
    # A minute a move.
    ended = _time(at + dt.timedelta(minutes=len(path) - 1))
    pickup = (centre[0] + source.gauss(0, 0.04), centre[1] + source.gauss(0, 0.04))
    dropoff = (centre[0] + source.gauss(0, 0.06), centre[1] + source.gauss(0, 0.06))
    trip = "\t".join(
        (
            *(city, trip_id, rider, f"{pickup[0]:.6f}", f"{pickup[1]:.6f}"),
            *(f"{dropoff[0]:.6f}", f"{dropoff[1]:.6f}", "1", _time(at), str(len(path))),
            *(move, state, driver if has_driver else NULL, reason, ended),
        )
    )
    # Of those under way the history is always there, as the service would have it.
    keeps_history = state in _LIVE or source.random() < plan.events_share
    events = tuple(
        "\t".join(
            (
                *(city, trip_id, str(version), each_move, each_state),
                *(driver if is_bound else NULL, reason if version == len(path) else NULL),
                *(_time(at + dt.timedelta(minutes=version - 1)),) * 2,
            )
        )
        + "\n"
        for version, (each_move, each_state, is_bound) in enumerate(path, start=1)
        if keeps_history
    )
    keys: tuple[str, ...] = ()
    if at > plan.until - KEY_AGE:
        digest = r"\\x" + source.randbytes(32).hex()
        key = f"key-{trip_id}"
        keys = ("\t".join((city, f"CreateTrip/{rider}", key, digest, trip_id, _time(at))) + "\n",)
    return Lines(trip + "\n", events, keys)


def _trip_id(source: random.Random, at: dt.datetime) -> str:
    # A UUID of version 7, as hailstorm.trip.ids makes them, but from a seed.
    milliseconds = int(at.timestamp() * 1000)
    high, low = source.getrandbits(12), source.getrandbits(62)
    return str(uuid.UUID(int=milliseconds << 80 | 7 << 76 | high << 64 | 2 << 62 | low))


def _time(at: dt.datetime) -> str:
    return at.isoformat()
