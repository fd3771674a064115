"""TripService: from protos to the domain and back, and nothing else."""

import contextlib
import datetime as dt
from collections.abc import AsyncIterator
from typing import Any, Final

from hailstorm.runtime.calls import log_fields
from hailstorm.runtime.priority import Priority
from hailstorm.runtime.violations import Violations
from hailstorm.trip import trips
from hailstorm.trip.eligibility import Eligibility
from hailstorm.trip.errors import CityClosedError, RiderBlockedError
from hailstorm.trip.messages import (
    decode_page_end,
    encode_page_end,
    key_of,
    place_of,
    write_trip,
)
from hailstorm.trip.queries import Queries
from hailstorm.trip.repository.reads import PageEnd
from hailstorm.trip.repository.writes import Key
from hailstorm.trip.states import Move
from hailstorm.trip.transitions import Transitions, Wish
from hailstorm.trip.trips import Answer, Trip
from hailstorm.trip.v1 import trip_pb2, trip_pb2_grpc
from hailstorm.trip.watches import Watches

SERVICE_NAME: Final = "hailstorm.trip.v1.TripService"

PRIORITIES: Final = {
    # What moves a trip that runs, or shows it to those who wait for it.
    "AnswerOffer": Priority.CRITICAL,
    "ApproachPickup": Priority.CRITICAL,
    "StartTrip": Priority.CRITICAL,
    "CompleteTrip": Priority.CRITICAL,
    "CancelTrip": Priority.CRITICAL,
    "GetTrip": Priority.CRITICAL,
    "WatchTrip": Priority.CRITICAL,
    # A request on its way to a driver, or to the fact that there is none.
    "CreateTrip": Priority.NORMAL,
    "FindCreatedTrip": Priority.NORMAL,
    "OfferTrip": Priority.NORMAL,
    "AbandonTrip": Priority.NORMAL,
    "ClaimSearches": Priority.NORMAL,
    # How drivers hear of offers; asked again in a moment, and worth nothing later.
    "ListOffers": Priority.NORMAL,
    # Yesterday's prices hold for a moment longer.
    "CountRequests": Priority.SHEDDABLE,
    # The past.
    "ListTrips": Priority.SHEDDABLE,
}

# As the proto says.
MAX_CANDIDATES: Final = 100
MAX_DRIVERS: Final = 500
MAX_REASON_CHARACTERS: Final = 200
DEFAULT_PAGE: Final = 20
MAX_PAGE: Final = 100
MIN_SURGE: Final = 1.0
MAX_SURGE: Final = 3.0
# Longer than any driver thinks; an offer must not outlive the request by hours.
MAX_OFFER_SECONDS: Final = 3600
MAX_SEARCHES: Final = 500
MAX_LEASE_SECONDS: Final = 3600
MAX_WINDOW_SECONDS: Final = 3600

# A trip that is called off or given up takes its offer with it.
_ENDS: Final = {
    Move.ACCEPT: trip_pb2.OFFER_END_ACCEPTED,
    Move.DECLINE: trip_pb2.OFFER_END_DECLINED,
    Move.EXPIRE: trip_pb2.OFFER_END_EXPIRED,
    Move.CANCEL: trip_pb2.OFFER_END_CANCELLED,
    Move.ABANDON: trip_pb2.OFFER_END_CANCELLED,
}


