"""
The services that dispatch asks: location and trip, through the edge.

Every call carries the caller's request id and what is left of its deadline. The
key of each write follows from the trip, so that a dispatch which takes over
from a dead one, or works beside a slow one, repeats its steps and not more. No
call is repeated here: Envoy has tried other pods, and the rider has the key.
So whatever a neighbour suffers from is UNAVAILABLE for the rider. Each has a
bulkhead and a breaker: a slow location must not take the places of drivers who
accept, for which only trip is needed.
"""

import datetime as dt
import hashlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import grpc
from prometheus_client import CollectorRegistry

from hailstorm.dispatch.errors import (
    NeighbourUnavailableError,
    OfferNotFoundError,
    OfferOverError,
)
from hailstorm.dispatch.matching import Candidate
from hailstorm.dispatch.settings import MatchingSettings
from hailstorm.location.v1 import location_pb2, location_pb2_grpc
from hailstorm.runtime.calls import outgoing_metadata, remaining_seconds
from hailstorm.runtime.clock import Clock
from hailstorm.runtime.dependency import Dependency, DependencyMetrics
from hailstorm.runtime.errors import (
    AlreadyExistsError,
    DeadlineExceededError,
    FailedPreconditionError,
    PermissionDeniedError,
    ServiceError,
    error_from_rpc,
)
from hailstorm.runtime.priority import Priority
from hailstorm.runtime.statuses import reason_of
from hailstorm.trip.v1 import trip_pb2, trip_pb2_grpc

LOCATION: Final = "location"
TRIP: Final = "trip"
# Trip as well, with a bulkhead and a breaker of its own: a count that fails must
# not keep riders from a trip that serves them.
COUNTS: Final = "trip-counts"

# Fewer seconds than a call needs at its fastest: it would only be work for nobody.
_LEAST_SECONDS: Final = 0.005

# What a neighbour answers when it fails, or when the edge dies under the call.
# Its own log has the cause, and all our calls carry a key or change nothing.
_FAILED: Final = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS)
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

_log = logging.getLogger(__name__)


class TripMovedOnError(Exception):
    """The trip is no longer REQUESTED: somebody else served the same request."""


class Neighbours:
    """Calls to location and trip, in dispatch's words."""

    def __init__(
        self, channel: Any, settings: MatchingSettings, clock: Clock, registry: CollectorRegistry
    ) -> None:
        self._location = location_pb2_grpc.LocationServiceStub(channel)
        self._trip = trip_pb2_grpc.TripServiceStub(channel)
        self._call_seconds = settings.call_seconds
        self._margin_seconds = settings.reply_margin_seconds
        metrics = DependencyMetrics(registry)
        self._guards = {
            name: Dependency(
                name,
                clock,
                metrics,
                settings.neighbour_max_calls,
                settings.breaker_failures,
                settings.breaker_open_seconds,
            )
            for name in (LOCATION, TRIP, COUNTS)
        }

    async def create_trip(self, request: Any, surge_multiplier: float) -> Any:
        """
        Put a RequestTripRequest on record under the rider's own key.

        Repeatable. Raises AlreadyExistsError when the key has another body, and
        in trip's words what trip refuses this rider or this city.
        """
        wish = trip_pb2.CreateTripRequest(
            idempotency_key=request.idempotency_key,
            city_id=request.city_id,
            rider_id=request.rider_id,
            pickup=request.pickup,
            dropoff=request.dropoff,
            surge_multiplier=surge_multiplier,
        )
        if request.HasField("quote_id"):
            wish.quote_id = request.quote_id
        try:
            response = await self._call(TRIP, self._trip.CreateTrip, wish)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.ALREADY_EXISTS:
                raise AlreadyExistsError(
                    f"idempotency_key {request.idempotency_key} was used with another body",
                    reason="IDEMPOTENCY_KEY_REUSED",
                    metadata={"field": "idempotency_key"},
                ) from error
            if (refusal := _REFUSALS.get(error.code())) is not None:
                raise refusal(error.details() or "refused", reason=reason_of(error)) from error
            raise self._explain(error, TRIP) from error
        return response.trip

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
        self, city_id: str, point: Any, radius_m: int, at_most: int
    ) -> list[Candidate]:
        """Available drivers around a LatLng."""
        request = location_pb2.NearbyDriversRequest(
            city_id=city_id, point=point, max_drivers=at_most, max_radius_m=radius_m
        )
        response = await self._read(LOCATION, self._location.NearbyDrivers, request)
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
            return (await self._call(TRIP, self._trip.AnswerOffer, request)).trip
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                raise OfferNotFoundError(offer_id, driver_id) from error
            if error.code() is grpc.StatusCode.FAILED_PRECONDITION:
                raise OfferOverError(error.details() or f"offer {offer_id} is over") from error
            raise self._explain(error, TRIP) from error

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
        counts: Sequence[Any] = (await self._read(COUNTS, self._trip.CountRequests, request)).counts
        return counts

    async def _read(
        self, neighbour: str, method: Callable[..., Awaitable[Any]], request: Any
    ) -> Any:
        try:
            return await self._call(neighbour, method, request)
        except grpc.aio.AioRpcError as error:
            raise self._explain(error, neighbour) from error

    async def _move(self, method: Callable[..., Awaitable[Any]], request: Any) -> Any:
        try:
            return await self._call(TRIP, method, request)
        except grpc.aio.AioRpcError as error:
            if error.code() in _MOVED_ON:
                raise TripMovedOnError from error
            raise self._explain(error, TRIP) from error

    async def _call(
        self, neighbour: str, method: Callable[..., Awaitable[Any]], request: Any
    ) -> Any:
        # The whole cap when there is no deadline, hence the margin on both sides.
        left = remaining_seconds(self._call_seconds + self._margin_seconds) - self._margin_seconds
        if left < _LEAST_SECONDS:
            raise DeadlineExceededError("the deadline leaves no time for matching")
        with self._guards[neighbour].asking(own_patience=left >= self._call_seconds):
            # Also where no call is served: looking for a driver is never a mere view.
            metadata = outgoing_metadata(Priority.NORMAL)
            return await method(request, timeout=left, metadata=metadata)

    def _explain(self, error: grpc.aio.AioRpcError, neighbour: str) -> ServiceError:
        code = error.code()
        if code in _FAILED:
            _log.warning("%s answered %s: %s", neighbour, code.name, error.details())
            return NeighbourUnavailableError(f"{neighbour} failed; repeat the request with its key")
        # Twice the margin: an answer may be a little early.
        spent = remaining_seconds(self._call_seconds) <= 2 * self._margin_seconds
        if code is grpc.StatusCode.DEADLINE_EXCEEDED and not spent:
            # It was our patience that ended, not our caller's.
            return NeighbourUnavailableError(
                f"{neighbour} did not answer within {self._call_seconds} s"
            )
        return error_from_rpc(error, neighbour)
