"""
The edge's place in a test without Envoy: hands calls on by the service's name.

Bytes in, bytes out: it knows no method and no message, and tells code, sentence
and trailers as they came.
"""

from typing import Any

import grpc


class Switch(grpc.GenericRpcHandler):  # type: ignore[misc]
    """A server that calls of `hailstorm.<name>.…` go through to their target."""

    def __init__(self, **targets: str) -> None:
        self._channels = {
            name: grpc.aio.insecure_channel(target) for name, target in targets.items()
        }
        self._server = grpc.aio.server()
        self._server.add_generic_rpc_handlers((self,))

    async def open(self) -> str:
        """Listen; returns the gRPC target."""
        port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()
        return f"127.0.0.1:{port}"

    async def close(self) -> None:
        await self._server.stop(None)
        for channel in self._channels.values():
            await channel.close()

    def service(self, details: Any) -> Any:
        """The handler of a method; no stream is handed on, as dispatch opens none."""
        method: str = details.method
        channel = self._channels[method.split(".")[1]]

        async def hand_on(raw: bytes, context: Any) -> bytes:
            call = channel.unary_unary(method)(
                raw,
                timeout=context.time_remaining(),
                metadata=[
                    (key, value)
                    for key, value in context.invocation_metadata()
                    if key.startswith("x-")
                ],
            )
            try:
                answer: bytes = await call
            except grpc.aio.AioRpcError as error:
                # abort() takes a tuple and nothing that is one.
                trailers = tuple(error.trailing_metadata() or ())
                await context.abort(error.code(), error.details(), trailers)
            return answer

        return grpc.unary_unary_rpc_method_handler(hand_on)
