"""DispatchService: from protos to the domain and back, and nothing else."""

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from hailstorm.dispatch.cells import market_cell
from hailstorm.dispatch.errors import DOOR_REFUSALS
from hailstorm.dispatch.market import Market
from hailstorm.dispatch.matcher import Matcher
from hailstorm.dispatch.neighbours import Neighbours
from hailstorm.dispatch.quotes import Quotes, Terms
from hailstorm.dispatch.v1 import dispatch_pb2, dispatch_pb2_grpc
from hailstorm.dispatch.watches import MAX_DRIVERS, OfferWatches
from hailstorm.runtime.calls import log_fields
from hailstorm.runtime.priority import Priority
from hailstorm.runtime.violations import Violations

SERVICE_NAME: Final = "hailstorm.dispatch.v1.DispatchService"

PRIORITIES: Final = {
    # A rider and a driver wait for each other: the offer runs out meanwhile.
    "AcceptOffer": Priority.CRITICAL,
    "DeclineOffer": Priority.CRITICAL,
    "WatchOffers": Priority.CRITICAL,
    "RequestTrip": Priority.NORMAL,
    "GetQuote": Priority.SHEDDABLE,
}


class DispatchServicer(dispatch_pb2_grpc.DispatchServiceServicer):
    """
    Serves requests for trips, quotes and offers.

    `on_decline` is called when a trip has just lost its driver.
    """

    def __init__(
        self,
        matcher: Matcher,
        neighbours: Neighbours,
        market: Market,
        quotes: Quotes,
        watches: OfferWatches,
        on_decline: Callable[[], None],
    ) -> None:
        self._matcher = matcher
        self._neighbours = neighbours
        self._market = market
        self._quotes = quotes
        self._watches = watches
        self._on_decline = on_decline

    async def RequestTrip(self, request: Any, _context: Any) -> Any:
        violations = Violations()
        violations.idempotency_key("idempotency_key", request.idempotency_key)
        violations.identifier("city_id", request.city_id)
        violations.identifier("rider_id", request.rider_id)
        violations.point("pickup", request)
        violations.point("dropoff", request)
        if request.HasField("quote_id"):
            violations.identifier("quote_id", request.quote_id)
        violations.raise_if_any()
        try:
            multiplier = self._admitted(request)
        except DOOR_REFUSALS as refusal:
            # What was promised before is kept: this may be a repeated call.
            trip = await self._matcher.repeat_request(request)
            if trip is None:
                self._market.count_refusal(refusal)
                raise
        else:
            trip = await self._matcher.request_trip(request, multiplier)
        return dispatch_pb2.RequestTripResponse(trip=trip)

    async def GetQuote(self, request: Any, _context: Any) -> Any:
        violations = Violations()
        violations.identifier("city_id", request.city_id)
        violations.identifier("rider_id", request.rider_id)
        violations.point("pickup", request)
        violations.point("dropoff", request)
        violations.raise_if_any()
        terms = _terms(request)
        multiplier = self._market.multiplier(terms.city_id, terms.cell)
        quote_id, expires_at = self._quotes.give(terms, multiplier)
        response = dispatch_pb2.GetQuoteResponse(quote_id=quote_id, surge_multiplier=multiplier)
        response.expires_at.FromSeconds(expires_at)
        return response

    async def AcceptOffer(self, request: Any, _context: Any) -> Any:
        trip = await self._answer(request, accept=True)
        return dispatch_pb2.AcceptOfferResponse(trip=trip)

    async def DeclineOffer(self, request: Any, _context: Any) -> Any:
        await self._answer(request, accept=False)
        self._on_decline()
        return dispatch_pb2.DeclineOfferResponse()

    async def WatchOffers(self, request: Any, _context: Any) -> AsyncIterator[Any]:
        violations = Violations()
        violations.identifier("city_id", request.city_id)
        violations.size("driver_ids", request.driver_ids, 1, MAX_DRIVERS)
        for place, driver_id in enumerate(request.driver_ids[:MAX_DRIVERS]):
            violations.identifier(f"driver_ids[{place}]", driver_id)
        violations.raise_if_any()
        with self._watches.watch(request.city_id, request.driver_ids) as watch:
            async with contextlib.aclosing(watch.events()) as events:
                async for event in events:
                    yield event
            yield dispatch_pb2.WatchOffersResponse(resume=dispatch_pb2.WatchOffersResume())

    def _admitted(self, request: Any) -> float:
        """The multiplier of a new request. Raises DOOR_REFUSALS."""
        terms = _terms(request)
        if request.HasField("quote_id"):
            multiplier = self._quotes.multiplier(request.quote_id, terms)
        else:
            multiplier = self._market.multiplier(terms.city_id, terms.cell)
        self._market.check(terms.city_id, terms.cell)
        return multiplier

    async def _answer(self, request: Any, accept: bool) -> Any:
        violations = Violations()
        violations.identifier("city_id", request.city_id)
        violations.identifier("offer_id", request.offer_id)
        violations.identifier("driver_id", request.driver_id)
        violations.raise_if_any()
        trip = await self._neighbours.answer_offer(
            request.city_id, request.offer_id, request.driver_id, accept
        )
        log_fields(trip_id=trip.trip_id)
        self._watches.changed(request.city_id, request.driver_id)
        return trip


def _terms(request: Any) -> Terms:
    cell = market_cell(request.pickup.latitude, request.pickup.longitude)
    return Terms(request.city_id, request.rider_id, cell)
