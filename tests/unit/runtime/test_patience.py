"""A time-out in time that the loop turned, and the breaker behind it."""

import asyncio
import time
from typing import Any

import pytest

from hailstorm.runtime.breaker import Breaker
from hailstorm.runtime.patience import SLICE_SECONDS, patiently


async def test_work_that_ends_in_time_is_left_alone() -> None:
    async with patiently(5):
        await asyncio.sleep(0)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_work_that_never_ends_is_timed_out() -> None:
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        async with patiently(0.1):
            await asyncio.Event().wait()
    assert time.monotonic() - started >= 0.1
    # The task can go on; nothing of the cancellation is left.
    await asyncio.sleep(0)


async def test_answer_that_came_while_the_loop_stood_still_is_taken() -> None:
    answer = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(stand_still_and_answer, answer)
    async with patiently(0.1):
        assert await answer == "here"


async def test_plain_timeout_would_have_thrown_that_answer_away() -> None:
    """The proof that the test above could fail."""
    answer = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(stand_still_and_answer, answer)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await answer


def stand_still_and_answer(answer: Any) -> None:
    """Hold the loop for thrice the time-out; the answer is read a turn later, as from a socket."""
    time.sleep(0.3)
    loop = asyncio.get_running_loop()
    loop.call_soon(loop.call_soon, answer.set_result, "here")


async def test_cancellation_by_somebody_else_stays_one() -> None:
    async def work() -> None:
        async with patiently(5):
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_inner_and_outer_timeout_do_not_mix() -> None:
    with pytest.raises(TimeoutError):
        async with patiently(SLICE_SECONDS * 2), patiently(5):
            await asyncio.Event().wait()


async def test_breaker_opens_after_failures_in_a_row_and_lets_one_probe(clock: Any) -> None:
    breaker = Breaker(clock, failures=2, open_seconds=1)
    breaker.failed()
    breaker.answered()
    breaker.failed()
    assert breaker.allows()
    breaker.failed()
    assert not breaker.allows()
    await clock.run(1)
    assert breaker.allows()
    assert not breaker.allows()
    breaker.failed()
    await clock.run(0.9)
    assert not breaker.allows()
    await clock.run(0.1)
    assert breaker.allows()
    breaker.gave_up()
    assert breaker.allows()
    breaker.answered()
    assert breaker.allows()
    assert breaker.allows()