class TripServicer(trip_pb2_grpc.TripServiceServicer):
    """Serves trips."""

    def __init__(
        self,
        transitions: Transitions,
        queries: Queries,
        watches: Watches,
        eligibility: Eligibility,
        default_offer_ttl: dt.timedelta,
    ) -> None:
        self._transitions = transitions
        self._queries = queries
        self._watches = watches
        self._eligibility = eligibility
        self._default_offer_ttl = default_offer_ttl

    async def CreateTrip(self, request: Any, _context: Any) -> Any:
        violations = Violations()
        violations.idempotency_key("idempotency_key", request.idempotency_key)
        violations.identifier("city_id", request.city_id)
        violations.identifier("rider_id", request.rider_id)
        violations.point("pickup", request)
        violations.point("dropoff", request)
        surge = request.surge_multiplier or MIN_SURGE
        violations.between("surge_multiplier", surge, MIN_SURGE, MAX_SURGE)
        if request.HasField("quote_id"):
            violations.identifier("quote_id", request.quote_id)
        violations.raise_if_any()
        wish = Wish(
            city_id=request.city_id,
            rider_id=request.rider_id,
            pickup=place_of(request.pickup),
            dropoff=place_of(request.dropoff),
            surge_multiplier=surge,
            quote_id=request.quote_id if request.HasField("quote_id") else None,
        )
        key = _creation_key(request)
        try:
            await self._eligibility.check(wish.city_id, wish.rider_id)
        except (RiderBlockedError, CityClosedError):
            # What was promised before is kept: this may be a repeated call.
            trip = await self._transitions.created(wish.city_id, key)
            if trip is None:
                raise
        else:
            trip = await self._transitions.create(wish, key)
        log_fields(trip_id=trip.trip_id)
        return _holding(trip_pb2.CreateTripResponse(), trip)

    async def FindCreatedTrip(self, request: Any, _context: Any) -> Any:
        wish = request.request
        violations = Violations()
        violations.idempotency_key("request.idempotency_key", wish.idempotency_key)
        violations.identifier("request.city_id", wish.city_id)
        violations.identifier("request.rider_id", wish.rider_id)
        violations.raise_if_any()
        trip = await self._transitions.created(wish.city_id, _creation_key(wish))
        if trip is None:
            return trip_pb2.FindCreatedTripResponse()
        log_fields(city_id=trip.city_id, trip_id=trip.trip_id)
        return _holding(trip_pb2.FindCreatedTripResponse(), trip)

    async def OfferTrip(self, request: Any, _context: Any) -> Any:
        violations = _trip_violations(request)
        violations.size("driver_ids", request.driver_ids, 1, MAX_CANDIDATES)
        for place, driver_id in enumerate(request.driver_ids[:MAX_CANDIDATES]):
            violations.identifier(f"driver_ids[{place}]", driver_id)
        ttl = self._default_offer_ttl
        if request.HasField("offer_ttl"):
            ttl = _duration(violations, request, "offer_ttl", 0.001, MAX_OFFER_SECONDS)
        violations.raise_if_any()
        # Whoever takes over from a dispatch that died looks for drivers anew and
        # finds others; it is the same attempt to bind this trip all the same.
        key = key_of("OfferTrip", "", request, without=("driver_ids", "offer_ttl", "auto_accept"))
        return trip_pb2.OfferTripResponse.FromString(
            await self._transitions.offer(
                request.city_id, request.trip_id, request.driver_ids, ttl, request.auto_accept, key
            )
        )

    async def AnswerOffer(self, request: Any, _context: Any) -> Any:
        violations = Violations()
        violations.idempotency_key("idempotency_key", request.idempotency_key)
        violations.identifier("city_id", request.city_id)
        violations.identifier("offer_id", request.offer_id)
        violations.identifier("driver_id", request.driver_id)
        violations.raise_if_any()
        answer = Answer(request.offer_id, request.driver_id, request.accept)
        key = key_of("AnswerOffer", request.driver_id, request)
        stored = await self._transitions.answer(request.city_id, answer, key)
        return trip_pb2.AnswerOfferResponse.FromString(stored)

    async def ListOffers(self, request: Any, _context: Any) -> Any:
        violations = Violations()
        violations.identifier("city_id", request.city_id)
        violations.size("driver_ids", request.driver_ids, 1, MAX_DRIVERS)
        for place, driver_id in enumerate(request.driver_ids[:MAX_DRIVERS]):
            violations.identifier(f"driver_ids[{place}]", driver_id)
        violations.size("known_offer_ids", request.known_offer_ids, 0, MAX_DRIVERS)
        violations.raise_if_any()
        response = trip_pb2.ListOffersResponse()
        for trip in await self._queries.offers(request.city_id, request.driver_ids):
            write_trip(response.trips.add(), trip)
        ended = await self._queries.ended_offers(request.city_id, request.known_offer_ids)
        for each in ended:
            response.ended_offers.add(
                offer_id=each.offer_id, driver_id=each.driver_id, end=_ENDS[each.move]
            )
        return response

    async def ClaimSearches(self, request: Any, _context: Any) -> Any:
        violations = Violations()
        violations.between("max_trips", request.max_trips, 1, MAX_SEARCHES)
        lease = _duration(violations, request, "lease", 0.1, MAX_LEASE_SECONDS)
        min_age = _duration(violations, request, "min_age", 0, MAX_LEASE_SECONDS)
        violations.raise_if_any()
        response = trip_pb2.ClaimSearchesResponse()
        for each in await self._queries.claim_searches(request.max_trips, lease, min_age):
            search = response.searches.add(passed_driver_ids=each.passed)
            search.age.FromTimedelta(each.age)
            write_trip(search.trip, each.trip)
        return response

    async def CountRequests(self, request: Any, _context: Any) -> Any:
        violations = Violations()
        window = _duration(violations, request, "window", 1, MAX_WINDOW_SECONDS)
        violations.raise_if_any()
        response = trip_pb2.CountRequestsResponse()
        for each in await self._queries.request_counts(window):
            count = response.counts.add(
                city_id=each.city_id, requests=each.requests, unallocated=each.unallocated
            )
            count.point.latitude, count.point.longitude = each.latitude, each.longitude
        return response

    async def AbandonTrip(self, request: Any, _context: Any) -> Any:
        violations = _trip_violations(request)
        violations.identifier("reason", request.reason)
        expected = _expected_version(violations, request)
        violations.raise_if_any()

        def decide(trip: Trip, now: dt.datetime) -> tuple[Trip, ...]:
            after = trips.decide_abandon(trip, request.reason, expected, now)
            return () if after is trip else (after,)

        stored = await self._transitions.change(
            request.city_id, request.trip_id, key_of("AbandonTrip", "", request), decide
        )
        return trip_pb2.AbandonTripResponse.FromString(stored)

    async def ApproachPickup(self, request: Any, _context: Any) -> Any:
        stored = await self._drive("ApproachPickup", Move.APPROACH, request)
        return trip_pb2.ApproachPickupResponse.FromString(stored)

    async def StartTrip(self, request: Any, _context: Any) -> Any:
        stored = await self._drive("StartTrip", Move.START, request)
        return trip_pb2.StartTripResponse.FromString(stored)

    async def CompleteTrip(self, request: Any, _context: Any) -> Any:
        stored = await self._drive("CompleteTrip", Move.COMPLETE, request)
        return trip_pb2.CompleteTripResponse.FromString(stored)

    async def CancelTrip(self, request: Any, _context: Any) -> Any:
        violations = _trip_violations(request)
        violations.identifier("actor_id", request.actor_id)
        if len(request.reason) > MAX_REASON_CHARACTERS:
            violations.add("reason", f"must be at most {MAX_REASON_CHARACTERS} characters")
        if "\0" in request.reason:
            # Postgres keeps every character but this one.
            violations.add("reason", "must not hold the character NUL")
        expected = _expected_version(violations, request)
        violations.raise_if_any()
        actor, reason = request.actor_id, request.reason
        stored = await self._transitions.change(
            request.city_id,
            request.trip_id,
            key_of("CancelTrip", actor, request),
            lambda trip, now: (trips.decide_cancel(trip, actor, reason, expected, now),),
        )
        return trip_pb2.CancelTripResponse.FromString(stored)

    async def GetTrip(self, request: Any, _context: Any) -> Any:
        violations = Violations()
        violations.identifier("city_id", request.city_id)
        violations.identifier("trip_id", request.trip_id)
        violations.raise_if_any()
        trip = await self._transitions.current(request.city_id, request.trip_id)
        return _holding(trip_pb2.GetTripResponse(), trip)

    async def ListTrips(self, request: Any, _context: Any) -> Any:
        violations = Violations()
        violations.identifier("city_id", request.city_id)
        party = request.WhichOneof("party")
        if party is None:
            violations.add("rider_id", "is required, or driver_id")
        else:
            violations.identifier(party, getattr(request, party))
        violations.between("page_size", request.page_size, 0, MAX_PAGE)
        after = decode_page_end(violations, "page_token", request.page_token)
        violations.raise_if_any()
        count = request.page_size or DEFAULT_PAGE
        page = await self._queries.page(
            request.city_id, party, getattr(request, party), after, count
        )
        response = trip_pb2.ListTripsResponse()
        for trip in page.trips:
            write_trip(response.trips.add(), trip)
        if page.has_more:
            last = page.trips[-1]
            response.next_page_token = encode_page_end(PageEnd(last.requested_at, last.trip_id))
        return response

    async def WatchTrip(self, request: Any, _context: Any) -> AsyncIterator[Any]:
        violations = Violations()
        violations.identifier("city_id", request.city_id)
        violations.identifier("trip_id", request.trip_id)
        if request.after_version < 0:
            violations.add("after_version", "must be 0 or a version")
        violations.raise_if_any()
        trip = await self._transitions.current(request.city_id, request.trip_id)
        with self._watches.watch(trip, request.after_version) as watch:
            async with contextlib.aclosing(watch.events()) as events:
                async for each in events:
                    response = trip_pb2.WatchTripResponse()
                    if isinstance(each, Trip):
                        write_trip(response.trip, each)
                    else:
                        response.position.CopyFrom(each)
                    yield response
            if not watch.is_over:
                yield trip_pb2.WatchTripResponse(
                    resume=trip_pb2.WatchTripResume(after_version=watch.after_version)
                )

    async def _drive(self, method: str, move: Move, request: Any) -> bytes:
        violations = _trip_violations(request)
        driver_id = violations.identifier("driver_id", request.driver_id)
        expected = _expected_version(violations, request)
        violations.raise_if_any()
        return await self._transitions.change(
            request.city_id,
            request.trip_id,
            key_of(method, driver_id, request),
            lambda trip, now: (trips.decide_drive(trip, move, driver_id, expected, now),),
        )


