"""
Flags in a ConfigMap, watched through the API server.

The kubelet brings a mounted ConfigMap up to date when it next looks at the pod,
every 60 to 90 s: too slow for a kill switch. A watch costs one idle connection
and tells of a change at once. It is one GET with an endless answer, a line for
each event, so a client library of 30 MiB would be carried for 60 lines.

Each watch is asked for without a version: the server then begins with what is
there now, so a watch that broke off needs no memory of where it was. It ends by
itself after `WATCH_SECONDS` and is asked for again: a connection that died
without a word, behind a load balancer for instance, is forgotten by then at the
latest; one whose peer is gone is noticed in seconds.
"""

import asyncio
import json
import logging
import random
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hailstorm.runtime.clock import Clock
from hailstorm.runtime.flags.feed import CONFIG_MAP, Feed
from hailstorm.runtime.patience import patiently

# A new connection a minute is nothing for a server, and bounds what a silent
# death can hide.
WATCH_SECONDS: Final = 60
# Watches end at different times, or all pods of a rollout would connect together.
WATCH_SPREAD_SECONDS: Final = 15
# The server ends a watch a moment after it is due; later, the server is stuck.
OVERDUE_SECONDS: Final = 5.0
# Connecting, and the head of the answer. A guess: ten times a loaded server's.
ANSWER_SECONDS: Final = 5.0
# First and longest pause after a failure; below the 5 s in which a flip must be
# everywhere once the server is back, and above what would keep it from coming back.
FIRST_PAUSE_SECONDS: Final = 0.25
LONGEST_PAUSE_SECONDS: Final = 3.0
# A ConfigMap holds 1 MiB at most; as JSON, with its escapes, a few times that.
MAX_LINE_BYTES: Final = 8 * 1024 * 1024
# A peer that is gone is noticed after the idle time and the pings: 2 + 3 x 1 s.
_KEEPALIVE: Final = (
    (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
    (socket.IPPROTO_TCP, "TCP_KEEPIDLE", 2),
    (socket.IPPROTO_TCP, "TCP_KEEPINTVL", 1),
    (socket.IPPROTO_TCP, "TCP_KEEPCNT", 3),
)

_log = logging.getLogger(__name__)


class WatchError(Exception):
    """The watch ended as it should not have; the text says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Place:
    """
    Where the ConfigMap is and who asks for it.

    Attributes:
        server: host:port of the API server.
        name: of the ConfigMap.
        credentials: a folder with `token`, `ca.crt` and `namespace`, read anew for
            each connection, since the kubelet replaces tokens that grow old.
    """

    server: str
    name: str
    credentials: Path


class ConfigMapSource:
    """Watches one ConfigMap for as long as it runs."""

    def __init__(self, place: Place, feed: Feed, clock: Clock) -> None:
        self._place = place
        self._feed = feed
        self._clock = clock

    async def follow(self) -> None:
        """Watch again and again, until cancelled."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                await self._watch()
                pause = FIRST_PAUSE_SECONDS
            except EOFError:
                self._feed.lost(CONFIG_MAP, "the API server broke off")
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            except (OSError, ValueError, asyncio.LimitOverrunError, WatchError) as error:
                self._feed.lost(CONFIG_MAP, f"{type(error).__name__}: {error}")
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            # Spread, so that all pods do not meet a server that is coming back at once.
            await self._clock.sleep(pause * random.uniform(0.5, 1.0))

    async def _watch(self) -> None:
        """Hand over the data, now and after each change, until the server ends the watch."""
        async with patiently(ANSWER_SECONDS):
            reader, writer = await _connect(self._place)
        try:
            seconds = random.randint(WATCH_SECONDS - WATCH_SPREAD_SECONDS, WATCH_SECONDS)
            async with asyncio.timeout(seconds + OVERDUE_SECONDS):
                writer.write(_request(self._place, seconds))
                async with patiently(ANSWER_SECONDS):
                    await _head(reader, self._place)
                self._feed.reached(CONFIG_MAP)
                async for line in _lines(reader):
                    self._take(line)
        finally:
            writer.transport.abort()

    def _take(self, line: bytes) -> None:
        """Act on an event. Raises WatchError, or ValueError for what is not JSON."""
        event = json.loads(line)
        try:
            kind, subject = event["type"], event["object"]
            if kind in ("ADDED", "MODIFIED"):
                data = subject.get("data") or {}
                self._feed.take(CONFIG_MAP, {name: text.strip() for name, text in data.items()})
            elif kind == "DELETED":
                # Whoever deletes it has not said that every flag shall change.
                _log.warning("ConfigMap %s was deleted; its values hold on", self._place.name)
            elif kind == "ERROR":
                raise WatchError(str(subject.get("message", subject))[:200])
        except (KeyError, TypeError, AttributeError) as error:
            raise WatchError(f"an event that is none: {line[:200]!r}") from error


async def _connect(place: Place) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = place.server.rpartition(":")
    context = ssl.create_default_context(cafile=str(place.credentials / "ca.crt"))
    reader, writer = await asyncio.open_connection(host.strip("[]"), int(port), ssl=context)
    connection = writer.get_extra_info("socket")
    for level, name, value in _KEEPALIVE:
        # TCP's own are Linux's; elsewhere the end of the watch has to do.
        if hasattr(socket, name):
            connection.setsockopt(level, getattr(socket, name), value)
    return reader, writer


def _request(place: Place, seconds: int) -> bytes:
    token = (place.credentials / "token").read_text().strip()
    namespace = (place.credentials / "namespace").read_text().strip()
    path = (
        f"/api/v1/namespaces/{namespace}/configmaps?watch=true&timeoutSeconds={seconds}"
        f"&fieldSelector=metadata.name%3D{place.name}"
    )
    lines = (
        f"GET {path} HTTP/1.1",
        f"Host: {place.server}",
        f"Authorization: Bearer {token}",
        "Accept: application/json",
        "User-Agent: hailstorm-flags",
        "Connection: close",
    )
    return "\r\n".join((*lines, "", "")).encode()


async def _head(reader: asyncio.StreamReader, place: Place) -> None:
    """Read past the answer's headers. Raises WatchError when it is not a watch."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    status = head.split(" ", 2)[1]
    if status == "403":
        raise WatchError(
            f"403; the pod's ServiceAccount needs a Role that may watch configmaps/{place.name}"
        )
    if status == "401":
        raise WatchError(f"401; the token in {place.credentials} is not valid")
    if status != "200" or "transfer-encoding: chunked" not in head:
        raise WatchError(f"the API server answers {status} and no stream")


async def _lines(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """The lines of a body in chunks (RFC 9112, 7.1), whose borders mean nothing."""
    buffer = bytearray()
    while True:
        size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
        if size == 0:
            return
        buffer += (await reader.readexactly(size + 2))[:size]
        *whole, rest = buffer.split(b"\n")
        for line in whole:
            yield bytes(line)
        buffer = rest
        if len(buffer) > MAX_LINE_BYTES:
            raise WatchError(f"an event of more than {MAX_LINE_BYTES} bytes")
