"""
Two years of trips as COPY lines: pure, and the same for the same seed.

Most trips have ended and are on record; a few thousand of the last minutes are
under way, in every state that a sweep, a search or a driver looks for, and what
happened last nobody has been told of yet. Each city has riders of its own, drawn by
Zipf's law, since a few ride daily and most hardly ever. Trips come in order of
time, as their names do.
"""

import datetime as dt
import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from hailstorm.trip.trips import offer_id_of
from hailstorm_benchmarks.cities import CITIES, City, city_riders, zipf

# Shares, guesses: what ride-hailing companies tell of cancellations, and a city
# at night without a driver.
ENDS: Final[tuple[tuple[str, float], ...]] = (
    ("COMPLETED", 0.86),
    ("CANCELLED", 0.09),
    ("UNFULFILLED", 0.05),
)


YEARS: Final = dt.timedelta(days=730)
# Idempotency keys are forgotten after a day (TripsSettings.key_retention_hours).
KEY_AGE: Final = dt.timedelta(days=1)
# Seconds that a trip stays in each state, so that of those under way as many are in it:
# a search at its longest (MatchingSettings.patience_seconds), an offer until it runs out
# (TripsSettings.offer_seconds), and the middle of what the load's drivers take to react,
# to come and to drive (loadtests' riders.py).
STAYS: Final[tuple[tuple[str, float], ...]] = (
    ("REQUESTED", 45.0),
    ("OFFERED", 15.0),
    ("MATCHED", 35.0),
    ("ARRIVING", 150.0),
    ("IN_PROGRESS", 480.0),
)
LIVE_AGE: Final = dt.timedelta(seconds=sum(seconds for _, seconds in STAYS))
OFFER_TTL: Final = dt.timedelta(seconds=15)
MINUTE: Final = dt.timedelta(minutes=1)
# As after a minute without a relay, a guess; with one, half a second's events wait
# (TripsSettings.relay_milliseconds), which is hardly any.
UNTOLD_AGE: Final = MINUTE
# About one driver for thirty riders.
RIDERS_PER_DRIVER: Final = 30
NULL: Final = r"\N"

TRIP_COLUMNS: Final = (
    *("city_id", "trip_id", "rider_id", "pickup_latitude", "pickup_longitude"),
    *("dropoff_latitude", "dropoff_longitude", "surge_multiplier", "requested_at"),
    *("version", "move", "state", "driver_id", "offer_id", "offer_expires_at"),
    *("end_reason", "updated_at"),
)
EVENT_COLUMNS: Final = (
    *("city_id", "trip_id", "version", "move", "state", "driver_id", "offer_id"),
    *("offer_expires_at", "end_reason", "occurred_at", "published_at"),
)
RECORD_COLUMNS: Final = (
    *("city_id", "trip_id", "rider_id", "pickup_latitude", "pickup_longitude"),
    *("dropoff_latitude", "dropoff_longitude", "surge_multiplier", "requested_at"),
    *("state", "driver_id", "end_reason", "version", "offers", "offered_at", "matched_at"),
    *("arriving_at", "started_at", "ended_at"),
)
KEY_COLUMNS: Final = ("city_id", "scope", "key", "request_hash", "trip_id", "created_at")
RIDER_COLUMNS: Final = ("city_id", "rider_id", "display_name", "status", "version", "created_at")

