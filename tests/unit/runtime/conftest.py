"""A clock that moves only when somebody sleeps on it."""

import asyncio
import heapq
import itertools

import pytest


class FakeClock:
    """
    Time as the tests want it: sleepers wake in order, at once, at the right time.

    Real tasks run in between, so code that waits on events works as it does.
    """

    def __init__(self) -> None:
        self._now = 1_000.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    def now(self) -> float:
        return 1_700_000_000.0 + self._now

    def monotonic(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._numbers), future))
        await future

    async def run(self, seconds: float) -> None:
        """Let `seconds` pass."""
        end = self._now + seconds
        while True:
            await settle()
            if not self._sleepers or self._sleepers[0][0] > end:
                self._now = end
                return
            self._now, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                future.set_result(None)


async def settle() -> None:
    """Let every task run until it waits."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()
