"""
Takes up the search for trips that are without a driver and in nobody's hands.

A driver declined, an offer expired, a rider waits, or the pod that looked has
died: the trip stands REQUESTED in Postgres, and every pod asks there for some of
them. What one pod has been handed, no other is for the time of a lease; a pod
that dies is succeeded when it is over. Nothing is remembered here in between.
"""

import asyncio
import contextlib
import contextvars
import datetime as dt
import logging
import random
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from hailstorm.dispatch.matcher import Matcher
from hailstorm.dispatch.neighbours import Neighbours
from hailstorm.dispatch.settings import SearchSettings
from hailstorm.runtime.clock import Clock
from hailstorm.runtime.errors import ServiceError
from hailstorm.trip.v1 import trip_pb2

# Riders of one process who wait between two looks. A guess: 3 MiB of tasks (measured),
# and more than a hundred such riders a second. Others are found when they are claimed.
MAX_KEPT: Final = 1_000

T = TypeVar("T")
_Key = tuple[str, str]

_log = logging.getLogger(__name__)


class Searches:
    """The searches of one process. Any number of processes share the work."""

    def __init__(
        self,
        settings: SearchSettings,
        neighbours: Neighbours,
        matcher: Matcher,
        draining: asyncio.Event,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._neighbours = neighbours
        self._matcher = matcher
        self._draining = draining
        self._wanted = asyncio.Event()
        self._looks: set[asyncio.Task[bool]] = set()
        # Apart from the looks: whoever sleeps between two of them takes no one's place.
        self._kept: set[asyncio.Task[None]] = set()
        # City and id of the trips that wait here, and of those that are looked for just now.
        self._waiting: set[_Key] = set()
        self._under_way: set[_Key] = set()

    def wake(self) -> None:
        """A trip has just lost its driver: look at once."""
        self._wanted.set()

    def keep(self, trip: Any) -> None:
        """
        A rider whose first look found nobody waits: look again from here.

        It is this process's until `min_age_seconds`, then whoever claims it; what
        is dropped here for want of room, or with the process, is found then.
        """
        key = (trip.city_id, trip.trip_id)
        # A rider's app that asks again with its key waits here already.
        if len(self._kept) < MAX_KEPT and key not in self._waiting:
            self._waiting.add(key)
            rider = _start(self._kept, self._look_again(trip))
            rider.add_done_callback(lambda _: self._waiting.discard(key))

    async def run(self) -> None:
        """Search until the server drains; then the others find what is left."""
        try:
            while not self._draining.is_set():
                # Apart from each other, so that pods do not all ask at one moment.
                pause = self._settings.poll_milliseconds / 1000 * random.uniform(0.75, 1.25)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wanted.wait(), pause)
                self._wanted.clear()
                # A neighbour is away: the next look finds what this one did not.
                with contextlib.suppress(ServiceError):
                    await self._claim()
            for rider in self._kept:
                # Asleep; a look that it has begun goes on.
                rider.cancel()
            if self._looks:
                await asyncio.wait(self._looks)
        finally:
            for task in (*self._kept, *self._looks):
                task.cancel()

    async def _claim(self) -> None:
        settings = self._settings
        if self._room <= 0:
            return
        claimed = await self._neighbours.claim_searches(
            self._room, settings.lease_seconds, settings.min_age_seconds
        )
        for search in claimed:
            _start(self._looks, self._search(search))

    @property
    def _room(self) -> int:
        """Looks that may begin now."""
        return self._settings.max_concurrent - len(self._looks)

    async def _look_again(self, trip: Any) -> None:
        pause, age = self._settings.lease_seconds, self._settings.lease_seconds
        while age < self._settings.min_age_seconds and not self._draining.is_set():
            await self._clock.sleep(pause)
            # Without room the rider waits for another turn, and does not stand in line.
            if self._room > 0:
                search = trip_pb2.ClaimedSearch(trip=trip)
                search.age.FromTimedelta(dt.timedelta(seconds=age))
                look = _start(self._looks, self._search(search))
                # Not awaited itself: the drain ends the wait, and leaves the look alone.
                await asyncio.wait([look])
                if not look.result():
                    return
            age += pause

    async def _search(self, search: Any) -> bool:
        """Whether the trip needs another look."""
        key = (search.trip.city_id, search.trip.trip_id)
        if key in self._under_way:
            # Location is slow, and the lease was over before the look; two find no more than one.
            return True
        self._under_way.add(key)
        try:
            return await self._matcher.go_on(search)
        except ServiceError as error:
            # The lease brings it back, here or elsewhere.
            _log.warning("a search was cut short: %s", error, extra={"trip_id": _id(search)})
        except Exception:
            _log.exception("a search failed", extra={"trip_id": _id(search)})
        finally:
            self._under_way.discard(key)
        return True


def _start(tasks: set[asyncio.Task[T]], work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    # Not in the context of the call that may have brought it: its deadline
    # is that of a rider who has been answered.
    task = asyncio.create_task(work, context=contextvars.Context())
    tasks.add(task)
    task.add_done_callback(tasks.discard)
    return task


def _id(search: Any) -> str:
    trip_id: str = search.trip.trip_id
    return trip_id
