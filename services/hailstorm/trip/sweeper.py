"""
Looks again and again for what nobody ends: expired offers, abandoned requests, old keys.

A dispatch that dies in the middle leaves a trip REQUESTED; when its rider does
not come back, this is what ends it. Every process sweeps; none is needed for
what readers see of offers, since those look at the time themselves.
"""

import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from hailstorm.runtime.clock import Clock
from hailstorm.runtime.errors import RetryableError
from hailstorm.trip.repository import sweeps
from hailstorm.trip.repository.database import Database
from hailstorm.trip.settings import TripsSettings
from hailstorm.trip.transitions import Transitions
from hailstorm.trip.trips import Trip

# Keys are kept for a day, so being a minute late is nothing.
FORGET_PERIOD_SECONDS: Final = 60.0


class Sweeper:
    """Ends things by their age. Any number of them may run at once."""

    def __init__(
        self, database: Database, transitions: Transitions, clock: Clock, settings: TripsSettings
    ) -> None:
        self._database = database
        self._transitions = transitions
        self._clock = clock
        self._settings = settings
        self._forgets_at = clock.monotonic() + FORGET_PERIOD_SECONDS

    async def run(self) -> None:
        """Sweep for as long as the process lives."""
        while True:
            # Apart from each other, so that pods do not all sweep at one moment.
            pause = self._settings.sweep_milliseconds / 1000 * random.uniform(0.75, 1.25)
            await self._clock.sleep(pause)
            try:
                await self.sweep()
            except RetryableError:
                # The store is away; the next sweep finds what this one did not.
                continue

    async def sweep(self) -> None:
        """End everything whose time is over. Raises StoreUnavailableError."""
        batch, age = self._settings.sweep_batch, self._settings.request_max_age_seconds
        await self._all(lambda: sweeps.expire_offers(self._database, batch))
        await self._all(lambda: sweeps.abandon_requests(self._database, batch, age))
        if self._clock.monotonic() >= self._forgets_at:
            self._forgets_at = self._clock.monotonic() + FORGET_PERIOD_SECONDS
            await self.forget_keys()

    async def forget_keys(self) -> None:
        """Delete the keys that are older than anybody's patience."""
        age = self._settings.key_retention_hours * 3600
        batch = self._settings.sweep_batch
        while await sweeps.forget_keys(self._database, batch, age) == batch:
            pass

    async def _all(self, sweep: Callable[[], Awaitable[Sequence[Trip]]]) -> None:
        while True:
            swept = await sweep()
            for trip in swept:
                self._transitions.stored(trip)
            if len(swept) < self._settings.sweep_batch:
                return
