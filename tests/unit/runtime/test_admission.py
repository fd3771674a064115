"""Who is let in, and when the house is quiet."""

from typing import Any

import pytest

from hailstorm.runtime.admission import Admission
from hailstorm.runtime.errors import ResourceExhaustedError
from hailstorm.runtime.limits import FixedLimit
from hailstorm.runtime.priority import Priority


async def test_calls_over_the_bound_are_refused_until_one_leaves(clock: Any) -> None:
    admission = Admission(clock, max_concurrent=2, max_streams=1)
    admission.enter(is_stream=False)
    admission.enter(is_stream=False)
    with pytest.raises(ResourceExhaustedError, match="2 calls are in flight"):
        admission.enter(is_stream=False)
    admission.leave(is_stream=False)
    admission.enter(is_stream=False)
    assert admission.unary_in_flight == 2


async def test_streams_do_not_take_the_place_of_calls(clock: Any) -> None:
    admission = Admission(clock, max_concurrent=1, max_streams=1)
    admission.enter(is_stream=True)
    admission.enter(is_stream=False)
    with pytest.raises(ResourceExhaustedError, match="1 streams are open"):
        admission.enter(is_stream=True)


async def test_quiet_counts_from_the_last_arrival_and_only_when_empty(clock: Any) -> None:
    admission = Admission(clock, max_concurrent=1, max_streams=1)
    admission.enter(is_stream=False)
    await clock.run(3)
    assert admission.quiet_seconds() == 0
    admission.leave(is_stream=False)
    assert admission.quiet_seconds() == 3
    # Somebody who is refused still comes, so the news has not reached everybody.
    admission.enter(is_stream=False)
    with pytest.raises(ResourceExhaustedError):
        admission.enter(is_stream=False)
    admission.leave(is_stream=False)
    assert admission.quiet_seconds() == 0


async def test_lower_classes_leave_room_for_higher_ones(clock: Any) -> None:
    admission = Admission(clock, max_concurrent=10, max_streams=1)
    for _ in range(6):
        admission.check(False, Priority.SHEDDABLE)
        admission.enter(False, Priority.SHEDDABLE)
    with pytest.raises(ResourceExhaustedError):
        admission.check(False, Priority.SHEDDABLE)
    for _ in range(2):
        admission.check(False, Priority.NORMAL)
        admission.enter(False, Priority.NORMAL)
    with pytest.raises(ResourceExhaustedError):
        admission.enter(False, Priority.NORMAL)
    for _ in range(2):
        admission.check(False, Priority.CRITICAL)
        admission.enter(False, Priority.CRITICAL)
    with pytest.raises(ResourceExhaustedError):
        admission.check(False, Priority.CRITICAL)


async def test_fraction_of_the_limit_is_a_chance(clock: Any) -> None:
    draws = iter([0.29, 0.31])
    limit = FixedLimit(10)
    limit.value = 2.3
    admission = Admission(clock, 10, 1, limit, draw=lambda: next(draws))
    for _ in range(2):
        admission.check(False)
        admission.enter(False)
    admission.check(False)
    with pytest.raises(ResourceExhaustedError):
        admission.check(False)


async def test_highest_class_keeps_a_place_when_the_limit_is_gone(clock: Any) -> None:
    limit = FixedLimit(10)
    limit.value = 0.25
    admission = Admission(clock, 10, 1, limit, draw=lambda: 0.999)
    with pytest.raises(ResourceExhaustedError):
        admission.check(False, Priority.NORMAL)
    admission.check(False, Priority.CRITICAL)
    admission.enter(False, Priority.CRITICAL)
    with pytest.raises(ResourceExhaustedError):
        admission.check(False, Priority.CRITICAL)


async def test_streams_are_told_to_come_later_the_more_of_them_are_refused(clock: Any) -> None:
    admission = Admission(clock, max_concurrent=10, max_streams=1)
    admission.enter(True)
    for _ in range(50):
        for _ in range(20):
            with pytest.raises(ResourceExhaustedError) as told:
                admission.check(True)
        # Calls find room all the while.
        admission.check(False)
        admission.observe(0.0)
    assert told.value.retry_after_seconds == 3.0
    assert admission.pushback_seconds(Priority.CRITICAL) == pytest.approx(0.1)
