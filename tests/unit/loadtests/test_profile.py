"""Profiles are bounded, typed, and complain of everything at once."""

import dataclasses
from pathlib import Path

import pytest

from hailstorm_loadtests.profile import (
    Profile,
    ProfileError,
    check,
    from_mapping,
    read_profile,
    scaled,
)


def test_default_profile_asks_for_what_the_drill_needs() -> None:
    profile = check(Profile())
    assert profile.trips_per_minute >= 60
    assert profile.calls_per_second() >= 110
    assert profile.calls_per_second() * profile.duration_seconds >= 10_000


def test_every_problem_is_told_at_once() -> None:
    with pytest.raises(ProfileError) as told:
        from_mapping({"drivers": 0, "watch_share": 2, "positions_per_call": 501, "city_id": ""})
    for word in ("drivers", "watch_share", "positions_per_call", "city_id"):
        assert word in str(told.value)


@pytest.mark.parametrize(
    "values",
    [
        {"duration_seconds": 1e6},
        {"views_per_second": 8000},
        {"shape": "spike:10:400:5"},
        {"max_calls": 10},
        {"max_calls": 10**9},
        {"shape": "wave"},
        {"window_start": "yesterday"},
        {"driver": 5},
        {"drivers": "many"},
        {"drivers": 1.5},
    ],
)
def test_unbounded_or_unknown_wishes_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ProfileError):
        from_mapping(values)


def test_read_profile_puts_a_file_over_the_default(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("trips_per_minute: 30\nwindow_start: 2014-04-01T08:00:00\n")
    profile = read_profile(path)
    assert (profile.trips_per_minute, profile.window_start) == (30.0, "2014-04-01T08:00:00")
    assert profile.drivers == Profile().drivers


def test_read_profile_refuses_a_file_that_is_no_mapping(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("- 1\n")
    with pytest.raises(ProfileError, match="mapping"):
        read_profile(path)
    with pytest.raises(ProfileError, match="cannot be read"):
        read_profile(tmp_path / "missing.yaml")


def test_scale_fits_riders_views_and_cars_to_a_machine_once() -> None:
    half = scaled(from_mapping({"scale": 0.5}))
    assert (half.trips_per_minute, half.views_per_second, half.drivers) == (45.0, 42.5, 180)
    # What a worker is sent is read back as it is.
    assert from_mapping(dataclasses.asdict(half)) == half
    with pytest.raises(ProfileError, match="scale must be above 0"):
        from_mapping({"scale": 0})
