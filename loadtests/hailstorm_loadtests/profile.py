"""
What load is wanted: one frozen value, from a YAML file, flags, or the default.

Everything that bounds a run is in here, and `check` refuses what is unbounded:
load that does not stop by itself is an outage with another name.
"""

import dataclasses
import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from hailstorm_loadtests.shapes import ShapeError, parse_shape

# What one run may ask for at most. Guesses: ten times what the reference
# machine is predicted to carry (docs/capacity-plan.yaml), and a night's soak.
MAX_CALLS_PER_SECOND: Final = 7_500.0
MAX_SECONDS: Final = 43_200.0
MAX_CALLS: Final = 20_000_000


class ProfileError(ValueError):
    """The profile asks for something impossible or unbounded; lists every problem."""


@dataclass(frozen=True)
class Profile:
    """
    The default is the demand of the rolling-deploy drill.

    It is sized so that three minutes hold more than 10,000 user calls (about
    120/s) while the generator stays under a fifth of a core.
    """

    city_id: str = "nyc"
    # The first pickup replayed, local time of the records. A Friday evening:
    # the busiest hours of the file.
    window_start: str = "2014-04-04T16:00:00"
    # Seconds of demand after the warm-up; the fleet reports during both.
    duration_seconds: float = 180.0
    # The fleet reports this long before the first rider asks, so that the
    # index knows where cars are: three beats.
    warmup_seconds: float = 12.0
    trips_per_minute: float = 90.0
    shape: str = "steady"
    # NearbyDrivers calls, Poisson: riders who look and do not ask.
    views_per_second: float = 85.0
    drivers: int = 360
    # Seconds between two positions of a phone: Uber and Lyft publish 4 to 5.
    ping_seconds: float = 4.0
    positions_per_call: int = 10
    # Seconds between two looks of a rider at the trip.
    poll_seconds: float = 2.0
    # Share of riders who follow by WatchTrip instead of GetTrip.
    watch_share: float = 0.2
    # Shares, guesses: riders who call it off, taps sent twice, and batches
    # that carry an old position again.
    cancel_share: float = 0.04
    duplicate_share: float = 0.03
    late_ping_share: float = 0.05
    # Whether drivers answer offers over WatchOffers. Only where dispatch does not
    # say yes on their behalf (HAILSTORM_DISPATCH_AUTO_ACCEPT=false).
    answers_offers: bool = False
    # Shares, guesses: offers that a driver declines, and lets expire unanswered.
    decline_share: float = 0.1
    silent_share: float = 0.02
    # A ride lasts 1/time_lapse of its real length. Cars keep their real speed,
    # so a ride ends short of its dropoff.
    time_lapse: float = 20.0
    # Seconds a caller waits: above one failover (3 s, research on deadlines).
    write_deadline_seconds: float = 5.0
    read_deadline_seconds: float = 3.0
    # Trips under way at the end may finish for this long; then the run is over.
    wind_down_seconds: float = 40.0
    max_calls: int = 500_000
    # Share of trips, views and drivers together: one number that fits a load to a
    # machine. The three are read back as they came out.
    scale: float = 1.0
    seed: int = 20140404

    def calls_per_second(self) -> float:
        """What this profile comes to at multiplier 1, by its own arithmetic."""
        trips = self.trips_per_minute / 60
        polls = trips * (1 - self.watch_share) * MEAN_TRIP_SECONDS / self.poll_seconds
        positions = self.drivers / self.ping_seconds / self.positions_per_call
        return trips * WRITES_PER_TRIP + polls + positions + self.views_per_second

    def total_seconds(self) -> float:
        """From the first position to the last possible call."""
        return self.warmup_seconds + self.duration_seconds + self.wind_down_seconds


