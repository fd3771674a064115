"""
The city that the load lives in: real pickups, drawn dropoffs, cars that move.

Places come from the records (`data/README.md`). What the records lack is drawn
from a seeded stream, so that a run can be repeated. Cars move at the speed of
cars: the location service refuses positions that no car could have reached,
and load that is refused at the border measures nothing.
"""

import csv
import datetime as dt
import gzip
import io
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

EARTH_RADIUS_M: Final = 6_371_008.8
# 25 km/h; the mean of Manhattan's taxis lies near 12 km/h, that of its
# bridges and avenues at night near 40. A guess between the two.
CAR_SPEED_M_PER_S: Final = 7.0
# The length at which the likelihood of a dropoff has fallen to a third.
# A guess: New York's median taxi ride is about 2.6 km.
RIDE_SCALE_M: Final = 3_000.0
# No ride is shorter: a rider does not order a car to the next corner. A guess.
RIDE_MIN_M: Final = 500.0
# How many places are looked at for one dropoff. Enough that a near one is
# among them from nearly everywhere, few enough to draw thousands at start.
DROPOFF_CANDIDATES: Final = 24
# An idle car drifts towards a place no further than this. A guess.
DRIFT_RADIUS_M: Final = 2_000.0
BUNDLED: Final = "nyc-pickups-2014-04.csv.gz"


class PickupsError(ValueError):
    """The file of pickups cannot be read; the message names line and cure."""


@dataclass(frozen=True)
class Place:
    """Degrees, WGS 84."""

    latitude: float
    longitude: float


@dataclass(frozen=True)
class Pickup:
    """A real pickup: local time without a zone, rounded to the minute."""

    at: dt.datetime
    place: Place


def read_pickups(path: Path | None = None) -> list[Pickup]:
    """
    Read `pickup_at,latitude,longitude`, plain or gzip; without a path, the bundled file.

    The result is in order of time. Raises PickupsError for a missing column, a
    malformed line, or a file without pickups.
    """
    name = str(path) if path else BUNDLED
    try:
        if path:
            raw = path.read_bytes()
        else:
            raw = (resources.files("hailstorm_loadtests") / "data" / BUNDLED).read_bytes()
        text = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
        rows = csv.DictReader(io.StringIO(text.decode("utf-8")))
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise PickupsError(f"{name} cannot be read: {error}") from error
    missing = {"pickup_at", "latitude", "longitude"} - set(rows.fieldnames or [])
    if missing:
        raise PickupsError(f"{name} lacks the columns {', '.join(sorted(missing))}")
    pickups = []
    for number, row in enumerate(rows, start=2):
        try:
            at = dt.datetime.fromisoformat(row["pickup_at"])
            place = Place(float(row["latitude"]), float(row["longitude"]))
        except (TypeError, ValueError) as error:
            raise PickupsError(f"{name}, line {number}: {error}") from error
        if not (abs(place.latitude) <= 90 and abs(place.longitude) <= 180):
            raise PickupsError(f"{name}, line {number}: {place} is not on earth")
        pickups.append(Pickup(at, place))
    if not pickups:
        raise PickupsError(f"{name} holds no pickup")
    pickups.sort(key=lambda pickup: pickup.at)
    return pickups


def distance_m(a: Place, b: Place) -> float:
    """Great-circle distance in metres."""
    la, lb = math.radians(a.latitude), math.radians(b.latitude)
    dla, dlo = lb - la, math.radians(b.longitude - a.longitude)
    h = math.sin(dla / 2) ** 2 + math.cos(la) * math.cos(lb) * math.sin(dlo / 2) ** 2
    return 2 * EARTH_RADIUS_M * math.asin(min(1.0, math.sqrt(h)))


def move(start: Place, target: Place, metres: float) -> Place:
    """The place after `metres` from start towards target; never past the target."""
    whole = distance_m(start, target)
    if whole <= metres or whole == 0:
        return target
    share = metres / whole
    return Place(
        start.latitude + share * (target.latitude - start.latitude),
        start.longitude + share * (target.longitude - start.longitude),
    )


def draw_dropoff(pickup: Place, places: Sequence[Place], rng: random.Random) -> Place:
    """Another pickup's place, the nearer the likelier, but no stone's throw away."""
    candidates = rng.choices(places, k=DROPOFF_CANDIDATES)
    weights = [
        math.exp(-metres / RIDE_SCALE_M) if metres >= RIDE_MIN_M else 0.0
        for metres in (distance_m(pickup, candidate) for candidate in candidates)
    ]
    if not any(weights):
        # Nothing but the very corner was drawn: go a fixed bit north instead.
        return Place(min(90.0, pickup.latitude + 0.01), pickup.longitude)
    return rng.choices(candidates, weights)[0]


def draw_drift(place: Place, places: Sequence[Place], rng: random.Random) -> Place:
    """Where an idle car heads next: a near pickup, or any when none is near."""
    candidates = rng.choices(places, k=DROPOFF_CANDIDATES)
    near = [c for c in candidates if 0 < distance_m(place, c) <= DRIFT_RADIUS_M]
    return rng.choice(near or candidates)
