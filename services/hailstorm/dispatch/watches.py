"""
Streams of offers: one look at trip for all drivers that this process watches.

Trip lists the live offers of the drivers, and tells what became of those that
were listed before; a stream is sent the difference between that and what it was
sent last. Opened again, here or elsewhere, it starts with all that is live.
What this process offers or answers itself wakes the look at once.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from prometheus_client import CollectorRegistry, Gauge

from hailstorm.dispatch.neighbours import Neighbours
from hailstorm.dispatch.v1 import dispatch_pb2
from hailstorm.runtime import watches
from hailstorm.runtime.clock import Clock
from hailstorm.runtime.errors import ServiceError
from hailstorm.trip.v1 import trip_pb2

# The most that ListOffers takes.
MAX_DRIVERS: Final = 500

# An accepted offer is not withdrawn: its driver has the trip.
_REASONS: Final = {
    trip_pb2.OFFER_END_DECLINED: dispatch_pb2.WITHDRAWAL_REASON_DECLINED,
    trip_pb2.OFFER_END_EXPIRED: dispatch_pb2.WITHDRAWAL_REASON_EXPIRED,
    trip_pb2.OFFER_END_CANCELLED: dispatch_pb2.WITHDRAWAL_REASON_CANCELLED,
}


class Watch(watches.Watch):
    """
    One stream: the drivers it is about, and the offers it has been given to send.

    Attributes:
        told: the live offers among those, by the id of the offer; the value is the driver.
    """

    def __init__(self, city_id: str, driver_ids: Iterable[str], draining: asyncio.Event) -> None:
        super().__init__(draining)
        self.city_id = city_id
        self.driver_ids = frozenset(driver_ids)
        self.told: dict[str, str] = {}
        self._events: deque[Any] = deque()

    @property
    def wants_events(self) -> bool:
        """Whether the last ones are sent; a slow reader is not given more to hold."""
        return not self._events

    def tell(self, live: Mapping[str, Any], ended: Mapping[str, Any]) -> None:
        """
        Take a look's result: trips with live offers by driver, ended offers by id.

        An offer that is in neither stays as it was told: its end is not on record yet.
        """
        for offer_id in [offer_id for offer_id in self.told if offer_id in ended]:
            end = ended[offer_id]
            driver_id = self.told.pop(offer_id)
            if end.end in _REASONS:
                self._events.append(_withdrawal(offer_id, driver_id, _REASONS[end.end]))
        for driver_id in self.driver_ids:
            trip = live.get(driver_id)
            # Listed and ended at once: it ended between the two questions.
            if trip is None or trip.offer_id in self.told or trip.offer_id in ended:
                continue
            self.told[trip.offer_id] = driver_id
            self._events.append(_offer(trip))
        if self._events:
            self.wake()

    def _news(self) -> Iterator[Any]:
        """WatchOffersResponses."""
        while self._events:
            # Taken out once it is sent: until then the stream wants no more.
            yield self._events[0]
            self._events.popleft()


class OfferWatches(watches.Watches[Watch]):
    """All open streams of offers."""

    def __init__(
        self,
        neighbours: Neighbours,
        clock: Clock,
        registry: CollectorRegistry,
        draining: asyncio.Event,
        poll_seconds: float,
    ) -> None:
        gauge = Gauge("hailstorm_offer_watches", "Open streams of offers.", registry=registry)
        super().__init__(clock, gauge, draining, poll_seconds)
        self._neighbours = neighbours

    @contextlib.contextmanager
    def watch(self, city_id: str, driver_ids: Sequence[str]) -> Iterator[Watch]:
        """Follow the offers of drivers for as long as the block lasts."""
        watch = Watch(city_id, driver_ids, self._draining)
        names = [(city_id, driver_id) for driver_id in watch.driver_ids]
        with self._following(watch, names):
            yield watch

    def changed(self, city_id: str, driver_id: str) -> None:
        """This process has made or answered an offer: look at once, if anybody watches it."""
        self._look_soon((city_id, driver_id))

    async def _look(self) -> None:
        cities: dict[str, list[Watch]] = {}
        for watch in self._open:
            if watch.wants_events:
                cities.setdefault(watch.city_id, []).append(watch)
        await asyncio.gather(*(self._look_at(city, watches) for city, watches in cities.items()))

    async def _look_at(self, city_id: str, watches: Sequence[Watch]) -> None:
        drivers = sorted({driver_id for watch in watches for driver_id in watch.driver_ids})
        told = {offer_id: d for watch in watches for offer_id, d in watch.told.items()}
        for start in range(0, len(drivers), MAX_DRIVERS):
            asked = drivers[start : start + MAX_DRIVERS]
            wanted = frozenset(asked)
            # Usually one for each driver; a stream that lags behind may know an older one.
            known = sorted(offer_id for offer_id, driver_id in told.items() if driver_id in wanted)
            try:
                answer = await self._neighbours.list_offers(city_id, asked, known[:MAX_DRIVERS])
            except ServiceError:
                # The streams stay open: what they miss now is told by the next look.
                return
            live = {trip.driver_id: trip for trip in answer.trips}
            ended = {each.offer_id: each for each in answer.ended_offers}
            for watch in watches:
                watch.tell(live, ended)


def _offer(trip: Any) -> Any:
    return dispatch_pb2.WatchOffersResponse(
        offer=dispatch_pb2.Offer(
            offer_id=trip.offer_id,
            driver_id=trip.driver_id,
            trip_id=trip.trip_id,
            pickup=trip.pickup,
            dropoff=trip.dropoff,
            expires_at=trip.offer_expires_at,
        )
    )


def _withdrawal(offer_id: str, driver_id: str, reason: Any) -> Any:
    return dispatch_pb2.WatchOffersResponse(
        withdrawal=dispatch_pb2.OfferWithdrawal(
            offer_id=offer_id, driver_id=driver_id, reason=reason
        )
    )
