"""A wire to Postgres that a test can say things on, in the server's name."""

import asyncio
import contextlib
import struct
from dataclasses import replace

from integration.stores import Database

# "terminating connection due to administrator command", and nothing after it: a
# server that dies sends as much of its last words as the network takes.
_LAST_WORDS = b"SFATAL\0C57P01\0Mterminating connection\0\0"


class Wire:
    """Passes bytes both ways, from a port of its own to `database`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._server: asyncio.Server | None = None
        self._clients: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> Database:
        """The database by way of this wire."""
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return replace(self._database, host="127.0.0.1", port=port)

    async def say_last_words(self) -> int:
        """Send the beginning of an end on every connection; returns how many there are."""
        open_ones = [client for client in self._clients if not client.is_closing()]
        for client in open_ones:
            client.write(b"E" + struct.pack("!i", len(_LAST_WORDS) + 4) + _LAST_WORDS)
            await client.drain()
        return len(open_ones)

    async def close(self) -> None:
        """Cut everything."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection(self._database.host, self._database.port)
        self._clients.append(writer)
        for source, sink in ((reader, forth), (back, writer)):
            task = asyncio.create_task(_pass(source, sink))
            self._tasks.add(task)


async def _pass(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
    finally:
        sink.close()
