"""
The gRPC server: its options, and nothing that a service decides.

The channel arguments are those that lost no call when measured. A wrong name
is ignored by gRPC without a word, so they are written once, here.
"""

from typing import Any, Final

import grpc

from hailstorm.runtime.interceptor import ServerInterceptor
from hailstorm.runtime.process import ServerSettings

# Callers ping every 2 s; without this the server takes that for an attack and
# answers GOAWAY too_many_pings, which disturbs every call on a healthy pod.
# (The C macro's name says RECV; the argument does not.)
MIN_PING_INTERVAL_MILLISECONDS: Final = 1000


def build_server(settings: ServerSettings, interceptor: ServerInterceptor) -> Any:
    """Build a grpc.aio server that does not listen yet."""
    return grpc.aio.server(
        interceptors=(interceptor,),
        options=(
            ("grpc.max_connection_age_ms", round(settings.max_connection_age_seconds * 1000)),
            (
                "grpc.max_connection_age_grace_ms",
                round(settings.max_connection_age_grace_seconds * 1000),
            ),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_ping_interval_without_data_ms", MIN_PING_INTERVAL_MILLISECONDS),
            ("grpc.max_receive_message_length", settings.max_message_bytes),
            # Above the first some are cut off, more and more of them up to the second.
            ("grpc.server.max_pending_requests", settings.max_pending // 3),
            ("grpc.server.max_pending_requests_hard_limit", settings.max_pending),
            # Two servers on one port would share its calls in silence.
            ("grpc.so_reuseport", 0),
        ),
    )


def listen(server: Any, settings: ServerSettings) -> int:
    """
    Bind the port, and return it; the system chooses when it is 0.

    Raises RuntimeError when the port is taken.
    """
    port: int = server.add_insecure_port(f"{settings.host}:{settings.grpc_port}")
    return port


def own_target(settings: ServerSettings, port: int) -> str:
    """Where the process finds its own port."""
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "[::]": "[::1]"}
    return f"{everywhere.get(settings.host, settings.host)}:{port}"
