"""
Takes up the search for trips that are without a driver and in nobody's hands.

A driver declined, an offer expired, a rider waits, or the pod that looked has
died: the trip stands REQUESTED in Postgres, and every pod asks there for some of
them. What one pod has been handed, no other is for the time of a lease; a pod
that dies is succeeded when it is over. Nothing is remembered here in between.
"""

import asyncio
import contextlib
import logging
import random
from typing import Any

from hailstorm.dispatch.matcher import Matcher
from hailstorm.dispatch.neighbours import Neighbours
from hailstorm.dispatch.settings import SearchSettings
from hailstorm.runtime.errors import ServiceError

_log = logging.getLogger(__name__)


class Searches:
    """The searches of one process. Any number of processes share the work."""

    def __init__(
        self,
        settings: SearchSettings,
        neighbours: Neighbours,
        matcher: Matcher,
        draining: asyncio.Event,
    ) -> None:
        self._settings = settings
        self._neighbours = neighbours
        self._matcher = matcher
        self._draining = draining
        self._wanted = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()

    def wake(self) -> None:
        """A trip has just lost its driver: look at once."""
        self._wanted.set()

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
            if self._running:
                await asyncio.wait(self._running)
        finally:
            for task in self._running:
                task.cancel()

    async def _claim(self) -> None:
        settings = self._settings
        room = settings.max_concurrent - len(self._running)
        if room <= 0:
            return
        claimed = await self._neighbours.claim_searches(
            room, settings.lease_seconds, settings.min_age_seconds
        )
        for search in claimed:
            task = asyncio.create_task(self._search(search))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _search(self, search: Any) -> None:
        try:
            await self._matcher.go_on(search)
        except ServiceError as error:
            # The lease brings it back, here or elsewhere.
            _log.warning("a search was cut short: %s", error, extra={"trip_id": _id(search)})
        except Exception:
            _log.exception("a search failed", extra={"trip_id": _id(search)})


def _id(search: Any) -> str:
    trip_id: str = search.trip.trip_id
    return trip_id
