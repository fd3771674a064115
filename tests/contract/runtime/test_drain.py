"""Health, streams and calls through a drain."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from eventually import eventually
from hailstorm.location.v1 import location_pb2
from hailstorm.trip.v1 import trip_pb2

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def health_of(running: Any, *names: str) -> list[int]:
    stub = health_pb2_grpc.HealthStub(running.channel)
    responses = [await stub.Check(health_pb2.HealthCheckRequest(service=n)) for n in names]
    return [response.status for response in responses]


async def test_drain_takes_away_the_balancers_name_only(running: Any) -> None:
    names = ("lb", "readiness", "liveness", "")
    assert await health_of(running, *names) == [SERVING] * 4
    watch = health_pb2_grpc.HealthStub(running.channel).Watch(
        health_pb2.HealthCheckRequest(service="lb")
    )
    assert (await watch.read()).status == SERVING
    ending = asyncio.ensure_future(running.lifecycle.drain_and_stop(running.server))
    assert (await watch.read()).status == NOT_SERVING
    assert await health_of(running, *names) == [NOT_SERVING, SERVING, SERVING, SERVING]
    watch.cancel()
    await ending


async def test_name_that_nobody_set_is_not_found(running: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await health_of(running, "lbb")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_calls_are_served_while_draining_and_none_is_lost(running: Any) -> None:
    async def nearby(request: Any, context: Any) -> Any:
        await asyncio.sleep(0.02)
        return location_pb2.NearbyDriversResponse()

    running.script.nearby = nearby
    ending = asyncio.ensure_future(running.lifecycle.drain_and_stop(running.server))
    served = 0
    # The last of them keeps the house from being quiet until it has ended.
    while running.lifecycle.state.value != "DRAINING" or served < 10:
        await running.location.NearbyDrivers(location_pb2.NearbyDriversRequest(), timeout=5)
        served += 1
    assert not ending.done()
    await ending
    assert running.lifecycle.state.value == "STOPPED"


async def test_stream_ends_itself_with_a_marker_and_status_ok(running: Any) -> None:
    async def watch(request: Any, context: Any) -> AsyncIterator[Any]:
        yield trip_pb2.WatchTripResponse()
        await running.lifecycle.draining.wait()
        yield trip_pb2.WatchTripResponse()

    running.streams.watch = watch
    call = running.trip.WatchTrip(trip_pb2.WatchTripRequest())
    await call.read()
    ending = asyncio.ensure_future(running.lifecycle.drain_and_stop(running.server))
    assert await call.read() is not grpc.aio.EOF
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK
    await ending


async def test_drain_waits_for_a_stream_that_does_not_end(running: Any) -> None:
    async def watch(request: Any, context: Any) -> AsyncIterator[Any]:
        yield trip_pb2.WatchTripResponse()
        await asyncio.sleep(60)

    running.streams.watch = watch
    call = running.trip.WatchTrip(trip_pb2.WatchTripRequest())
    await call.read()
    ending = asyncio.ensure_future(running.lifecycle.drain_and_stop(running.server))
    await eventually(lambda: running.lifecycle.draining.is_set(), 5)
    # Twice propagation and quiet period: without the stream it would be over.
    done, _ = await asyncio.wait([ending], timeout=0.8)
    assert not done
    call.cancel()
    await ending


async def test_reflection_lists_the_services(running: Any) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(running.channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    call = stub.ServerReflectionInfo(iter([request]))
    names = [s.name for s in (await call.read()).list_services_response.service]
    call.cancel()
    assert "hailstorm.location.v1.LocationService" in names
