"""A real grpc.aio server in the test's own process, with the parts of `run.serve`."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from grpc_reflection.v1alpha import reflection
from prometheus_client import CollectorRegistry

from hailstorm.location.v1 import location_pb2_grpc
from hailstorm.runtime.admission import Admission
from hailstorm.runtime.clock import SystemClock
from hailstorm.runtime.health import Health
from hailstorm.runtime.interceptor import ServerInterceptor
from hailstorm.runtime.lifecycle import Lifecycle
from hailstorm.runtime.process import LifecycleSettings, ServerSettings
from hailstorm.runtime.server import build_server, listen
from hailstorm.runtime.telemetry import ServerMetrics
from hailstorm.trip.v1 import trip_pb2_grpc
from ready_channel import ready_channel


class Script(location_pb2_grpc.LocationServiceServicer):
    """A servicer whose answers the test writes."""

    def __init__(self) -> None:
        self.nearby: Callable[[Any, Any], Awaitable[Any]] | None = None

    async def NearbyDrivers(self, request: Any, context: Any) -> Any:
        assert self.nearby is not None, "the test must say what is answered"
        return await self.nearby(request, context)


class StreamScript(trip_pb2_grpc.TripServiceServicer):
    """The same for a stream."""

    def __init__(self) -> None:
        self.watch: Callable[[Any, Any], AsyncIterator[Any]] | None = None

    async def WatchTrip(self, request: Any, context: Any) -> AsyncIterator[Any]:
        assert self.watch is not None, "the test must say what is streamed"
        async for response in self.watch(request, context):
            yield response


@dataclass
class Running:
    """A server that serves, and a client to it."""

    server: Any
    channel: Any
    port: int
    script: Script
    streams: StreamScript
    lifecycle: Lifecycle
    admission: Admission
    registry: CollectorRegistry

    @property
    def location(self) -> Any:
        return location_pb2_grpc.LocationServiceStub(self.channel)

    @property
    def trip(self) -> Any:
        return trip_pb2_grpc.TripServiceStub(self.channel)

    def value(self, metric: str, **labels: str) -> float:
        """A metric's present value; 0 when it has none yet."""
        return self.registry.get_sample_value(metric, labels) or 0.0


@pytest.fixture
def server_settings() -> ServerSettings:
    return ServerSettings(
        host="127.0.0.1",
        grpc_port=0,
        max_concurrent=10,
        max_streams=2,
        max_message_bytes=64 * 1024,
    )


@pytest.fixture
async def running(server_settings: ServerSettings) -> AsyncIterator[Running]:
    clock = SystemClock()
    registry = CollectorRegistry()
    metrics = ServerMetrics(registry)
    admission = Admission(clock, server_settings.max_concurrent, server_settings.max_streams)
    lifecycle = Lifecycle(
        LifecycleSettings(propagation_seconds=0.3, quiet_milliseconds=100, drain_max_seconds=5),
        clock,
        admission,
    )
    health = Health()
    lifecycle.on_state(health.show)
    server = build_server(server_settings, ServerInterceptor(admission, metrics))
    health.add_to(server)
    script, streams = Script(), StreamScript()
    location_pb2_grpc.add_LocationServiceServicer_to_server(script, server)
    trip_pb2_grpc.add_TripServiceServicer_to_server(streams, server)
    reflection.enable_server_reflection(
        ("hailstorm.location.v1.LocationService", reflection.SERVICE_NAME), server
    )
    port = listen(server, server_settings)
    await health.show(lifecycle.state)
    await lifecycle.serving()
    await server.start()
    # The kubelet's name: this client stays while `lb` says no.
    async with ready_channel(f"dns:///127.0.0.1:{port}", health_name="liveness") as channel:
        yield Running(server, channel, port, script, streams, lifecycle, admission, registry)
    await server.stop(0)
