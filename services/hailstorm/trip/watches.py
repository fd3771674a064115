"""
Streams of trips: one look at the store for all that this process watches.

A stream keeps no more than the last version it has sent, and asks the history
for what follows. So it loses and doubles nothing, whether it is this stream
that asks next or one on another server. Changes made by this process wake the
look at once; those made elsewhere wait for the next one.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Iterator
from typing import Any, Final

from prometheus_client import CollectorRegistry, Gauge

from hailstorm.runtime.clock import Clock
from hailstorm.runtime.errors import RetryableError
from hailstorm.trip.repository import history
from hailstorm.trip.repository.database import Database
from hailstorm.trip.repository.history import Since
from hailstorm.trip.states import FINAL
from hailstorm.trip.trips import Trip

# Changes of this process that come together are told by one query. A guess:
# nobody sees 20 ms, and it bounds the queries to 50 a second.
WAKE_PAUSE_SECONDS: Final = 0.02
# Watches of one query; its arrays stay small, and so does its time.
BATCH: Final = 500


class Watch:
    """
    One stream's place in a trip's history.

    Attributes:
        trip: as last sent; before that, as it stood when the stream opened.
        after_version: the last version that the stream has sent.
        told_version: the last version that it has been given to send.
        is_over: the stream has told the final state.
    """

    def __init__(self, trip: Trip, after_version: int, draining: asyncio.Event) -> None:
        self.trip = trip
        self.after_version = after_version
        self.told_version = after_version
        self._draining = draining
        self._changes: deque[Trip] = deque()
        self._position: Any = None
        self._changed = asyncio.Event()
        # Opened again after the end: there is nothing left to tell.
        self.is_over = trip.state in FINAL and after_version >= trip.version

    @property
    def wants_changes(self) -> bool:
        """Whether the last ones are sent; a slow reader is not given more to hold."""
        return not self._changes and not self.is_over

    def tell(self, trip: Trip) -> None:
        """The trip as it stood at its next version."""
        self._changes.append(trip)
        self.told_version = trip.version
        self._changed.set()

    def tell_position(self, position: Any) -> None:
        """The driver's newest position; one that was not sent yet is forgotten."""
        self._position = position
        self._changed.set()

    def wake(self) -> None:
        """Have the stream look at `draining`."""
        self._changed.set()

    async def events(self) -> AsyncGenerator[Any, None]:
        """Trips and DriverPositions, until the trip is over or the server drains."""
        if self.is_over:
            return
        while True:
            self._changed.clear()
            while self._changes:
                trip = self._changes.popleft()
                yield trip
                self.trip, self.after_version = trip, trip.version
                self.is_over = trip.state in FINAL
            position, self._position = self._position, None
            if position is not None and position.driver_id == self.trip.driver_id:
                yield position
            if self.is_over or self._draining.is_set():
                return
            if not self._changes:
                await self._changed.wait()


class Watches:
    """All open streams of this process, and the task that feeds them."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        registry: CollectorRegistry,
        draining: asyncio.Event,
        poll_seconds: float,
    ) -> None:
        self._database = database
        self._clock = clock
        self._draining = draining
        self._poll_seconds = poll_seconds
        self._open: dict[Watch, None] = {}
        self._watched: dict[tuple[str, str], int] = {}
        self._wanted = asyncio.Event()
        self._gauge = Gauge("hailstorm_trip_watches", "Trips being watched.", registry=registry)

    def __iter__(self) -> Iterator[Watch]:
        return iter(tuple(self._open))

    @contextlib.contextmanager
    def watch(self, trip: Trip, after_version: int) -> Iterator[Watch]:
        """Follow a trip from behind `after_version`, for as long as the block lasts."""
        watch = Watch(trip, after_version, self._draining)
        name = (trip.city_id, trip.trip_id)
        self._open[watch] = None
        self._watched[name] = self._watched.get(name, 0) + 1
        self._gauge.set(len(self._open))
        self._wanted.set()
        try:
            yield watch
        finally:
            del self._open[watch]
            self._watched[name] -= 1
            if not self._watched[name]:
                del self._watched[name]
            self._gauge.set(len(self._open))

    def changed(self, trip: Trip) -> None:
        """This process has changed the trip: look at once, if anybody watches it."""
        if (trip.city_id, trip.trip_id) in self._watched:
            self._wanted.set()

    async def feed(self) -> None:
        """Tell all watches what is new, for as long as the process lives."""
        while True:
            if self._open:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wanted.wait(), self._poll_seconds)
            else:
                await self._wanted.wait()
            self._wanted.clear()
            # The streams stay open: what they miss now is told by the next look.
            with contextlib.suppress(RetryableError):
                await self._look()
            await self._clock.sleep(WAKE_PAUSE_SECONDS)

    async def end_with_drain(self) -> None:
        """Wake every stream once the server drains, so that it ends itself."""
        await self._draining.wait()
        for watch in self:
            watch.wake()

    async def _look(self) -> None:
        waiting = [watch for watch in self._open if watch.wants_changes]
        for start in range(0, len(waiting), BATCH):
            batch = waiting[start : start + BATCH]
            asked = [Since(w.trip.city_id, w.trip.trip_id, w.told_version) for w in batch]
            for place, trip in await history.changes(self._database, asked):
                batch[place].tell(trip)
