"""
An in-process edge for the load generator: the public RPCs, kept in a dict.

It keeps the promises that the generator checks (stored answers, growing
versions, resumable streams), and can be told to break one of them.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest

from hailstorm.dispatch.v1 import dispatch_pb2, dispatch_pb2_grpc
from hailstorm.location.v1 import location_pb2, location_pb2_grpc
from hailstorm.trip.v1 import trip_pb2, trip_pb2_grpc
from hailstorm.types.v1 import types_pb2

ROOT = Path(__file__).parents[3]
FINAL = (types_pb2.TRIP_STATE_COMPLETED, types_pb2.TRIP_STATE_CANCELLED)


@dataclass
class StandIn:
    """What the edge knows, and which promise it breaks."""

    trips: dict[str, list[types_pb2.Trip]] = field(default_factory=dict)
    answers: dict[str, Any] = field(default_factory=dict)
    sequences: dict[str, int] = field(default_factory=dict)
    free: list[str] = field(default_factory=list)
    calls: int = 0
    forgets_keys: bool = False
    fails_views_with: grpc.StatusCode | None = None
    resumes_streams: bool = False
    # Offers instead of a yes on the driver's behalf; by driver, and who has answered how.
    makes_offers: bool = False
    offers: dict[str, types_pb2.Trip] = field(default_factory=dict)
    answers_to_offers: dict[str, str] = field(default_factory=dict)
    refuses_accepts: bool = False
    port: int = 0

    async def before(self, context: Any) -> None:
        self.calls += 1
        await context.send_initial_metadata(
            (("x-hailstorm-upstream", "10.0.0.7:50051"), ("x-envoy-attempt-count", "1"))
        )

    def store(self, trip: types_pb2.Trip, state: Any) -> types_pb2.Trip:
        new = types_pb2.Trip()
        new.CopyFrom(trip)
        new.state = state
        new.version = trip.version + 1
        self.trips.setdefault(trip.trip_id, []).append(new)
        return new


class Dispatch(dispatch_pb2_grpc.DispatchServiceServicer):
    def __init__(self, city: StandIn) -> None:
        self.city = city

    async def RequestTrip(self, request: Any, context: Any) -> Any:
        await self.city.before(context)
        key = request.idempotency_key
        if key not in self.city.answers or self.city.forgets_keys:
            trip = types_pb2.Trip(
                city_id=request.city_id,
                trip_id=f"trip-{len(self.city.trips)}",
                rider_id=request.rider_id,
                pickup=request.pickup,
                dropoff=request.dropoff,
            )
            if self.city.makes_offers and self.city.free:
                trip = self._offer(trip)
            elif self.city.free:
                trip.driver_id = self.city.free.pop()
                trip = self.city.store(trip, types_pb2.TRIP_STATE_MATCHED)
            else:
                trip = self.city.store(trip, types_pb2.TRIP_STATE_UNFULFILLED)
            self.city.answers[key] = dispatch_pb2.RequestTripResponse(trip=trip)
        return self.city.answers[key]

    def _offer(self, trip: types_pb2.Trip) -> types_pb2.Trip:
        trip.driver_id = self.city.free.pop()
        trip.offer_id = f"{trip.trip_id}-o{trip.version + 1}"
        offered = self.city.store(trip, types_pb2.TRIP_STATE_OFFERED)
        self.city.offers[trip.driver_id] = offered
        return offered

    async def WatchOffers(self, request: Any, context: Any) -> Any:
        await self.city.before(context)
        seen: set[str] = set()
        while True:
            for driver_id in request.driver_ids:
                trip = self.city.offers.get(driver_id)
                if trip is not None and trip.offer_id not in seen:
                    seen.add(trip.offer_id)
                    offer = dispatch_pb2.Offer(
                        offer_id=trip.offer_id, driver_id=driver_id, trip_id=trip.trip_id
                    )
                    yield dispatch_pb2.WatchOffersResponse(offer=offer)
            if self.city.resumes_streams and seen:
                yield dispatch_pb2.WatchOffersResponse(resume=dispatch_pb2.WatchOffersResume())
                return
            await asyncio.sleep(0.05)

    async def AcceptOffer(self, request: Any, context: Any) -> Any:
        await self.city.before(context)
        self.city.answers_to_offers[request.offer_id] = "yes"
        if self.city.refuses_accepts:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "the offer is over")
        trip = self.city.offers.pop(request.driver_id, None)
        if trip is not None:
            self.city.store(trip, types_pb2.TRIP_STATE_MATCHED)
        trip_id = request.offer_id.rpartition("-o")[0]
        return dispatch_pb2.AcceptOfferResponse(trip=self.city.trips[trip_id][-1])

    async def DeclineOffer(self, request: Any, context: Any) -> Any:
        await self.city.before(context)
        self.city.answers_to_offers[request.offer_id] = "no"
        trip = self.city.offers.pop(request.driver_id, None)
        if trip is not None:
            self._offer(self.city.store(trip, types_pb2.TRIP_STATE_REQUESTED))
        return dispatch_pb2.DeclineOfferResponse()


class Location(location_pb2_grpc.LocationServiceServicer):
    def __init__(self, city: StandIn) -> None:
        self.city = city

    async def ReportPositions(self, request: Any, context: Any) -> Any:
        await self.city.before(context)
        answer = location_pb2.ReportPositionsResponse()
        for index, position in enumerate(request.positions):
            known = self.city.sequences.get(position.driver_id)
            if known is not None and position.sequence <= known:
                answer.refused.add(
                    index=index,
                    driver_id=position.driver_id,
                    reason=location_pb2.REFUSAL_REASON_STALE,
                )
                continue
            if known is None:
                self.city.free.append(position.driver_id)
            self.city.sequences[position.driver_id] = position.sequence
            answer.accepted_count += 1
        return answer

    async def NearbyDrivers(self, request: Any, context: Any) -> Any:
        await self.city.before(context)
        if self.city.fails_views_with:
            await context.abort(self.city.fails_views_with, "told to")
        return location_pb2.NearbyDriversResponse()


class Trips(trip_pb2_grpc.TripServiceServicer):
    def __init__(self, city: StandIn) -> None:
        self.city = city

    async def _to(self, request: Any, context: Any, state: Any, answer_type: Any) -> Any:
        await self.city.before(context)
        key = request.idempotency_key
        if key not in self.city.answers:
            trip = self.city.store(self.city.trips[request.trip_id][-1], state)
            self.city.answers[key] = answer_type(trip=trip)
        return self.city.answers[key]

    async def ApproachPickup(self, request: Any, context: Any) -> Any:
        return await self._to(
            request, context, types_pb2.TRIP_STATE_ARRIVING, trip_pb2.ApproachPickupResponse
        )

    async def StartTrip(self, request: Any, context: Any) -> Any:
        return await self._to(
            request, context, types_pb2.TRIP_STATE_IN_PROGRESS, trip_pb2.StartTripResponse
        )

    async def CompleteTrip(self, request: Any, context: Any) -> Any:
        return await self._to(
            request, context, types_pb2.TRIP_STATE_COMPLETED, trip_pb2.CompleteTripResponse
        )

    async def CancelTrip(self, request: Any, context: Any) -> Any:
        return await self._to(
            request, context, types_pb2.TRIP_STATE_CANCELLED, trip_pb2.CancelTripResponse
        )

    async def GetTrip(self, request: Any, context: Any) -> Any:
        await self.city.before(context)
        return trip_pb2.GetTripResponse(trip=self.city.trips[request.trip_id][-1])

    async def WatchTrip(self, request: Any, context: Any) -> Any:
        await self.city.before(context)
        seen = request.after_version
        while True:
            for trip in self.city.trips[request.trip_id]:
                if trip.version > seen:
                    seen = trip.version
                    yield trip_pb2.WatchTripResponse(trip=trip)
                    if trip.state in FINAL:
                        return
            if self.city.resumes_streams:
                yield trip_pb2.WatchTripResponse(
                    resume=trip_pb2.WatchTripResume(after_version=seen)
                )
                return
            await asyncio.sleep(0.05)


@pytest.fixture
async def city() -> AsyncIterator[StandIn]:
    stand_in = StandIn()
    server = grpc.aio.server()
    dispatch_pb2_grpc.add_DispatchServiceServicer_to_server(Dispatch(stand_in), server)
    location_pb2_grpc.add_LocationServiceServicer_to_server(Location(stand_in), server)
    trip_pb2_grpc.add_TripServiceServicer_to_server(Trips(stand_in), server)
    stand_in.port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield stand_in
    await server.stop(None)


async def _start(*arguments: object) -> asyncio.subprocess.Process:
    """`python -m hailstorm_loadtests ...` as a child, its output kept for the failure."""
    paths = [ROOT / name for name in ("services", "loadtests")]
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "hailstorm_loadtests",
        *map(str, arguments),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


@pytest.fixture
def start_generator() -> Any:
    return _start


@pytest.fixture
def generator() -> Any:
    """Starts the generator with a small, quick profile and the given changes."""

    async def run(city: StandIn, output: Path, **changes: object) -> tuple[int, str]:
        profile = {
            "duration_seconds": 4,
            "warmup_seconds": 1,
            "wind_down_seconds": 20,
            "trips_per_minute": 300,
            "views_per_second": 20,
            "drivers": 60,
            "ping_seconds": 1,
            "poll_seconds": 0.2,
            "time_lapse": 1000,
            **changes,
        }
        settings = [word for k, v in profile.items() for word in ("--set", f"{k}={json.dumps(v)}")]
        child = await _start(
            "run", "--target", f"127.0.0.1:{city.port}", "--output", output, *settings
        )
        try:
            out, err = await asyncio.wait_for(child.communicate(), timeout=50)
        finally:
            if child.returncode is None:
                child.kill()
        assert child.returncode is not None
        return child.returncode, out.decode() + err.decode()

    return run
