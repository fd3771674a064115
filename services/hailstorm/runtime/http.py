"""
A small HTTP server for the kubelet and for Prometheus, and for nobody else.

It runs on the same event loop as gRPC, on purpose: /livez answers exactly when
the loop turns, which is all that liveness may depend on. It speaks just enough
HTTP/1.1 for GET and HEAD, closes every connection, and bounds what a bad
caller can hold: bytes, seconds, connections.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

# A probe's request is 200 bytes; Prometheus sends about 400.
MAX_HEAD_BYTES: Final = 8 * 1024
# A caller that has not said what it wants by then is not a probe.
REQUEST_TIMEOUT_SECONDS: Final = 5.0
# The kubelet uses two, Prometheus and a drill one each; the rest is head-room.
MAX_CONNECTIONS: Final = 32

_REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
}
_TEXT: Final = "text/plain; charset=utf-8"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a route says."""

    status: int
    body: bytes
    content_type: str = _TEXT


class HttpServer:
    """Serves routes, each a function without arguments that must not block."""

    def __init__(self, routes: dict[str, Callable[[], Answer]]) -> None:
        self._routes = routes
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None] | None, asyncio.StreamWriter] = {}

    async def start(self, host: str, port: int) -> int:
        """Listen, and return the port, which is chosen by the system when `port` is 0."""
        self._server = await asyncio.start_server(self._serve, host, port, limit=MAX_HEAD_BYTES)
        chosen: int = self._server.sockets[0].getsockname()[1]
        return chosen

    async def stop(self) -> None:
        """Stop listening, and end the connections that there are."""
        if self._server is not None:
            self._server.close()
        # Not by cancelling them: asyncio's streams log that as an error.
        for writer in self._connections.values():
            writer.transport.abort()
        if tasks := [task for task in self._connections if task is not None]:
            await asyncio.wait(tasks, timeout=REQUEST_TIMEOUT_SECONDS)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._connections[task] = writer
        if len(self._connections) > MAX_CONNECTIONS:
            # The oldest goes, not the newest: that one may be the kubelet, and
            # whoever has not asked by now holds the connection for nothing.
            next(iter(self._connections.values())).transport.abort()
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_SECONDS):
                with_body, answer = await self._answer(reader)
                writer.write(_head(answer))
                if with_body:
                    writer.write(answer.body)
                await writer.drain()
            writer.close()
            await writer.wait_closed()
        except (TimeoutError, OSError):
            # The caller is slow or gone; there is nobody to tell.
            writer.transport.abort()
        finally:
            del self._connections[task]

    async def _answer(self, reader: asyncio.StreamReader) -> tuple[bool, Answer]:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return True, Answer(431, b"the request is too long\n")
        except asyncio.IncompleteReadError:
            return True, Answer(400, b"the request has no end\n")
        words = head.split(b"\r\n", 1)[0].split(b" ")
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            return True, Answer(400, b"this is not HTTP/1.1\n")
        if words[0] not in (b"GET", b"HEAD"):
            return True, Answer(405, b"only GET and HEAD\n")
        path = words[1].split(b"?", 1)[0].decode("latin-1")
        route = self._routes.get(path)
        if route is None:
            return True, Answer(404, f"try {' '.join(self._routes)}\n".encode())
        try:
            return words[0] == b"GET", route()
        except Exception:
            _log.exception("route %s failed", path)
            return True, Answer(500, b"failed; see the log\n")


def _head(answer: Answer) -> bytes:
    return (
        f"HTTP/1.1 {answer.status} {_REASONS[answer.status]}\r\n"
        f"Content-Type: {answer.content_type}\r\n"
        f"Content-Length: {len(answer.body)}\r\n"
        "Cache-Control: no-store\r\n"
        "Connection: close\r\n\r\n"
    ).encode()
