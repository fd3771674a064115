"""What is let in, what is shed, and what is dropped because nobody waits for it."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from eventually import eventually
from hailstorm.location.v1 import location_pb2
from hailstorm.trip.v1 import trip_pb2

NEARBY = "/hailstorm.location.v1.LocationService/NearbyDrivers"
REQUEST = location_pb2.NearbyDriversRequest()


async def code_of(call: Any) -> grpc.StatusCode:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


async def test_flood_over_the_bound_is_shed_and_the_rest_is_served(running: Any) -> None:
    door = asyncio.Event()

    async def nearby(request: Any, context: Any) -> Any:
        await door.wait()
        return location_pb2.NearbyDriversResponse()

    running.script.nearby = nearby
    calls = [
        asyncio.ensure_future(code_of(running.location.NearbyDrivers(REQUEST))) for _ in range(50)
    ]
    await eventually(lambda: sum(call.done() for call in calls), 10, until=lambda n: n == 40)
    assert running.value("hailstorm_grpc_server_in_flight") == 10
    door.set()
    codes = await asyncio.gather(*calls)
    assert codes.count(grpc.StatusCode.OK) == 10
    assert codes.count(grpc.StatusCode.RESOURCE_EXHAUSTED) == 40
    shed = {"method": NEARBY, "priority": "critical"}
    assert running.value("hailstorm_grpc_server_shed_total", **shed) == 40
    assert running.value("hailstorm_grpc_server_in_flight") == 0
    assert await code_of(running.location.NearbyDrivers(REQUEST)) is grpc.StatusCode.OK


async def test_shed_call_is_told_when_to_come_again(running: Any) -> None:
    for _ in range(10):
        running.admission.enter(is_stream=False)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await running.location.NearbyDrivers(REQUEST)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert int(dict(caught.value.trailing_metadata())["grpc-retry-pushback-ms"]) > 0


async def test_health_is_answered_when_the_house_is_full(running: Any) -> None:
    """A balancer that takes a full server for a dead one makes the others full too."""
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    for _ in range(10):
        running.admission.enter(is_stream=False)
    health = health_pb2_grpc.HealthStub(running.channel)
    response = await health.Check(health_pb2.HealthCheckRequest(service="lb"))
    assert response.status == health_pb2.HealthCheckResponse.SERVING


async def test_call_whose_deadline_has_passed_is_not_begun(running: Any) -> None:
    begun: list[str] = []

    async def nearby(request: Any, context: Any) -> Any:
        begun.append(request.city_id)
        if request.city_id == "blocking":
            # Holds the event loop, as a long computation would, so that the
            # next call is picked up only after its deadline.
            await asyncio.sleep(0)
            time.sleep(0.6)  # noqa: ASYNC251
        return location_pb2.NearbyDriversResponse()

    running.script.nearby = nearby
    nearby_of = running.location.NearbyDrivers
    assert await code_of(nearby_of(location_pb2.NearbyDriversRequest(city_id="warm"))) is (
        grpc.StatusCode.OK
    )
    blocking = asyncio.ensure_future(
        code_of(nearby_of(location_pb2.NearbyDriversRequest(city_id="blocking"), timeout=5))
    )
    late = asyncio.ensure_future(
        code_of(nearby_of(location_pb2.NearbyDriversRequest(city_id="late"), timeout=0.2))
    )
    assert await late is grpc.StatusCode.DEADLINE_EXCEEDED
    assert await blocking is grpc.StatusCode.OK
    await eventually(lambda: running.admission.is_idle, 5)
    assert begun == ["warm", "blocking"]


async def test_caller_who_leaves_ends_the_work(running: Any) -> None:
    ended = asyncio.Event()

    async def nearby(request: Any, context: Any) -> Any:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    running.script.nearby = nearby
    call = running.location.NearbyDrivers(REQUEST)
    await eventually(lambda: running.admission.unary_in_flight, 5)
    call.cancel()
    await asyncio.wait_for(ended.wait(), 5)
    await eventually(lambda: running.admission.is_idle, 5)
    handled = "hailstorm_grpc_server_handled_total"
    assert running.value(handled, method=NEARBY, code="CANCELLED") == 1


async def test_streams_are_bounded_and_freed_when_callers_leave(running: Any) -> None:
    closed: list[str] = []

    async def watch(request: Any, context: Any) -> AsyncIterator[Any]:
        try:
            yield trip_pb2.WatchTripResponse()
            await asyncio.sleep(60)
        finally:
            closed.append(request.trip_id)

    running.streams.watch = watch
    calls = [running.trip.WatchTrip(trip_pb2.WatchTripRequest(trip_id=f"t-{i}")) for i in (1, 2)]
    for call in calls:
        assert await call.read() is not grpc.aio.EOF
    third = running.trip.WatchTrip(trip_pb2.WatchTripRequest(trip_id="t-3"))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await third.read()
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    for call in calls:
        call.cancel()
    await eventually(lambda: sorted(closed), 5, until=lambda ids: ids == ["t-1", "t-2"])
    assert running.admission.is_idle
