"""A wire between client and server that loses replies on purpose."""

import asyncio
import contextlib

# A ping or a window update is shorter, a request with its headers is longer.
_REQUEST_BYTES = 60


class CuttingProxy:
    """
    Passes bytes to `port` of the loopback.

    Once armed, the next request is passed on, its reply is kept back, and a
    moment later both sides find the connection gone: the server has done what
    the client never hears of.
    """

    def __init__(self, port: int, hold_seconds: float = 0.02) -> None:
        self._upstream = port
        self._hold_seconds = hold_seconds
        self._is_armed = False
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.cuts = 0

    async def open(self) -> str:
        """Listen; returns the gRPC target."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def arm(self) -> None:
        """Lose the reply of the next request, and of all others on its connection."""
        self._is_armed = True

    async def close(self) -> None:
        """Cut everything."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "connections are served in tasks"
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            back, forth = await asyncio.open_connection("127.0.0.1", self._upstream)
        except OSError:
            return
        replies = asyncio.create_task(_pass(back, writer))
        try:
            with contextlib.suppress(OSError):
                while data := await reader.read(65536):
                    forth.write(data)
                    await forth.drain()
                    if self._is_armed and len(data) >= _REQUEST_BYTES:
                        self._is_armed = False
                        self.cuts += 1
                        replies.cancel()
                        # Until the server has surely read it, and most likely done it.
                        await asyncio.sleep(self._hold_seconds)
                        return
        finally:
            replies.cancel()
            forth.close()


async def _pass(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
    finally:
        sink.close()
