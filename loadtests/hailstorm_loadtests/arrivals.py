"""
When riders come: a schedule that is fixed before the first call.

Trips replay real pickups in their order, faster than life so that they come
at the wanted rate; views arrive by a Poisson process. Everything is drawn from
streams named after the seed and what they are for, so the schedule does not
depend on how many workers share it, and one more draw here moves nothing there.
"""

import datetime as dt
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hailstorm_loadtests.city import Pickup, Place, draw_dropoff
from hailstorm_loadtests.profile import Profile, ProfileError
from hailstorm_loadtests.shapes import parse_shape

# The records are rounded to the minute; the second is drawn.
RECORD_SECONDS = 60.0


@dataclass(frozen=True)
class TripArrival:
    """A rider who asks for a trip, `due` seconds after demand starts."""

    index: int
    due: float
    pickup: Place
    dropoff: Place


@dataclass(frozen=True)
class ViewArrival:
    """A rider who looks at the map, `due` seconds after demand starts."""

    index: int
    due: float
    place: Place


@dataclass(frozen=True)
class Schedule:
    """All arrivals of a run in order of time, and how they were made."""

    trips: tuple[TripArrival, ...]
    views: tuple[ViewArrival, ...]
    # Every place of the replayed window, for cars to drift towards.
    places: tuple[Place, ...]
    # Real seconds that pass in one second of the run.
    replay_speed: float


def stream(profile: Profile, *names: object) -> random.Random:
    """The seeded random stream of that name."""
    return random.Random(":".join(map(str, (profile.seed, *names))))


def make_schedule(profile: Profile, pickups: Sequence[Pickup]) -> Schedule:
    """
    Lay out every arrival; raises ProfileError when the records do not suffice.

    Deterministic: the same profile and pickups give the same schedule.
    """
    shape = parse_shape(profile.shape)
    # Seconds of demand at multiplier 1 that the shape amounts to.
    area = shape.area(profile.duration_seconds)
    wanted = round(profile.trips_per_minute / 60 * area)
    window = _window(profile, pickups, wanted)
    rng = stream(profile, "seconds")
    moments = sorted(
        ((pickup.at - window[0].at).total_seconds() + rng.uniform(0, RECORD_SECONDS), number)
        for number, pickup in enumerate(window)
    )
    real_seconds = moments[-1][0] - moments[0][0] or RECORD_SECONDS
    speed = real_seconds / area
    places = tuple(pickup.place for pickup in window)
    trips = []
    for index, (moment, number) in enumerate(moments):
        # The last one falls on the very end of the run; half a gap earlier
        # keeps every arrival inside.
        due = shape.due((moment - moments[0][0]) / speed * (1 - 0.5 / len(moments)))
        pickup = window[number].place
        dropoff = draw_dropoff(pickup, places, stream(profile, "dropoff", index))
        trips.append(TripArrival(index, due, pickup, dropoff))
    views = []
    rng = stream(profile, "views")
    for index, u in enumerate(poisson(profile.views_per_second, area, rng)):
        views.append(ViewArrival(index, shape.due(u), rng.choice(places)))
    return Schedule(tuple(trips), tuple(views), places, speed)


def _window(profile: Profile, pickups: Sequence[Pickup], wanted: int) -> list[Pickup]:
    """The `wanted` real pickups from the window's start on."""
    start = dt.datetime.fromisoformat(profile.window_start)
    window = [pickup for pickup in pickups if pickup.at >= start][: max(wanted, 1)]
    if wanted < 1:
        raise ProfileError(
            f"{profile.trips_per_minute} trips/min over this shape and time are no trip at all"
        )
    if len(window) < wanted:
        raise ProfileError(
            f"from {profile.window_start} on the records hold {len(window)} pickups, "
            f"{wanted} are wanted: start the window earlier or ask for fewer"
        )
    return window


def poisson(rate: float, seconds: float, rng: random.Random) -> Iterator[float]:
    """The moments of a Poisson process with `rate` a second, up to `seconds`."""
    if rate <= 0:
        return
    moment = rng.expovariate(rate)
    while moment < seconds:
        yield moment
        moment += rng.expovariate(rate)


def ping_moments(batch: int, batches: int, ping_seconds: float, end: float) -> Iterator[float]:
    """
    When the batch of that number reports: every `ping_seconds`, evenly spread.

    Fixed gaps, as phones have timers; `end` is exclusive.
    """
    moment = batch * ping_seconds / batches
    beat = 0
    while moment < end:
        yield moment
        beat += 1
        moment = batch * ping_seconds / batches + beat * ping_seconds
