"""
The services that dispatch asks: location and trip, in dispatch's words.

The key of each write follows from the trip, so that a dispatch which takes over
from a dead one, or works beside a slow one, repeats its steps and not more. How
a call is made, and what its failure means for the rider, is in `guarded_calls`.
"""

import datetime as dt
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import grpc
from prometheus_client import CollectorRegistry

from hailstorm.dispatch.errors import OfferNotFoundError, OfferOverError
from hailstorm.dispatch.guarded_calls import COUNTS, LOCATION, TRIP, GuardedCalls
from hailstorm.dispatch.matching import Candidate
from hailstorm.dispatch.settings import MatchingSettings
from hailstorm.location.v1 import location_pb2, location_pb2_grpc
from hailstorm.runtime.clock import Clock
from hailstorm.runtime.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    PermissionDeniedError,
)
from hailstorm.runtime.priority import Priority
from hailstorm.runtime.statuses import reason_of
from hailstorm.trip.v1 import trip_pb2, trip_pb2_grpc

# Somebody else was faster with this trip.
_MOVED_ON: Final = (
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.ALREADY_EXISTS,
)
# What trip refuses of a request is the rider's to know, not our failure.
_REFUSALS: Final = {
    grpc.StatusCode.PERMISSION_DENIED: PermissionDeniedError,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPreconditionError,
}


class TripMovedOnError(Exception):
    """The trip is no longer REQUESTED: somebody else served the same request."""


