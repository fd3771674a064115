"""
A service in the test's own process: the wiring of its `__main__`, real sockets.

It takes the place of `runtime.run` alone, so that a test can hold the server,
its tasks and its drain in its hands; everything behind them is the real thing.
"""

import importlib
from typing import Any

import grpc
from prometheus_client import CollectorRegistry

from hailstorm.runtime.admission import build_admission
from hailstorm.runtime.clock import SystemClock
from hailstorm.runtime.flags import FixedFlags, Flags
from hailstorm.runtime.health import Health
from hailstorm.runtime.interceptor import ServerInterceptor
from hailstorm.runtime.lifecycle import Lifecycle
from hailstorm.runtime.priority import Priority
from hailstorm.runtime.run import Process
from hailstorm.runtime.server import build_server
from hailstorm.runtime.telemetry import ServerMetrics


class InProcessService:
    """`hailstorm.<name>` with `settings` and `flags`, on a free port of the loopback."""

    def __init__(self, name: str, settings: Any, flags: Flags | None = None) -> None:
        self.settings = settings
        self.registry = CollectorRegistry()
        clock = SystemClock()
        admission = build_admission(settings.server, clock)
        metrics = ServerMetrics(self.registry)
        self.lifecycle = Lifecycle(settings.lifecycle, clock, admission)
        priorities: dict[str, Priority] = {}
        interceptor = ServerInterceptor(admission, metrics, priorities)
        self.server = build_server(settings.server, interceptor)
        self.health = Health()
        self.health.add_to(self.server)
        self.lifecycle.on_state(self.health.show)
        self._process = Process(
            settings,
            self.lifecycle,
            self.registry,
            clock,
            self.server,
            [],
            priorities,
            flags or FixedFlags(),
        )
        self._start = importlib.import_module(f"hailstorm.{name}.__main__").start
        self._is_stopped = False
        self.port = 0

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    def channel(self) -> Any:
        """A new channel; close it with `async with`."""
        return grpc.aio.insecure_channel(self.target)

    async def start(self, port: int = 0) -> None:
        """Wire the service and listen."""
        await self._start(self._process)
        self.port = self.server.add_insecure_port(f"127.0.0.1:{port}")
        await self.lifecycle.serving()
        await self.server.start()

    async def stop(self) -> None:
        """Drain, stop and close, as on SIGTERM. Repeatable."""
        if not self._is_stopped:
            self._is_stopped = True
            await self.lifecycle.drain_and_stop(self.server)

    def sample(self, name: str, **labels: str) -> float:
        """The value of a metric; 0 when it has none yet."""
        return self.registry.get_sample_value(name, labels) or 0.0
