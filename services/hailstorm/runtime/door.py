"""
How long a call waits before anybody looks at it: found out by being a caller.

Calls that wait for their turn lie in gRPC's core, in a line for each method,
which tells nobody how many there are or since when. So the process calls its
own port, each method that others call, and takes the time: the knock stands in
the same line as everybody else, and is answered at the door. While nobody calls,
nobody waits, and it does not knock either.
"""

import asyncio
import secrets
from dataclasses import dataclass
from typing import Any, Final

import grpc

from hailstorm.runtime.admission import Admission
from hailstorm.runtime.clock import Clock
from hailstorm.runtime.interceptor import KNOCK_KEY, ServerInterceptor
from hailstorm.runtime.telemetry import ServerMetrics

# Ten times a second for 0.3 ms each, and a service has two or three methods that
# are called all the time: 1 % of a core, while it serves.
PERIOD_SECONDS: Final = 0.1
# An answer that takes longer says no more than that it takes longer.
TIMEOUT_SECONDS: Final = 2.0

_OPTIONS: Final = (
    # Not shared with a channel that a service may have to the same address.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_reconnect_backoff_ms", 1000),
)


@dataclass(frozen=True, slots=True)
class _Knock:
    """A knock that was not answered yet, or not looked at."""

    at: float
    task: "asyncio.Task[float | None]"


class Door:
    """Measures the wait at one server's port, and tells it to the admission."""

    def __init__(
        self,
        admission: Admission,
        interceptor: ServerInterceptor,
        clock: Clock,
        metrics: ServerMetrics,
        target: str,
    ) -> None:
        self._admission = admission
        self._interceptor = interceptor
        self._clock = clock
        self._metrics = metrics
        self._target = target
        # So that nobody else is answered without having been let in.
        self._metadata = ((KNOCK_KEY, interceptor.expect_knocks(secrets.token_hex(16))),)
        self._knocks: dict[str, _Knock] = {}

    async def watch(self) -> None:
        """Measure for as long as the process lives."""
        async with grpc.aio.insecure_channel(self._target, options=_OPTIONS) as channel:
            try:
                while True:
                    await self._clock.sleep(PERIOD_SECONDS)
                    self._look(channel)
            finally:
                tasks = [knock.task for knock in self._knocks.values()]
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                # Whoever watches again must not ask a cancelled one for its result.
                self._knocks.clear()

    def _look(self, channel: Any) -> None:
        wait = 0.0
        for method, knock in list(self._knocks.items()):
            if knock.task.done():
                del self._knocks[method]
                wait = max(wait, knock.task.result() or 0.0)
            else:
                # No answer yet: the wait is as long as this, and maybe longer.
                wait = max(wait, self._clock.monotonic() - knock.at)
        # One line that stands is enough: a process with time to spare has none.
        self._admission.observe(wait)
        self._metrics.wait.set(wait)
        self._metrics.limit.set(self._admission.limit)
        self._metrics.begin_limit.set(self._admission.begin_limit)
        for method in self._interceptor.take_called():
            if method not in self._knocks:
                self._knocks[method] = self._knock(channel, method)

    def _knock(self, channel: Any, method: str) -> _Knock:
        at = self._clock.monotonic()

        async def ask() -> float | None:
            try:
                call = channel.unary_unary(method, None, None)
                await call(b"", metadata=self._metadata, timeout=TIMEOUT_SECONDS)
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.CANCELLED:
                    # Cut off by gRPC's core, as too many stand in line.
                    return TIMEOUT_SECONDS
                if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
                    # The server is about to stop; that says nothing about waiting.
                    return None
            return self._clock.monotonic() - at

        return _Knock(at, asyncio.create_task(ask()))