class Neighbours:
    """Calls to location and trip, in dispatch's words."""

    def __init__(
        self, channel: Any, settings: MatchingSettings, clock: Clock, registry: CollectorRegistry
    ) -> None:
        self._location = location_pb2_grpc.LocationServiceStub(channel)
        self._trip = trip_pb2_grpc.TripServiceStub(channel)
        self._calls = GuardedCalls(settings, clock, registry)

    async def create_trip(self, request: Any, surge_multiplier: float) -> Any:
        """
        Put a RequestTripRequest on record under the rider's own key.

        Repeatable. Raises AlreadyExistsError when the key has another body, and
        in trip's words what trip refuses this rider or this city.
        """
        wish = _wish(request)
        wish.surge_multiplier = surge_multiplier
        try:
            response = await self._calls.call(TRIP, self._trip.CreateTrip, wish)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.ALREADY_EXISTS:
                raise _key_reused(request) from error
            if (refusal := _REFUSALS.get(error.code())) is not None:
                raise refusal(error.details() or "refused", reason=reason_of(error)) from error
            raise self._calls.explain(error, TRIP) from error
        return response.trip

    async def find_created(self, request: Any) -> Any | None:
        """
        The trip that a RequestTripRequest with the rider's key made before, if any.

        Raises AlreadyExistsError as `create_trip` does.
        """
        question = trip_pb2.FindCreatedTripRequest(request=_wish(request))
        try:
            response = await self._calls.call(TRIP, self._trip.FindCreatedTrip, question)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                # A trip or an edge of the version before, which cannot tell.
                return None
            if error.code() is grpc.StatusCode.ALREADY_EXISTS:
                raise _key_reused(request) from error
            raise self._calls.explain(error, TRIP) from error
        return response.trip if response.HasField("trip") else None

    async def offer_trip(self, trip: Any, driver_ids: Sequence[str], auto_accept: bool) -> Any:
        """
        Bind the first free driver; the trip stays REQUESTED when none is.

        Raises TripMovedOnError when the trip is no longer REQUESTED.
        """
        request = trip_pb2.OfferTripRequest(
            # One for each version of the trip, whoever the candidates are: of two
            # attempts on one version one binds, and both are given its answer.
            idempotency_key=f"offer-{trip.trip_id}-{trip.version}",
            city_id=trip.city_id,
            trip_id=trip.trip_id,
            driver_ids=driver_ids,
            auto_accept=auto_accept,
        )
        return (await self._move(self._trip.OfferTrip, request)).trip

    async def abandon_trip(self, trip: Any, reason: str) -> Any:
        """
        End the trip as UNFULFILLED. Raises TripMovedOnError as `offer_trip` does,
        and when somebody has offered the trip since it was read.
        """
        request = trip_pb2.AbandonTripRequest(
            idempotency_key=f"abandon-{trip.trip_id}",
            city_id=trip.city_id,
            trip_id=trip.trip_id,
            reason=reason,
            expected_version=trip.version,
        )
        return (await self._move(self._trip.AbandonTrip, request)).trip

    async def get_trip(self, trip: Any) -> Any:
        """The trip as it stands now."""
        request = trip_pb2.GetTripRequest(city_id=trip.city_id, trip_id=trip.trip_id)
        return (await self._read(TRIP, self._trip.GetTrip, request)).trip

    async def nearby(self, trip: Any, radius_m: int, at_most: int) -> list[Candidate]:
        """Available drivers around the pickup."""
        return await self.drivers_at(trip.city_id, trip.pickup, radius_m, at_most)

    async def drivers_at(
        self,
        city_id: str,
        point: Any,
        radius_m: int,
        at_most: int,
        otherwise: Priority = Priority.NORMAL,
    ) -> list[Candidate]:
        """Available drivers around a LatLng; `otherwise` is its class where no call is served."""
        request = location_pb2.NearbyDriversRequest(
            city_id=city_id, point=point, max_drivers=at_most, max_radius_m=radius_m
        )
        response = await self._read(LOCATION, self._location.NearbyDrivers, request, otherwise)
        return [Candidate(d.driver_id, d.distance_m) for d in response.drivers]

    async def answer_offer(self, city_id: str, offer_id: str, driver_id: str, accept: bool) -> Any:
        """
        Give a driver's answer to an offer; the trip after it.

        Repeatable: the same answer to the same offer has the same key. Raises
        OfferNotFoundError, OfferOverError.
        """
        # Two ids do not fit into a key; their digest does.
        digest = hashlib.sha256(f"{offer_id}\0{driver_id}".encode()).hexdigest()[:40]
        request = trip_pb2.AnswerOfferRequest(
            idempotency_key=f"{'accept' if accept else 'decline'}-{digest}",
            city_id=city_id,
            offer_id=offer_id,
            driver_id=driver_id,
            accept=accept,
        )
        try:
            return (await self._calls.call(TRIP, self._trip.AnswerOffer, request)).trip
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                raise OfferNotFoundError(offer_id, driver_id) from error
            if error.code() is grpc.StatusCode.FAILED_PRECONDITION:
                raise OfferOverError(error.details() or f"offer {offer_id} is over") from error
            raise self._calls.explain(error, TRIP) from error

    async def list_offers(
        self, city_id: str, driver_ids: Sequence[str], known_offer_ids: Sequence[str]
    ) -> Any:
        """A ListOffersResponse for up to 500 drivers and as many offers known before."""
        request = trip_pb2.ListOffersRequest(
            city_id=city_id, driver_ids=driver_ids, known_offer_ids=known_offer_ids
        )
        return await self._read(TRIP, self._trip.ListOffers, request)

    async def claim_searches(self, at_most: int, lease: float, min_age: float) -> Sequence[Any]:
        """Up to `at_most` ClaimedSearches, this process's for `lease` seconds."""
        request = trip_pb2.ClaimSearchesRequest(max_trips=at_most)
        request.lease.FromTimedelta(dt.timedelta(seconds=lease))
        request.min_age.FromTimedelta(dt.timedelta(seconds=min_age))
        searches: Sequence[Any] = (
            await self._read(TRIP, self._trip.ClaimSearches, request)
        ).searches
        return searches

    async def count_requests(self, window_seconds: float) -> Sequence[Any]:
        """The RequestCounts of the last `window_seconds`, of all cities."""
        request = trip_pb2.CountRequestsRequest()
        request.window.FromTimedelta(dt.timedelta(seconds=window_seconds))
        count = self._trip.CountRequests
        response = await self._read(COUNTS, count, request, Priority.SHEDDABLE)
        counts: Sequence[Any] = response.counts
        return counts

    async def _read(
        self,
        neighbour: str,
        method: Callable[..., Awaitable[Any]],
        request: Any,
        otherwise: Priority = Priority.NORMAL,
    ) -> Any:
        try:
            return await self._calls.call(neighbour, method, request, otherwise)
        except grpc.aio.AioRpcError as error:
            raise self._calls.explain(error, neighbour) from error

    async def _move(self, method: Callable[..., Awaitable[Any]], request: Any) -> Any:
        try:
            return await self._calls.call(TRIP, method, request)
        except grpc.aio.AioRpcError as error:
            if error.code() in _MOVED_ON:
                raise TripMovedOnError from error
            raise self._calls.explain(error, TRIP) from error


def _wish(request: Any) -> Any:
    """What a rider asks for, in trip's words; the same each time, as its key demands."""
    wish = trip_pb2.CreateTripRequest(
        idempotency_key=request.idempotency_key,
        city_id=request.city_id,
        rider_id=request.rider_id,
        pickup=request.pickup,
        dropoff=request.dropoff,
    )
    if request.HasField("quote_id"):
        wish.quote_id = request.quote_id
    return wish


def _key_reused(request: Any) -> AlreadyExistsError:
    return AlreadyExistsError(
        f"idempotency_key {request.idempotency_key} was used with another body",
        reason="IDEMPOTENCY_KEY_REUSED",
        metadata={"field": "idempotency_key"},
    )
