"""Files of pickups, distances, and cars that never outrun a car."""

import gzip
from pathlib import Path

import pytest

from hailstorm_loadtests.arrivals import stream
from hailstorm_loadtests.city import (
    CAR_SPEED_M_PER_S,
    PickupsError,
    Place,
    distance_m,
    move,
    read_pickups,
)
from hailstorm_loadtests.drivers import Fleet, Heading
from hailstorm_loadtests.profile import Profile

TIMES_SQUARE = Place(40.7580, -73.9855)
JFK = Place(40.6413, -73.7781)


def test_distance_is_that_of_the_map() -> None:
    # 21.8 km as the crow flies, by any map service.
    assert distance_m(TIMES_SQUARE, JFK) == pytest.approx(21_800, rel=0.01)


def test_move_goes_the_metres_and_never_past_the_target() -> None:
    assert distance_m(TIMES_SQUARE, move(TIMES_SQUARE, JFK, 500)) == pytest.approx(500, rel=0.01)
    assert move(TIMES_SQUARE, JFK, 1e6) == JFK


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_read_pickups_takes_a_users_own_file_in_order(tmp_path: Path, pack: object) -> None:
    text = b"longitude,pickup_at,latitude\n-73.9,2015-01-01T00:05:00,40.7\n-74,2015-01-01,40.8\n"
    path = tmp_path / "own.csv"
    path.write_bytes(pack(text))  # type: ignore[operator]
    assert [pickup.place.latitude for pickup in read_pickups(path)] == [40.8, 40.7]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("pickup_at,latitude\n", "lacks the columns longitude"),
        ("pickup_at,latitude,longitude\n", "holds no pickup"),
        ("pickup_at,latitude,longitude\n2014-04-01,north,-73\n", "line 2"),
        ("pickup_at,latitude,longitude\n2014-04-01,40\n", "line 2"),
        ("pickup_at,latitude,longitude\n2014-04-01,140,-73\n", "not on earth"),
    ],
)
def test_read_pickups_names_the_line_when_the_file_is_wrong(
    tmp_path: Path, text: str, complaint: str
) -> None:
    path = tmp_path / "wrong.csv"
    path.write_text(text)
    with pytest.raises(PickupsError, match=complaint):
        read_pickups(path)


def test_read_pickups_says_so_when_the_file_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "cut.csv.gz"
    path.write_bytes(gzip.compress(b"pickup_at,latitude,longitude\n" * 99)[:-9])
    with pytest.raises(PickupsError, match="cannot be read"):
        read_pickups(path)


def make_fleet() -> Fleet:
    places = [pickup.place for pickup in read_pickups()[:200]]
    ids = [f"d{i}" for i in range(25)]
    return Fleet(ids, places, 10, stream(Profile(), "t"), now=1000.0)


def test_cars_never_move_faster_than_a_car() -> None:
    fleet = make_fleet()
    before = {ping.driver_id: ping for b in range(3) for ping in fleet.pings(b, 1000.0)}
    for now in (1004.0, 1008.0, 1030.0):
        for ping in (p for b in range(3) for p in fleet.pings(b, now)):
            was = before[ping.driver_id]
            metres = distance_m(was.place, ping.place)
            # Straight in degrees is not quite straight on the globe.
            assert metres <= CAR_SPEED_M_PER_S * (now - was.observed_at) * 1.01
            assert ping.sequence == was.sequence + 1
            before[ping.driver_id] = ping
    assert len(before) == 25


def test_bound_car_drives_to_its_target_and_reports_busy() -> None:
    fleet = make_fleet()
    assert fleet.head(Heading("d3", is_busy=True, target=JFK))
    assert not fleet.head(Heading("elsewhere", is_busy=True))
    before = distance_m(fleet.pings(0, 1001.0)[3].place, JFK)
    ping = fleet.pings(0, 1101.0)[3]
    assert ping.is_busy
    assert distance_m(ping.place, JFK) == pytest.approx(before - 700, abs=5)
    fleet.head(Heading("d3", is_busy=False))
    assert not fleet.pings(0, 1102.0)[3].is_busy


def test_late_ping_is_an_old_one() -> None:
    fleet = make_fleet()
    fleet.pings(1, 1001.0)
    late = fleet.late_ping(1, share=1.0)
    assert late is not None
    fresh = {ping.driver_id: ping.sequence for ping in fleet.pings(1, 1005.0)}
    assert late.sequence == fresh[late.driver_id] - 1
    assert fleet.late_ping(1, share=0.0) is None
