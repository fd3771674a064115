"""
Health by name, for each who asks its own.

`liveness` and `readiness` are the kubelet's, `lb` is Envoy's, the empty name is
everybody else's. A draining server changes `lb` alone: it is not broken, it
only wants no new calls. `enter_graceful_shutdown()` would flip every name, and
a restarted pod is the last thing that a drain needs.
"""

from typing import Any, Final

from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from hailstorm.runtime.lifecycle import State

LIVENESS: Final = "liveness"
READINESS: Final = "readiness"
LB: Final = "lb"

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING

# A name that was never set answers SERVICE_UNKNOWN, and a client that checks it
# then finds no backend at all, so every name is set from the start.
_BY_STATE: Final = {
    State.STARTING: {LIVENESS: _SERVING, READINESS: _NOT_SERVING, LB: _NOT_SERVING, "": _SERVING},
    State.SERVING: {LIVENESS: _SERVING, READINESS: _SERVING, LB: _SERVING, "": _SERVING},
    State.DRAINING: {LIVENESS: _SERVING, READINESS: _SERVING, LB: _NOT_SERVING, "": _SERVING},
    State.STOPPED: dict.fromkeys((LIVENESS, READINESS, LB, ""), _NOT_SERVING),
}


class Health:
    """The standard health service, kept in step with the lifecycle."""

    def __init__(self) -> None:
        # grpc-stubs does not know grpc_health's public name for its aio module.
        self._servicer: Any = health.aio.HealthServicer()  # type: ignore[attr-defined]

    def add_to(self, server: Any) -> None:
        """Serve grpc.health.v1.Health on `server`."""
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    async def show(self, state: State) -> None:
        """Set every name as `state` asks; watchers are told."""
        for name, status in _BY_STATE[state].items():
            await self._servicer.set(name, status)