# The way of a trip, as states.TABLE has it: move, state, whether a driver is bound.
_REQUESTED: Final = ("REQUEST", "REQUESTED", False)
_OFFERED: Final = (_REQUESTED, ("OFFER", "OFFERED", True))
_TAKEN: Final = (*_OFFERED, ("ACCEPT", "MATCHED", True))
# Somebody said no, and another driver is looked for.
_DECLINED: Final = (*_OFFERED, ("DECLINE", "REQUESTED", False))
_PATHS: Final = {
    "REQUESTED": (_REQUESTED,),
    "OFFERED": _OFFERED,
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
# When a trip came to these states is on its record.
_ON_RECORD: Final = ("OFFERED", "MATCHED", "ARRIVING", "IN_PROGRESS")
_END_STATES: Final = frozenset(state for state, _ in ENDS)
_REASONS: Final = {"CANCELLED": "CancelledByRider", "UNFULFILLED": "NoDriverNear"}


@dataclass(frozen=True)
class Plan:
    """
    What to make; `until` is the last moment. ValueError when it cannot be made.

    Attributes:
        riders: of all cities, each of one; at least one a city.
        live: of all trips, those that have not ended.
        events_share: of those that have, how many keep their events.
    """

    trips: int
    riders: int
    live: int
    events_share: float
    until: dt.datetime
    seed: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.live <= self.trips:
            raise ValueError(f"{self.live} of {self.trips} trips cannot be under way")
        if self.riders < len(CITIES):
            raise ValueError(f"{len(CITIES)} cities take as many riders, not {self.riders}")


@dataclass(frozen=True, slots=True)
class Lines:
    """One trip as lines of COPY's text format; records are there once it has ended."""

    trip: str
    events: tuple[str, ...]
    keys: tuple[str, ...]
    records: tuple[str, ...]


def trips(plan: Plan) -> Iterator[Lines]:
    """Every trip, oldest first."""
    source = random.Random(plan.seed)
    names, weights = [name for name, _ in ENDS], [weight for _, weight in ENDS]
    places, shares = range(len(CITIES)), [city.share for city in CITIES]
    riders_of = city_riders(plan.riders)
    drivers = max(plan.live, plan.riders // RIDERS_PER_DRIVER)
    ended = plan.trips - plan.live
    step = (YEARS - LIVE_AGE) / max(1, ended)
    for number in range(plan.trips):
        place = number - ended
        if place >= 0:
            age = LIVE_AGE * (1 - place / plan.live)
            state = _state_at(age)
            # Every other search has been declined once.
            path = _DECLINED if state == "REQUESTED" and place % 2 else _PATHS[state]
            times = [plan.until - age * (1 - done / len(path)) for done in range(len(path))]
            # One live trip a driver: the index would refuse another.
            driver = f"driver-{place:07}"
        else:
            at = plan.until - YEARS + step * number
            state = source.choices(names, weights)[0]
            path = _PATHS[state]
            times = [at + MINUTE * done for done in range(len(path))]
            driver = f"driver-{int(source.random() * drivers):07}"
        where = source.choices(places, shares)[0]
        own = riders_of[where]
        rider = f"rider-{own.start + zipf(source, len(own)):07}"
        yield _lines(plan, source, CITIES[where], rider, driver, path, times)


def riders(plan: Plan) -> Iterator[str]:
    """Every rider of every city, as lines for RIDER_COLUMNS."""
    at = _time(plan.until - YEARS)
    for city, own in zip(CITIES, city_riders(plan.riders), strict=True):
        for number in own:
            name = f"rider-{number:07}"
            yield "\t".join((city.city_id, name, f"Rider {number}", "active", "1", at)) + "\n"


Path = tuple[tuple[str, str, bool], ...]


def _state_at(age: dt.timedelta) -> str:
    """Where a trip under way stands that was requested so long ago."""
    left = age.total_seconds()
    for state, seconds in STAYS:
        if left < seconds:
            return state
        left -= seconds
    return STAYS[-1][0]


def _lines(
    plan: Plan,
    source: random.Random,
    city: City,
    rider: str,
    driver: str,
    path: Path,
    times: list[dt.datetime],
) -> Lines:
    at, stamps = times[0], [_time(moment) for moment in times]
    trip_id = _trip_id(source, at)
    move, state, has_driver = path[-1]
    reason = _REASONS.get(state, NULL)
    pickup = (city.latitude + source.gauss(0, 0.04), city.longitude + source.gauss(0, 0.04))
    dropoff = (city.latitude + source.gauss(0, 0.06), city.longitude + source.gauss(0, 0.06))
    fixed = (
        *(city.city_id, trip_id, rider, f"{pickup[0]:.6f}", f"{pickup[1]:.6f}"),
        *(f"{dropoff[0]:.6f}", f"{dropoff[1]:.6f}", "1", stamps[0]),
    )
    version, bound = str(len(path)), driver if has_driver else NULL
    offer = _offer(trip_id, len(path), state, times[-1])
    trip = "\t".join((*fixed, version, move, state, bound, *offer, reason, stamps[-1])) + "\n"
    has_ended = state in _END_STATES
    events: tuple[str, ...] = ()
    # Of those under way the history is always there, as the service would have it.
    if not has_ended or source.random() < plan.events_share:
        events = tuple(_events(plan, city, trip_id, driver, path, times))
    keys: tuple[str, ...] = ()
    if at > plan.until - KEY_AGE:
        digest = r"\\x" + source.randbytes(32).hex()
        scope, key = f"CreateTrip/{rider}", f"key-{trip_id}"
        keys = ("\t".join((city.city_id, scope, key, digest, trip_id, stamps[0])) + "\n",)
    records: tuple[str, ...] = ()
    if has_ended:
        came = {each: stamp for (_, each, _), stamp in zip(path, stamps, strict=True)}
        course = (came.get(each, NULL) for each in _ON_RECORD)
        offers = "1" if "OFFERED" in came else "0"
        record = (*fixed, state, bound, reason, version, offers, *course, stamps[-1])
        records = ("\t".join(record) + "\n",)
    return Lines(trip, events, keys, records)


def _events(
    plan: Plan, city: City, trip_id: str, driver: str, path: Path, times: list[dt.datetime]
) -> Iterator[str]:
    for version, ((move, state, is_bound), at) in enumerate(zip(path, times, strict=True), start=1):
        stamp = _time(at)
        yield (
            "\t".join(
                (
                    *(city.city_id, trip_id, str(version), move, state),
                    driver if is_bound else NULL,
                    *_offer(trip_id, version, state, at),
                    *(_REASONS.get(state, NULL), stamp),
                    stamp if at <= plan.until - UNTOLD_AGE else NULL,
                )
            )
            + "\n"
        )


def _offer(trip_id: str, version: int, state: str, at: dt.datetime) -> tuple[str, str]:
    """offer_id and offer_expires_at of that version, made then."""
    if state != "OFFERED":
        return NULL, NULL
    return offer_id_of(trip_id, version), _time(at + OFFER_TTL)


def _trip_id(source: random.Random, at: dt.datetime) -> str:
    # A UUID of version 7, as hailstorm.trip.ids makes them, but from a seed.
    milliseconds = int(at.timestamp() * 1000)
    high, low = source.getrandbits(12), source.getrandbits(62)
    return str(uuid.UUID(int=milliseconds << 80 | 7 << 76 | high << 64 | 2 << 62 | low))


def _time(at: dt.datetime) -> str:
    return at.isoformat()
