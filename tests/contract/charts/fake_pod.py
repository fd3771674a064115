"""
A process that stands for a pod: all three services, with answers made to order.

It speaks real gRPC and real health checks; what it answers is written in the
ids it is asked with, so that a test says what it wants in the call itself:

    slow-0.5            answers after half a second
    fail-NOT_FOUND      answers with that status, and details
    lost-0.5            UNAVAILABLE after half a second, as when a store is away
    flaky-<key>         UNAVAILABLE from the first pod that sees <key>, OK later
    else                answers at once

SIGUSR1 turns the health name `lb` to NOT_SERVING, as a draining pod does. With
FAKE_POD_REFUSES_PINGS=yes it has gRPC's own opinion of callers that ping.
Usage: FAKE_POD_SHARED=FOLDER fake_pod.py PORT.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import grpc
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from hailstorm.dispatch.v1 import dispatch_pb2, dispatch_pb2_grpc
from hailstorm.location.v1 import location_pb2, location_pb2_grpc
from hailstorm.trip.v1 import trip_pb2, trip_pb2_grpc
from hailstorm.types.v1 import types_pb2

# Shared by all pods of one test: who sees a key first decides who fails.
FIRST_SEEN = Path(os.environ["FAKE_POD_SHARED"])


async def _behave(word: str, context: Any) -> None:
    verb, _, rest = word.partition("-")
    if verb == "slow":
        await asyncio.sleep(float(rest))
    elif verb == "fail":
        await _fail(context, rest)
    elif verb == "lost":
        await asyncio.sleep(float(rest))
        await _fail(context, "UNAVAILABLE")
    elif verb == "flaky":
        try:
            (FIRST_SEEN / f"flaky-{rest}").touch(exist_ok=False)
        except FileExistsError:
            return
        await _fail(context, "UNAVAILABLE")


async def _fail(context: Any, code: str) -> None:
    status = status_pb2.Status(code=code_pb2.Code.Value(code), message=f"asked to give {code}")
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="Asked", domain="test"))
    await context.abort_with_status(rpc_status.to_status(status))


def _trip(request: Any, state: str = "REQUESTED") -> Any:
    return types_pb2.Trip(
        city_id=request.city_id,
        trip_id=getattr(request, "trip_id", "") or "t-1",
        rider_id=getattr(request, "rider_id", ""),
        state=types_pb2.TripState.Value(f"TRIP_STATE_{state}"),
        version=1,
        surge_multiplier=1.0,
    )


class Trips(trip_pb2_grpc.TripServiceServicer):
    """Answers about any trip."""

    async def GetTrip(self, request: Any, context: Any) -> Any:
        await _behave(request.trip_id, context)
        answer = trip_pb2.GetTripResponse(trip=_trip(request))
        # What the caller's deadline has become on its way here.
        left = context.time_remaining()
        answer.trip.end_reason = "none" if left is None else f"{left:.1f}"
        sent = dict(context.invocation_metadata())
        answer.trip.rider_id = sent.get("x-request-id", "")
        answer.trip.driver_id = sent.get("x-hailstorm-priority", "none")
        return answer

    async def CreateTrip(self, request: Any, context: Any) -> Any:
        await _behave(request.idempotency_key, context)
        return trip_pb2.CreateTripResponse(trip=_trip(request))

    async def ListTrips(self, request: Any, context: Any) -> Any:
        return trip_pb2.ListTripsResponse()

    async def WatchTrip(self, request: Any, context: Any) -> Any:
        for version in range(1, 4):
            trip = _trip(request)
            trip.version = version
            yield trip_pb2.WatchTripResponse(trip=trip)
            await _behave(request.trip_id, context)


class Dispatch(dispatch_pb2_grpc.DispatchServiceServicer):
    """Takes any request."""

    async def RequestTrip(self, request: Any, context: Any) -> Any:
        await _behave(request.idempotency_key, context)
        return dispatch_pb2.RequestTripResponse(trip=_trip(request, "MATCHED"))

    async def WatchOffers(self, request: Any, context: Any) -> Any:
        for driver_id in request.driver_ids:
            offer = dispatch_pb2.Offer(offer_id="o-1", driver_id=driver_id)
            yield dispatch_pb2.WatchOffersResponse(offer=offer)
        yield dispatch_pb2.WatchOffersResponse(resume={})


class Location(location_pb2_grpc.LocationServiceServicer):
    """Takes any position."""

    async def ReportPositions(self, request: Any, context: Any) -> Any:
        return location_pb2.ReportPositionsResponse(accepted_count=len(request.positions))

    async def NearbyDrivers(self, request: Any, context: Any) -> Any:
        return location_pb2.NearbyDriversResponse()

    async def BatchGetPositions(self, request: Any, context: Any) -> Any:
        positions = [location_pb2.Position(driver_id=each) for each in request.driver_ids]
        return location_pb2.BatchGetPositionsResponse(positions=positions)


# As hailstorm.runtime.server has them: Envoy pings every two seconds.
ALLOWS_PINGS = (
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 1000),
)


async def main(port: int) -> None:
    server = grpc.aio.server(
        options=(
            *(() if os.environ.get("FAKE_POD_REFUSES_PINGS") else ALLOWS_PINGS),
            ("grpc.max_receive_message_length", 8 * 1024 * 1024),
            ("grpc.so_reuseport", 0),
        )
    )
    trip_pb2_grpc.add_TripServiceServicer_to_server(Trips(), server)
    dispatch_pb2_grpc.add_DispatchServiceServicer_to_server(Dispatch(), server)
    location_pb2_grpc.add_LocationServiceServicer_to_server(Location(), server)
    checks = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    await checks.set("lb", health_pb2.HealthCheckResponse.SERVING)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    draining = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, draining.set)
    await draining.wait()
    await checks.set("lb", health_pb2.HealthCheckResponse.NOT_SERVING)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
