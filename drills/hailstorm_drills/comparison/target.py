"""
The service that is scaled in a comparison: its cost is known, and nothing else.

Each call burns CPU time and then waits, as a handler does that asks a store. It
burns the thread's own CPU time, and less of it the more gRPC, the interpreter and the
kernel take on this machine, so a call costs the same on a crowded machine and on a slow
one. It drains as a service should: its health turns first, calls go on being served.
"""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from typing import Any, Final

import grpc

METHOD: Final = "/hailstorm.comparison.Work/Do"
HEALTH_METHOD: Final = "/grpc.health.v1.Health/Check"
PORT: Final = 50051
# HealthCheckResponse{status}: field 1, a varint.
SERVING: Final = b"\x08\x01"
NOT_SERVING: Final = b"\x08\x02"
# The edge looks at DNS and at health each half second; twice both.
PROPAGATION_SECONDS: Final = 2.0
# Deadline of a call: what is under way may end.
GRACE_SECONDS: Final = 5.0
# What a call costs a pod besides the work it asks for, until it has been measured (DESIGN 10
# has 0.2 ms an empty call, handler and core; on two crowded cores it was 1.5).
FIRST_OVERHEAD_MS: Final = 0.4
# So many calls are a second of a pod that has some to do.
MEASURED_CALLS: Final = 50
SMOOTHING: Final = 0.5


def burn(milliseconds: float) -> None:
    """Use that much CPU time of this thread."""
    end = time.thread_time() + milliseconds / 1000
    while time.thread_time() < end:
        pass


class Cost:
    """
    Burns what is left of a call's cost, in milliseconds of the process's CPU time.

    What a call takes besides is measured: the CPU time of the whole process, its other
    threads and the kernel's work for it included, less what was burned, by calls. Where
    that alone is more than the cost, nothing is burned, and a call costs what it does.
    """

    def __init__(
        self, cost_ms: float, process_time: Callable[[], float] = time.process_time
    ) -> None:
        self._cost_ms = cost_ms
        self._process_time = process_time
        self.overhead_ms = min(FIRST_OVERHEAD_MS, cost_ms)
        self._since = process_time()
        self._calls = 0
        self._burned_ms = 0.0

    def pay(self, burns: Callable[[float], None] = burn) -> None:
        """Burn for one call."""
        rest = max(0.0, self._cost_ms - self.overhead_ms)
        burns(rest)
        self._burned_ms += rest
        self._calls += 1
        if self._calls >= MEASURED_CALLS:
            self._measure()

    def _measure(self) -> None:
        now = self._process_time()
        spent_ms = (now - self._since) * 1000 - self._burned_ms
        self.overhead_ms += SMOOTHING * (max(0.0, spent_ms / self._calls) - self.overhead_ms)
        self._since, self._calls, self._burned_ms = now, 0, 0.0


class Handlers(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """Two methods on bytes: the work, and the health check of gRPC."""

    def __init__(self, cost_ms: float, wait_ms: float) -> None:
        self._cost, self._wait_ms = Cost(cost_ms), wait_ms
        self.is_draining = False

    def service(self, details: Any) -> Any:
        """The handler of a call, as grpc asks for it."""
        if details.method == METHOD:
            return grpc.unary_unary_rpc_method_handler(self._work)
        if details.method == HEALTH_METHOD:
            return grpc.unary_unary_rpc_method_handler(self._check)
        return None

    async def _work(self, request: bytes, _: Any) -> bytes:
        self._cost.pay()
        await asyncio.sleep(self._wait_ms / 1000)
        return request

    async def _check(self, _request: bytes, _: Any) -> bytes:
        return NOT_SERVING if self.is_draining else SERVING


async def serve() -> None:
    """Serve until SIGTERM, then drain."""
    handlers = Handlers(float(os.environ["COST_MS"]), float(os.environ["WAIT_MS"]))
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((handlers,))
    server.add_insecure_port(f"0.0.0.0:{PORT}")
    await server.start()
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await stopped.wait()
    handlers.is_draining = True
    await asyncio.sleep(PROPAGATION_SECONDS)
    await server.stop(GRACE_SECONDS)


if __name__ == "__main__":
    asyncio.run(serve())
