"""What a position on the wire says, and what it leaves out."""

from typing import Any

import pytest

from hailstorm.location.servicer import pings_of
from hailstorm.location.v1 import location_pb2


def position(**observed_at: int) -> Any:
    made = location_pb2.Position(driver_id="driver-1", sequence=7, availability=1)
    for name, value in observed_at.items():
        setattr(made.observed_at, name, value)
    return made


def read(made: Any) -> Any:
    (ping,) = pings_of([made])
    return ping


def test_whole_position_is_read_field_by_field() -> None:
    made = position(seconds=1_760_000_000, nanos=123_999_999)
    made.point.latitude, made.point.longitude = 40.75, -73.98
    assert read(made) == ("driver-1", 7, 40.75, -73.98, 1_760_000_000_123, 1)


def test_place_of_zero_degrees_is_a_place_and_a_place_left_out_is_none() -> None:
    made = position(seconds=1)
    assert (read(made).latitude, read(made).longitude) == (None, None)
    # Where the equator meets the meridian of Greenwich.
    made.point.SetInParent()
    assert (read(made).latitude, read(made).longitude) == (0.0, 0.0)


@pytest.mark.parametrize(
    "observed_at",
    [
        {},
        {"seconds": 0, "nanos": 5},
        {"seconds": -1},
        {"seconds": 253_402_300_800},
        {"seconds": 1, "nanos": -1},
        {"seconds": 1, "nanos": 1_000_000_000},
    ],
)
def test_time_that_is_none_or_left_out_is_none(observed_at: dict[str, int]) -> None:
    made = position(**observed_at)
    assert read(made).observed_ms is None
    # Asking what it says must not have made it say something.
    assert made.HasField("observed_at") is bool(observed_at)
