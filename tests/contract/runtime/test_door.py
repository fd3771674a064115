"""A real server that finds out by itself how long its callers wait."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from prometheus_client import CollectorRegistry

from eventually import eventually
from hailstorm.location.v1 import location_pb2, location_pb2_grpc
from hailstorm.runtime.admission import Admission
from hailstorm.runtime.clock import SystemClock
from hailstorm.runtime.door import Door
from hailstorm.runtime.interceptor import ServerInterceptor
from hailstorm.runtime.process import ServerSettings
from hailstorm.runtime.server import build_server, listen, own_target
from hailstorm.runtime.telemetry import ServerMetrics

NEARBY = "/hailstorm.location.v1.LocationService/NearbyDrivers"
REQUEST = location_pb2.NearbyDriversRequest()


class WatchedAdmission(Admission):
    """Notes what it is told."""

    def __init__(self) -> None:
        super().__init__(SystemClock(), 100, 10)
        self.waits: list[float] = []

    def observe(self, wait_seconds: float) -> None:
        super().observe(wait_seconds)
        self.waits.append(wait_seconds)


class Busy(location_pb2_grpc.LocationServiceServicer):
    """Computes for as long as it is told, without letting anybody else have the loop."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.served = 0

    async def NearbyDrivers(self, request: Any, context: Any) -> Any:
        self.served += 1
        time.sleep(self.seconds)  # noqa: ASYNC251
        return location_pb2.NearbyDriversResponse()


@pytest.fixture
async def house() -> AsyncIterator[tuple[Any, WatchedAdmission, Busy, ServerInterceptor]]:
    settings = ServerSettings(host="127.0.0.1", grpc_port=0)
    metrics = ServerMetrics(CollectorRegistry())
    admission, servicer = WatchedAdmission(), Busy()
    interceptor = ServerInterceptor(admission, metrics)
    server = build_server(settings, interceptor)
    location_pb2_grpc.add_LocationServiceServicer_to_server(servicer, server)
    port = listen(server, settings)
    await server.start()
    target = own_target(settings, port)
    door = Door(admission, interceptor, SystemClock(), metrics, target)
    watching = asyncio.create_task(door.watch())
    async with grpc.aio.insecure_channel(target) as channel:
        stub = location_pb2_grpc.LocationServiceStub(channel)
        yield stub, admission, servicer, interceptor
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    await server.stop(0)


async def test_wait_of_callers_is_found_out(house: Any) -> None:
    stub, admission, servicer, _ = house
    servicer.seconds = 0.02
    # Thirty calls of 20 ms: the last waits 0.6 s, and whoever comes then as long.
    calls = [asyncio.ensure_future(stub.NearbyDrivers(REQUEST, timeout=30)) for _ in range(30)]
    await asyncio.gather(*calls)
    await eventually(lambda: max(admission.waits, default=0.0), 10, until=lambda wait: wait >= 0.1)
    # And found to be over.
    servicer.seconds = 0.0
    await eventually(lambda: admission.waits[-1], 10, until=lambda wait: wait < 0.05)


async def test_nobody_is_knocked_for_while_nobody_calls(house: Any) -> None:
    stub, admission, servicer, interceptor = house
    await stub.NearbyDrivers(REQUEST, timeout=30)
    # Knocks are neither served nor taken for calls, or they would go on for ever.
    await eventually(lambda: len(admission.waits), 10, until=lambda n: n >= 5)
    assert servicer.served == 1
    assert interceptor.take_called() == set()
    assert admission.waits[-1] == 0.0
