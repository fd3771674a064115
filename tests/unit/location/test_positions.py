"""Which pings are believed, each reason with the case next to it that passes."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hailstorm.location.positions import (
    Availability,
    Fix,
    Known,
    Ping,
    Refusal,
    decide_batch,
    decide_ping,
    drivers_to_look_up,
)
from hailstorm.location.settings import PositionSettings

NOW_MS = 1_700_000_000_000
SETTINGS = PositionSettings()
PING = Ping("driver-1", 5, 40.75, -73.98, NOW_MS, Availability.AVAILABLE)
FIX = Fix("driver-1", 5, 40.75, -73.98, NOW_MS, Availability.AVAILABLE)
# One degree north is 111.2 km.
METRE = 1 / 111_195


def decide(ping: Ping, known: Known | None = None) -> Fix | Refusal:
    return decide_ping(ping, known, NOW_MS, SETTINGS)


def test_plain_ping_is_believed() -> None:
    assert decide(PING) == FIX


@pytest.mark.parametrize(
    "ping",
    [
        PING._replace(latitude=None),
        PING._replace(longitude=None),
        PING._replace(observed_ms=None),
        PING._replace(driver_id=""),
        PING._replace(driver_id="a|b"),
        PING._replace(availability=0),
        PING._replace(availability=4),
        PING._replace(availability=-1),
    ],
)
def test_ping_with_a_missing_field_is_malformed(ping: Ping) -> None:
    assert decide(ping) is Refusal.MALFORMED


@pytest.mark.parametrize(
    ("latitude", "longitude"),
    [(90.01, 0), (0, 180.01), (math.nan, 0), (0, math.nan), (math.inf, 0), (0, -math.inf)],
)
def test_place_that_is_not_on_earth_is_impossible(latitude: float, longitude: float) -> None:
    ping = PING._replace(latitude=latitude, longitude=longitude)
    assert decide(ping) is Refusal.IMPOSSIBLE


@pytest.mark.parametrize(
    ("offset_ms", "refusal"),
    [
        (5_000, None),
        (5_001, Refusal.FUTURE),
        (-60_000, None),
        (-60_001, Refusal.TOO_OLD),
    ],
)
def test_time_must_be_about_now(offset_ms: int, refusal: Refusal | None) -> None:
    result = decide(PING._replace(observed_ms=NOW_MS + offset_ms))
    assert (result if isinstance(result, Refusal) else None) is refusal


@pytest.mark.parametrize(("sequence", "is_stale"), [(4, True), (5, True), (6, False)])
def test_sequence_must_grow(sequence: int, is_stale: bool) -> None:
    result = decide(PING._replace(sequence=sequence), Known(5, FIX))
    assert (result is Refusal.STALE) is is_stale


@pytest.mark.parametrize(
    ("metres", "seconds", "is_teleport"),
    [
        (490, 0, False),
        (510, 0, True),
        # 4 s at 70 m/s, and the jitter.
        (770, 4, False),
        (790, 4, True),
        # The phone's clock went back: it moved in no time.
        (490, -3, False),
        (510, -3, True),
    ],
)
def test_driver_moves_no_faster_than_a_car(metres: int, seconds: int, is_teleport: bool) -> None:
    before = FIX._replace(observed_ms=NOW_MS - 10_000)
    ping = PING._replace(
        sequence=6,
        latitude=40.75 + metres * METRE,
        observed_ms=NOW_MS - 10_000 + seconds * 1000,
    )
    assert (decide(ping, Known(5, before)) is Refusal.TELEPORT) is is_teleport


def test_driver_may_come_back_anywhere_after_being_offline() -> None:
    assert isinstance(decide(PING._replace(sequence=6, latitude=0.0), Known(5, None)), Fix)


def test_driver_may_go_offline_from_anywhere() -> None:
    ping = PING._replace(sequence=6, latitude=0.0, availability=Availability.OFFLINE)
    assert isinstance(decide(ping, Known(5, FIX)), Fix)


def test_batch_decides_each_ping_against_the_one_before() -> None:
    pings = [
        PING._replace(sequence=9, latitude=40.751),
        PING._replace(sequence=7),
        PING._replace(sequence=7),
        PING._replace(sequence=8, latitude=50.0),
        PING._replace(driver_id="driver-2", availability=0),
        PING._replace(driver_id="driver-3"),
    ]
    decisions = decide_batch(pings, {"driver-1": Known(6, FIX)}, NOW_MS, SETTINGS)
    assert decisions.accepted_count == 3
    assert decisions.refused == [
        (2, Refusal.STALE),
        (3, Refusal.TELEPORT),
        (4, Refusal.MALFORMED),
    ]
    assert {d: (place, fix.sequence) for d, (place, fix) in decisions.latest.items()} == {
        "driver-1": (0, 9),
        "driver-3": (5, 5),
    }


def test_only_proper_ids_are_looked_up_and_each_once() -> None:
    pings = [PING, PING, PING._replace(driver_id="x{y}"), PING._replace(driver_id="driver-2")]
    assert drivers_to_look_up(pings) == ["driver-1", "driver-2"]


pings_of_few_drivers = st.lists(
    st.builds(
        Ping,
        driver_id=st.sampled_from(["driver-1", "driver-2", ""]),
        sequence=st.integers(-3, 9),
        latitude=st.none() | st.floats(),
        longitude=st.none() | st.floats(),
        observed_ms=st.none() | st.integers(NOW_MS - 70_000, NOW_MS + 10_000),
        availability=st.integers(-1, 4),
    ),
    max_size=12,
)


@settings(max_examples=200, deadline=None)
@given(pings_of_few_drivers)
def test_batch_accounts_for_every_ping_and_repeats_as_stale(pings: list[Ping]) -> None:
    first = decide_batch(pings, {}, NOW_MS, SETTINGS)
    assert first.accepted_count + len(first.refused) == len(pings)
    known = {
        driver_id: Known(fix.sequence, None if fix.availability is Availability.OFFLINE else fix)
        for driver_id, (_, fix) in first.latest.items()
    }
    again = decide_batch(pings, known, NOW_MS, SETTINGS)
    assert again.accepted_count == 0
    assert again.latest == {}
