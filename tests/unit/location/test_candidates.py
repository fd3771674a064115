"""Drivers found in a search: once each, newest ping, nearest first."""

from hailstorm.location.index.candidates import Candidates
from hailstorm.location.positions import Availability, Fix
from hailstorm.location.records import encode_member

FIX = Fix("driver-1", 5, 40.75, -73.98, 1_000, Availability.AVAILABLE)


def collected(*fixes: Fix, wanted: int = 10, radius: float = 5_000) -> Candidates:
    candidates = Candidates(40.75, -73.98, wanted, radius)
    candidates.add([encode_member(fix) for fix in fixes])
    return candidates


def test_newest_ping_of_a_driver_counts_in_any_order() -> None:
    newer = FIX._replace(sequence=6, latitude=40.751)
    for fixes in ((FIX, newer), (newer, FIX)):
        assert [each.fix for each in collected(*fixes).nearest()] == [newer]


def test_newer_ping_out_of_the_radius_takes_the_driver_out() -> None:
    gone = FIX._replace(sequence=6, latitude=41.75)
    assert collected(FIX, gone).nearest() == []


def test_nearest_come_first_and_equals_by_id() -> None:
    far = FIX._replace(driver_id="driver-0", latitude=40.76)
    twin = FIX._replace(driver_id="driver-2")
    ids = [each.fix.driver_id for each in collected(far, twin, FIX).nearest()]
    assert ids == ["driver-1", "driver-2", "driver-0"]


def test_answer_is_complete_only_when_nobody_unseen_is_nearer() -> None:
    candidates = collected(FIX, FIX._replace(driver_id="driver-2", latitude=40.752), wanted=2)
    # The second is 222 m away.
    assert not candidates.are_complete(200)
    assert candidates.are_complete(230)
    assert not collected(FIX, wanted=2).are_complete(230)
    assert collected(FIX, wanted=2).are_complete(5_001)
