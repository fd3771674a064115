"""The schedule: real pickups in their order, repeatable, and all inside the run."""

import dataclasses
import datetime as dt
import itertools
import statistics

import pytest

from hailstorm_loadtests.arrivals import make_schedule, ping_moments, poisson, stream
from hailstorm_loadtests.city import RIDE_MIN_M, distance_m, read_pickups
from hailstorm_loadtests.profile import Profile, ProfileError

PICKUPS = read_pickups()
PROFILE = Profile()


def test_bundled_pickups_are_the_records_of_the_source() -> None:
    # Figures of data/README.md.
    assert len(PICKUPS) == 33_387
    assert PICKUPS[0].at == dt.datetime(2014, 4, 1)  # noqa: DTZ001 local time of the records
    assert PICKUPS[-1].at.date() == dt.date(2014, 4, 5)
    assert PICKUPS[0].place.latitude == 40.7188


def test_trips_are_the_windows_real_pickups() -> None:
    schedule = make_schedule(PROFILE, PICKUPS)
    assert len(schedule.trips) == 270
    window = [p for p in PICKUPS if p.at >= dt.datetime.fromisoformat(PROFILE.window_start)][:270]
    assert sorted(repr(t.pickup) for t in schedule.trips) == sorted(repr(p.place) for p in window)


def test_schedule_is_the_same_when_made_again() -> None:
    assert make_schedule(PROFILE, PICKUPS) == make_schedule(PROFILE, PICKUPS)


def test_schedule_differs_when_the_seed_differs() -> None:
    other = dataclasses.replace(PROFILE, seed=1)
    assert make_schedule(other, PICKUPS).trips != make_schedule(PROFILE, PICKUPS).trips


@pytest.mark.parametrize("shape", ["steady", "step:60:2", "ramp:180:0.5:1.5"])
def test_arrivals_lie_in_order_inside_the_run(shape: str) -> None:
    profile = dataclasses.replace(PROFILE, shape=shape)
    schedule = make_schedule(profile, PICKUPS)
    for dues in ([t.due for t in schedule.trips], [v.due for v in schedule.views]):
        assert dues == sorted(dues)
        assert 0 <= dues[0] < 10
        assert profile.duration_seconds * 0.9 < dues[-1] < profile.duration_seconds


def test_views_have_the_rate_and_spread_of_a_poisson_process() -> None:
    gaps = list(poisson(50, 400, stream(PROFILE, "test")))
    gaps = [b - a for a, b in itertools.pairwise(gaps)]
    assert len(gaps) == pytest.approx(20_000, rel=0.03)
    # Exponential gaps: their deviation equals their mean. Fixed gaps have 0.
    assert statistics.stdev(gaps) == pytest.approx(statistics.mean(gaps), rel=0.05)


def test_dropoffs_favour_the_near_but_not_the_corner() -> None:
    schedule = make_schedule(PROFILE, PICKUPS)
    rides = [distance_m(trip.pickup, trip.dropoff) for trip in schedule.trips]
    uniform = [
        distance_m(a.pickup, b.pickup)
        for a, b in zip(schedule.trips, reversed(schedule.trips), strict=True)
    ]
    assert min(rides) >= RIDE_MIN_M
    assert statistics.median(rides) < 0.8 * statistics.median(uniform)


def test_pings_of_all_batches_are_spread_evenly() -> None:
    moments = sorted(m for b in range(8) for m in ping_moments(b, 8, 4.0, 8.0))
    assert moments == [i * 0.5 for i in range(16)]


def test_make_schedule_refuses_when_the_records_run_out() -> None:
    profile = dataclasses.replace(PROFILE, window_start="2014-04-05T23:50:00")
    with pytest.raises(ProfileError, match="start the window earlier"):
        make_schedule(profile, PICKUPS)