def _creation_key(request: Any) -> Key:
    """
    The key of a CreateTripRequest.

    The rider's words must be the same again; the multiplier is dispatch's, which
    may have found another one when the rider asks a second time.
    """
    return key_of("CreateTrip", request.rider_id, request, without=("surge_multiplier",))


def _trip_violations(request: Any) -> Violations:
    violations = Violations()
    violations.idempotency_key("idempotency_key", request.idempotency_key)
    violations.identifier("city_id", request.city_id)
    violations.identifier("trip_id", request.trip_id)
    return violations


def _expected_version(violations: Violations, request: Any) -> int | None:
    if not request.HasField("expected_version"):
        return None
    if request.expected_version < 1:
        violations.add("expected_version", "must be 1 or more; leave it out for any version")
    return int(request.expected_version)


def _duration(
    violations: Violations, request: Any, field: str, low: float, high: float
) -> dt.timedelta:
    """Check a google.protobuf.Duration, whose absence is 0 s."""
    message = getattr(request, field)
    seconds = message.seconds + message.nanos / 1e9
    violations.between(field, seconds, low, high)
    # A huge number of seconds is no timedelta, and is refused all the same.
    return dt.timedelta(seconds=min(max(seconds, 0.0), high))


def _holding(response: Any, trip: Trip) -> Any:
    write_trip(response.trip, trip)
    return response
