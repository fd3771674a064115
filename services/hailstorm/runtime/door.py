"""
How long a call waits before anybody looks at it: found out by being a caller.

Calls that wait for their turn lie in gRPC's core, which tells nobody how many
there are or since when. So the process calls itself, through its own port, and
takes the time: the question stands in the same line as everybody else's. While
nobody calls, nobody waits, and it does not ask either.
"""

import asyncio
import contextlib
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2

from hailstorm.runtime.admission import Admission
from hailstorm.runtime.clock import Clock
from hailstorm.runtime.health import LIVENESS
from hailstorm.runtime.telemetry import ServerMetrics

# Ten times a second for 0.4 ms each: 0.4 % of a core (measured), while it serves.
PERIOD_SECONDS: Final = 0.1
# An answer that takes longer says no more than that it takes longer.
TIMEOUT_SECONDS: Final = 2.0

_METHOD: Final = "/grpc.health.v1.Health/Check"
_QUESTION: Final = health_pb2.HealthCheckRequest(service=LIVENESS).SerializeToString()
_OPTIONS: Final = (
    # Not shared with a channel that a service may have to the same address.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_reconnect_backoff_ms", 1000),
)


class Door:
    """Measures the wait at one server's port, and tells it to the admission."""

    def __init__(
        self, admission: Admission, clock: Clock, metrics: ServerMetrics, target: str
    ) -> None:
        self._admission = admission
        self._clock = clock
        self._metrics = metrics
        self._target = target
        self._asked_at = 0.0
        self._asking: asyncio.Task[float | None] | None = None

    async def watch(self) -> None:
        """Measure for as long as the process lives."""
        async with grpc.aio.insecure_channel(self._target, options=_OPTIONS) as channel:
            ask = channel.unary_unary(_METHOD, None, None)
            try:
                while True:
                    await self._clock.sleep(PERIOD_SECONDS)
                    self._look(ask)
            finally:
                if self._asking is not None:
                    self._asking.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await self._asking

    def _look(self, ask: Any) -> None:
        wait: float | None = 0.0
        if self._asking is not None:
            if self._asking.done():
                wait = self._asking.result()
                self._asking = None
            else:
                # No answer yet: the wait is as long as this, and maybe longer.
                wait = self._clock.monotonic() - self._asked_at
        if wait is not None:
            is_asked = self._admission.has_had_callers()
            self._admission.observe(wait)
            self._metrics.wait.set(wait)
            self._metrics.limit.set(self._admission.limit)
            if not is_asked:
                return
        if self._asking is None:
            self._asked_at = self._clock.monotonic()
            self._asking = asyncio.create_task(self._ask(ask))

    async def _ask(self, ask: Any) -> float | None:
        """Seconds until the answer; None when it tells nothing about waiting."""
        try:
            await ask(_QUESTION, timeout=TIMEOUT_SECONDS)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.CANCELLED:
                # Refused by gRPC's core, as too many stand in line.
                return TIMEOUT_SECONDS
            if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
                return None
        return self._clock.monotonic() - self._asked_at
