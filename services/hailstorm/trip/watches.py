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
from collections.abc import Iterator
from typing import Any, Final

from prometheus_client import CollectorRegistry, Gauge

from hailstorm.runtime import watches
from hailstorm.runtime.clock import Clock
from hailstorm.trip.repository import history
from hailstorm.trip.repository.database import Database
from hailstorm.trip.repository.history import Since
from hailstorm.trip.states import FINAL
from hailstorm.trip.trips import Trip

# Watches of one query; its arrays stay small, and so does its time.
BATCH: Final = 500


class Watch(watches.Watch):
    """
    One stream's place in a trip's history; it is over once it has told the final state.

    Attributes:
        trip: as last sent; before that, as it stood when the stream opened.
        after_version: the last version that the stream has sent.
        told_version: the last version that it has been given to send.
    """

    def __init__(self, trip: Trip, after_version: int, draining: asyncio.Event) -> None:
        super().__init__(draining)
        self.trip = trip
        self.after_version = after_version
        self.told_version = after_version
        self._changes: deque[Trip] = deque()
        self._position: Any = None
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
        self.wake()

    def tell_position(self, position: Any) -> None:
        """The driver's newest position; one that was not sent yet is forgotten."""
        self._position = position
        self.wake()

    def _news(self) -> Iterator[Any]:
        """Trips and DriverPositions."""
        while self._changes:
            trip = self._changes.popleft()
            yield trip
            self.trip, self.after_version = trip, trip.version
            self.is_over = trip.state in FINAL
        position, self._position = self._position, None
        # Nothing follows the end of the trip, whose driver it keeps.
        if position is not None and not self.is_over and position.driver_id == self.trip.driver_id:
            yield position


class Watches(watches.Watches[Watch]):
    """All open streams of trips."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        registry: CollectorRegistry,
        draining: asyncio.Event,
        poll_seconds: float,
    ) -> None:
        gauge = Gauge("hailstorm_trip_watches", "Trips being watched.", registry=registry)
        super().__init__(clock, gauge, draining, poll_seconds)
        self._database = database

    @contextlib.contextmanager
    def watch(self, trip: Trip, after_version: int) -> Iterator[Watch]:
        """Follow a trip from behind `after_version`, for as long as the block lasts."""
        watch = Watch(trip, after_version, self._draining)
        with self._following(watch, [(trip.city_id, trip.trip_id)]):
            yield watch

    def changed(self, trip: Trip) -> None:
        """This process has changed the trip: look at once, if anybody watches it."""
        self._look_soon((trip.city_id, trip.trip_id))

    async def _look(self) -> None:
        waiting = [watch for watch in self._open if watch.wants_changes]
        for start in range(0, len(waiting), BATCH):
            batch = waiting[start : start + BATCH]
            asked = [Since(w.trip.city_id, w.trip.trip_id, w.told_version) for w in batch]
            for place, trip in await history.changes(self._database, asked):
                batch[place].tell(trip)
