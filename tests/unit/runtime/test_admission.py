"""Who is let in, and when the house is quiet."""

from typing import Any

import pytest

from hailstorm.runtime.admission import Admission
from hailstorm.runtime.errors import ResourceExhaustedError


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
