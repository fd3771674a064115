"""The small HTTP server, and callers who mean no good."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from hailstorm.runtime import http
from hailstorm.runtime.http import Answer, HttpServer


def broken() -> Answer:
    raise ValueError("a defect")


@pytest.fixture
async def port() -> AsyncIterator[int]:
    server = HttpServer(
        {
            "/livez": lambda: Answer(200, b"the event loop turns\n"),
            "/readyz": lambda: Answer(503, b"DRAINING\n"),
            "/broken": broken,
        }
    )
    yield await server.start("127.0.0.1", 0)
    await server.stop()


async def ask(port: int, request: bytes) -> tuple[int, bytes, bytes]:
    """Status, head and body of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await asyncio.wait_for(read_all(reader), 10)
    await hang_up(writer)
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), head, body


async def read_all(reader: asyncio.StreamReader) -> bytes:
    """What is sent until the end, which may be a reset."""
    try:
        return await reader.read()
    except ConnectionError:
        return b""


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


@pytest.mark.parametrize(
    ("request_line", "status", "body"),
    [
        (b"GET /livez HTTP/1.1", 200, b"the event loop turns\n"),
        (b"GET /livez?verbose=1 HTTP/1.1", 200, b"the event loop turns\n"),
        (b"GET /livez HTTP/1.0", 200, b"the event loop turns\n"),
        (b"HEAD /livez HTTP/1.1", 200, b""),
        (b"GET /readyz HTTP/1.1", 503, b"DRAINING\n"),
        (b"GET /nowhere HTTP/1.1", 404, b"try /livez /readyz /broken\n"),
        (b"GET /broken HTTP/1.1", 500, b"failed; see the log\n"),
        (b"POST /livez HTTP/1.1", 405, b"only GET and HEAD\n"),
        (b"\xff\x00 nonsense", 400, b"this is not HTTP/1.1\n"),
        (b"GET  /livez HTTP/1.1", 400, b"this is not HTTP/1.1\n"),
        # HTTP/2's greeting, from somebody who took this for the gRPC port.
        (b"PRI * HTTP/2.0", 400, b"this is not HTTP/1.1\n"),
    ],
)
async def test_route_answers(port: int, request_line: bytes, status: int, body: bytes) -> None:
    seen, head, text = await ask(port, request_line + b"\r\nHost: x\r\n\r\n")
    assert (seen, text) == (status, body)
    assert b"Connection: close" in head


async def test_request_that_is_too_long_is_refused(port: int) -> None:
    status, _, _ = await ask(port, b"GET /livez HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n")
    assert status == 431


async def test_slow_caller_is_sent_away(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "REQUEST_TIMEOUT_SECONDS", 0.1)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /livez")
    assert await asyncio.wait_for(read_all(reader), 5) == b""
    await hang_up(writer)


async def test_crowd_of_idle_callers_does_not_keep_the_kubelet_out(port: int) -> None:
    idle = [
        await asyncio.open_connection("127.0.0.1", port) for _ in range(http.MAX_CONNECTIONS + 10)
    ]
    status, _, _ = await ask(port, b"GET /livez HTTP/1.1\r\n\r\n")
    assert status == 200
    # The first of them had to go.
    assert await asyncio.wait_for(read_all(idle[0][0]), 2) == b""
    for _, writer in idle:
        await hang_up(writer)