# RequestTrip, ApproachPickup, StartTrip, CompleteTrip, and one stream or fewer.
WRITES_PER_TRIP: Final = 4.2
# Mean life of a trip at the default time lapse, drawn from the default seed;
# only used for the estimate.
MEAN_TRIP_SECONDS: Final = 29.5
SHARES: Final = (
    "watch_share",
    "cancel_share",
    "duplicate_share",
    "late_ping_share",
    "decline_share",
    "silent_share",
)
POSITIVE: Final = (
    "duration_seconds",
    "trips_per_minute",
    "drivers",
    "ping_seconds",
    "positions_per_call",
    "poll_seconds",
    "time_lapse",
    "write_deadline_seconds",
    "read_deadline_seconds",
    "max_calls",
    "scale",
)


def check(profile: Profile) -> Profile:
    """Return the profile, or raise ProfileError with every problem in it."""
    problems = [f"{name} must be above 0" for name in POSITIVE if not getattr(profile, name) > 0]
    problems += [
        f"{name} must lie between 0 and 1"
        for name in SHARES
        if not 0 <= getattr(profile, name) <= 1
    ]
    if not profile.city_id:
        problems.append("city_id must not be empty")
    if profile.positions_per_call > 500:
        problems.append("positions_per_call must be at most 500, as the service takes no more")
    if min(profile.warmup_seconds, profile.wind_down_seconds, profile.views_per_second) < 0:
        problems.append("warmup_seconds, wind_down_seconds, views_per_second must not be negative")
    try:
        dt.datetime.fromisoformat(profile.window_start)
    except ValueError:
        problems.append(f"window_start {profile.window_start!r} is no ISO time")
    if problems:
        raise ProfileError("; ".join(problems))
    try:
        shape = parse_shape(profile.shape)
    except ShapeError as error:
        raise ProfileError(str(error)) from error
    peak = max(corner.multiplier for corner in shape.corners) * profile.calls_per_second()
    calls = profile.calls_per_second() * (
        shape.area(profile.duration_seconds) + profile.total_seconds() - profile.duration_seconds
    )
    if peak > MAX_CALLS_PER_SECOND:
        problems.append(f"about {peak:.0f} calls/s are more than {MAX_CALLS_PER_SECOND:.0f}")
    if profile.total_seconds() > MAX_SECONDS:
        problems.append(f"{profile.total_seconds():.0f} s are more than {MAX_SECONDS:.0f} s")
    if profile.max_calls > MAX_CALLS:
        problems.append(f"max_calls must be at most {MAX_CALLS}")
    if calls > profile.max_calls:
        problems.append(f"about {calls:.0f} calls are more than max_calls {profile.max_calls}")
    if problems:
        raise ProfileError("; ".join(problems))
    return profile


def from_mapping(values: Mapping[str, Any], base: Profile | None = None) -> Profile:
    """Put `values` over the base (the default profile) and check the whole."""
    fields = {field.name: field for field in dataclasses.fields(Profile)}
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise ProfileError(f"unknown: {', '.join(unknown)}; known: {', '.join(sorted(fields))}")
    converted: dict[str, Any] = {}
    for name, value in values.items():
        wanted = type(getattr(Profile, name))
        try:
            if wanted is int and float(value) != int(value):
                raise ValueError
            if wanted is bool and not isinstance(value, bool):
                # Any text but an empty one would be true.
                raise ValueError
            # YAML reads a bare ISO time as a datetime.
            text = value.isoformat() if isinstance(value, dt.datetime) else value
            converted[name] = wanted(text)
        except (TypeError, ValueError):
            raise ProfileError(f"{name}: {value!r} is not {wanted.__name__}") from None
    return check(dataclasses.replace(base or Profile(), **converted))


def scaled(profile: Profile) -> Profile:
    """The profile with its scale worked in, once: workers are sent what comes out."""
    return check(
        dataclasses.replace(
            profile,
            trips_per_minute=profile.trips_per_minute * profile.scale,
            views_per_second=profile.views_per_second * profile.scale,
            drivers=max(1, round(profile.drivers * profile.scale)),
        )
    )


def read_profile(path: Path) -> Profile:
    """Read a YAML mapping of the fields that differ from the default."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ProfileError(f"{path} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise ProfileError(f"{path} must hold a mapping of fields to values")
    return from_mapping(values)
