"""
The gRPC end of Envoy's access logs: takes what comes and never answers back.

Envoy opens a stream for each of its logs and keeps it; the first message says
who speaks and of what. An error in one message must not end a stream, because
Envoy would lose what it sends until it has another.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc

from hailstorm_operator.recorder.messages import METHOD, SERVICE, Message
from hailstorm_operator.recorder.store import Store

logger = logging.getLogger(__name__)

# A connection that a node took with it is noticed after this, and its streams end.
_OPTIONS: Final = (
    ("grpc.keepalive_time_ms", 5_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    # Envoy pings every 2 s (charts/hailstorm, recorderCluster); by default that is rude.
    ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.so_reuseport", 0),
)


async def serve_logs(host: str, port: int, store: Store) -> tuple[grpc.aio.Server, int]:
    """Serve until the returned server is stopped. Returns the port it listens on, too."""

    async def receive(messages: AsyncIterator[Any], context: Any) -> bytes:
        name = log = ""
        try:
            async for message in messages:
                if not log:
                    identifier = message.identifier
                    # Without a node id there is still an address.
                    name = identifier.node.id or str(context.peer())
                    log = identifier.log_name
                    store.presence.opened(name, time.time())
                try:
                    store.take(message, name, log, time.time())
                except Exception:
                    logger.exception("message of %s, %s", name, log)
        finally:
            if log:
                store.presence.ended(name, time.time())
        return b""

    server = grpc.aio.server(options=_OPTIONS)
    method = grpc.stream_unary_rpc_method_handler(
        receive, request_deserializer=Message.FromString, response_serializer=bytes
    )
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(SERVICE, {METHOD: method}),)
    )
    bound = server.add_insecure_port(f"{host}:{port}")
    await server.start()
    return server, bound


async def stop_receiving(server: grpc.aio.Server) -> None:
    """End the streams. Envoys look for a recorder again with their next lines."""
    with contextlib.suppress(asyncio.CancelledError):
        await server.stop(0)
