"""
Hands the events of trips on to those who keep or tell them: the outbox relay.

Every process relays. A batch is one transaction: events are taken, sinks write,
the events are marked as published. A sink that writes by the same transaction
therefore has each event exactly once; any other sees it at least once, as the
commit may be lost after the sink was told, and must know an event by city, trip
and version. Nothing waits for a relay, so a lost Postgres only pauses it.
"""

import logging
import random
from collections.abc import Sequence
from typing import Final, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge

from hailstorm.runtime.clock import Clock
from hailstorm.runtime.errors import RetryableError
from hailstorm.runtime.flags import Flags
from hailstorm.trip.flags import HISTORY_WRITES
from hailstorm.trip.repository import outbox, records
from hailstorm.trip.repository.outbox import Event
from hailstorm.trip.repository.session import Session, Transaction
from hailstorm.trip.settings import TripsSettings
from hailstorm.trip.states import FINAL

# With a backlog, a relay rests for as long as a batch took it: calls come first.
REST_PER_BATCH: Final = 1.0
# A batch that did not end in time is halved down to this, and grows again.
LEAST_BATCH: Final = 10

_log = logging.getLogger(__name__)


class Sink(Protocol):
    """Whoever wants to know what happens to trips."""

    async def write(self, transaction: Transaction, events: Sequence[Event]) -> None:
        """Keep or tell `events`; raise to have the whole batch again later."""


class History:
    """Writes a record of each trip that ends."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._written = Counter(
            "hailstorm_trip_history_rows",
            "Records of finished trips written by this process; one whose commit was lost counts "
            "again.",
            registry=registry,
        )

    async def write(self, transaction: Transaction, events: Sequence[Event]) -> None:
        ended = [event for event in events if event.state in FINAL]
        if ended:
            self._written.inc(await records.write(transaction, ended))


class Relay:
    """Publishes events. Any number of them may run at once, each with its own session."""

    def __init__(
        self,
        session: Session,
        sinks: Sequence[Sink],
        flags: Flags,
        clock: Clock,
        registry: CollectorRegistry,
        settings: TripsSettings,
    ) -> None:
        self._session = session
        self._sinks = sinks
        self._flags = flags
        self._clock = clock
        self._settings = settings
        self._batch = settings.relay_batch
        self._is_working = True
        self._oldest_at: float | None = None
        self._published = Counter(
            "hailstorm_trip_outbox_published", "Events published by this process.",
            registry=registry,
        )  # fmt: skip
        self._batches = Counter(
            "hailstorm_trip_outbox_batches",
            "Batches that this process took, by what became of them.",
            ("outcome",),
            registry=registry,
        )
        for outcome in ("published", "failed"):
            self._batches.labels(outcome=outcome)
        lag = Gauge(
            "hailstorm_trip_outbox_lag_seconds",
            "Age of the oldest event that nobody has published; it grows while Postgres is away.",
            registry=registry,
        )
        lag.set_function(self.lag_seconds)

    def lag_seconds(self) -> float:
        """The age of the oldest unpublished event, as far as this process has looked."""
        return 0.0 if self._oldest_at is None else self._clock.monotonic() - self._oldest_at

    async def run(self) -> None:
        """Relay for as long as the process lives; cancelled, it leaves nothing half done."""
        try:
            while True:
                began = self._clock.monotonic()
                if await self._work():
                    rest = (self._clock.monotonic() - began) * REST_PER_BATCH
                else:
                    # Apart from each other, so that pods do not all look at one moment.
                    rest = self._settings.relay_milliseconds / 1000 * random.uniform(0.75, 1.25)
                await self._clock.sleep(rest)
        finally:
            await self._session.close()

    async def relay(self) -> bool:
        """
        Publish one batch; whether there is more to do at once.

        Raises StoreUnavailableError, and what a sink raises; the batch then
        comes again, with this relay or another one.
        """
        events: list[Event] = []
        async with self._session.transaction() as transaction:
            # In the order of their waiting, this tells how far behind we are.
            oldest = await outbox.oldest_seconds(transaction)
            self._oldest_at = None if oldest is None else self._clock.monotonic() - oldest
            if oldest is not None and self._flags.boolean(HISTORY_WRITES, True):
                events = await outbox.take(transaction, self._batch)
                if events:
                    for sink in self._sinks:
                        await sink.write(transaction, events)
        if not events:
            return False
        self._batches.labels(outcome="published").inc()
        self._published.inc(len(events))
        is_full = len({(event.city_id, event.trip_id) for event in events}) == self._batch
        self._batch = min(self._settings.relay_batch, self._batch * 2)
        return is_full

    async def _work(self) -> bool:
        try:
            is_full = await self.relay()
        except RetryableError as error:
            self._batch = min(self._settings.relay_batch, max(LEAST_BATCH, self._batch // 2))
            self._batches.labels(outcome="failed").inc()
            if self._is_working:
                # Once for each outage; the counter has the rest.
                _log.warning("no events are published: %s", error, extra={"reason": error.reason})
            self._is_working = False
            return False
        self._is_working = True
        return is_full
