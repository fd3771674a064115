"""
The service that is scaled in a comparison: its cost is known, and nothing else.

Each call burns CPU time and then waits, as a handler does that asks a store. It
burns the thread's own CPU time, so a call costs the same on a crowded machine.
It drains as a service should: its health turns first, calls go on being served.
"""

import asyncio
import os
import signal
import time
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


def burn(milliseconds: float) -> None:
    """Use that much CPU time of this thread."""
    end = time.thread_time() + milliseconds / 1000
    while time.thread_time() < end:
        pass


class Handlers(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """Two methods on bytes: the work, and the health check of gRPC."""

    def __init__(self, burn_ms: float, wait_ms: float) -> None:
        self._burn_ms, self._wait_ms = burn_ms, wait_ms
        self.is_draining = False

    def service(self, details: Any) -> Any:
        """The handler of a call, as grpc asks for it."""
        if details.method == METHOD:
            return grpc.unary_unary_rpc_method_handler(self._work)
        if details.method == HEALTH_METHOD:
            return grpc.unary_unary_rpc_method_handler(self._check)
        return None

    async def _work(self, request: bytes, _: Any) -> bytes:
        burn(self._burn_ms)
        await asyncio.sleep(self._wait_ms / 1000)
        return request

    async def _check(self, _request: bytes, _: Any) -> bytes:
        return NOT_SERVING if self.is_draining else SERVING


async def serve() -> None:
    """Serve until SIGTERM, then drain."""
    handlers = Handlers(float(os.environ["BURN_MS"]), float(os.environ["WAIT_MS"]))
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
