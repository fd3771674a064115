"""When requests wait for each other, and when they do not."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from hailstorm.dispatch.batching import Batcher
from hailstorm.dispatch.matching import Candidate, Choice
from hailstorm.dispatch.settings import BatchSettings
from hailstorm.runtime.calls import Call, enter_call
from hailstorm.runtime.flags import FixedFlags

CELL = ("nyc", 0x862A1072FFFFFFF)
NEAR = [Candidate("driver-1", 100.0), Candidate("driver-2", 300.0)]


class SteppedClock:
    """A time that moves only when the test says so; windows run on the loop's own."""

    def __init__(self) -> None:
        self.time = 1000.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("a batcher does not sleep")


class Bench:
    """A batcher with windows of a few milliseconds, and its figures."""

    def __init__(self, flags: FixedFlags | None = None, **settings: int) -> None:
        self.registry = CollectorRegistry()
        self.clock = SteppedClock()
        defaults = {
            "shortest_milliseconds": 5,
            "longest_milliseconds": 20,
            "max_requests": 64,
            "max_waiting": 128,
        }
        self.batcher = Batcher(
            BatchSettings(**{**defaults, **settings}),
            self.clock,
            flags or FixedFlags(),
            self.registry,
        )

    def crowd(self, requests: int = 300) -> None:
        """As many have come to the cell in this very moment."""
        for _ in range(requests):
            self.batcher.expect(CELL)

    async def choose(self, trip_id: str, found: list[Candidate] | None = None) -> Choice:
        return await self.batcher.choose(CELL, trip_id, NEAR if found is None else found, 10)

    def alone(self, why: str) -> float | None:
        return self.registry.get_sample_value("hailstorm_batch_alone_total", {"why": why})

    def batches(self) -> tuple[float | None, float | None]:
        """How many windows were solved, and how many requests were in them."""
        value = self.registry.get_sample_value
        return value("hailstorm_batch_requests_count"), value("hailstorm_batch_requests_sum")


async def test_lone_request_takes_the_nearest_driver_at_once() -> None:
    bench = Bench()
    bench.batcher.expect(CELL)
    # A coroutine that never waits is over after its first step.
    with pytest.raises(StopIteration) as done:
        bench.choose("trip-1").send(None)
    assert done.value.value.driver_ids == ["driver-1", "driver-2"]
    assert (bench.alone("quiet"), bench.batches()) == (1, (0, 0))


async def test_crowd_is_matched_together() -> None:
    bench = Bench()
    bench.crowd()
    only_first = NEAR[:1]
    choices = await asyncio.gather(bench.choose("trip-1"), bench.choose("trip-2", only_first))
    assert [choice.driver_ids for choice in choices] == [["driver-2"], ["driver-1"]]
    assert bench.batches() == (1, 2)


async def test_crowd_that_has_gone_leaves_no_windows_behind() -> None:
    bench = Bench()
    bench.crowd()
    bench.clock.time += 60
    bench.batcher.expect(CELL)
    await bench.choose("trip-1")
    assert bench.alone("quiet") == 1


async def test_full_window_is_solved_before_its_time() -> None:
    bench = Bench(shortest_milliseconds=1000, longest_milliseconds=1000, max_requests=3)
    bench.crowd()
    async with asyncio.timeout(0.5):
        await asyncio.gather(*(bench.choose(f"trip-{i}") for i in range(3)))
    assert bench.batches() == (1, 3)


async def test_nobody_waits_when_the_flag_is_off() -> None:
    bench = Bench(FixedFlags({"batch-matching": False}))
    bench.crowd()
    await asyncio.gather(bench.choose("trip-1"), bench.choose("trip-2"))
    assert (bench.alone("off"), bench.batches()) == (2, (0, 0))


async def test_nobody_more_waits_when_too_many_do() -> None:
    bench = Bench(max_waiting=2)
    bench.crowd()
    await asyncio.gather(*(bench.choose(f"trip-{i}") for i in range(5)))
    assert (bench.alone("pressure"), bench.batches()) == (3, (1, 2))


async def test_rider_who_is_in_a_hurry_does_not_wait() -> None:
    bench = Bench()
    bench.crowd()
    enter_call(Call("/method", "request-1", deadline=0.0))
    await bench.choose("trip-1")
    assert bench.alone("hurry") == 1


async def test_no_driver_is_kept_for_a_rider_who_has_left() -> None:
    bench = Bench()
    bench.crowd()
    leaving = asyncio.create_task(bench.choose("trip-0", NEAR[:1]))
    staying = asyncio.create_task(bench.choose("trip-1", NEAR[:1]))
    await asyncio.sleep(0)
    leaving.cancel()
    assert (await staying).driver_ids == ["driver-1"]
    assert bench.batches() == (1, 1)


async def test_rider_who_asks_twice_at_once_is_one_rider() -> None:
    bench = Bench()
    bench.crowd()
    first, second, other = await asyncio.gather(
        bench.choose("trip-1"), bench.choose("trip-1"), bench.choose("trip-2")
    )
    assert first == second
    assert first.driver_ids != other.driver_ids
    assert bench.batches() == (1, 2)


async def test_batch_does_not_depend_on_who_came_first() -> None:
    answers = []
    for order in (("trip-1", "trip-2", "trip-3"), ("trip-3", "trip-1", "trip-2")):
        bench = Bench()
        bench.crowd()
        same = [Candidate("driver-1", 50.0), Candidate("driver-2", 50.0)]
        choices = await asyncio.gather(*(bench.choose(trip, same) for trip in order))
        answers.append(dict(zip(order, (c.driver_ids for c in choices), strict=True)))
    assert answers[0] == answers[1]
