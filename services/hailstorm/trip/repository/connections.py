"""
The calls' connections to Postgres: a fixed number of places, and a fair line for them.

asyncpg's own pool makes a task, a shield and a proxy for each statement, so that a
connection may go back with a transaction open. What calls need is small: each
statement is its own transaction, so a connection that has answered is as good as new.

    place free ──take──► connection (made if there is none) ──give──► place free
                            │ cancelled: asked once more, then given back
                            └ broken: cut; the next to have the place makes a new one

asyncpg keeps the statements of a connection prepared for as long as it lives.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final

# Asked of a connection whose last statement was cancelled: the answer says that
# Postgres has heard of it. asyncpg makes each statement wait for that.
_ARE_YOU_THERE: Final = "SELECT"


class BusyError(Exception):
    """All places were taken for as long as we waited."""


class Connections:
    """At most `places` connections. Safe for any number of callers at once."""

    def __init__(
        self, connect: Callable[[float], Awaitable[Any]], places: int, patience_seconds: float
    ) -> None:
        """
        `connect` makes a connection within some seconds.

        `patience_seconds` is how long a cancelled statement may take to end.
        """
        self._connect = connect
        self._free = places
        self._patience_seconds = patience_seconds
        # The last one used on top: the others may be closed by whoever is between.
        self._idle: list[Any] = []
        self._open: set[Any] = set()
        self._line: deque[asyncio.Future[None]] = deque()
        self._recovering: set[asyncio.Task[None]] = set()
        self._is_closed = False

    @property
    def has_idle(self) -> bool:
        """Whether `connection` has one at once."""
        return bool(self._idle) and not self._idle[-1].is_closed()

    @property
    def are_taken(self) -> bool:
        """Whether a caller would have to wait now."""
        return not self._free

    async def enter(self, seconds: float) -> None:
        """
        Take a place, after those who came before. Raises BusyError after so many seconds.

        Every `enter` that returns is followed by one `leave`.
        """
        if self._free:
            self._free -= 1
            return
        loop = asyncio.get_running_loop()
        called: asyncio.Future[None] = loop.create_future()
        self._line.append(called)
        timer = loop.call_later(seconds, _give_up, called)
        try:
            await called
        except asyncio.CancelledError:
            if called.done() and not called.cancelled() and called.exception() is None:
                # Called and cancelled at once: the next one is called instead.
                self._call_next()
            raise
        finally:
            timer.cancel()

    async def connection(self, seconds: float) -> Any:
        """
        A connection for whoever has a place, made within so many seconds if there is none.

        Raises what connecting raises.
        """
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
            self._open.discard(connection)
        connection = await self._connect(seconds)
        if self._is_closed:
            # Made while all were closed: nobody would close this one.
            connection.terminate()
        self._open.add(connection)
        return connection

    def leave(self, connection: Any = None) -> None:
        """Give a place back, with the connection if one was had and has answered."""
        if connection is not None:
            if connection.is_closed():
                self._open.discard(connection)
            else:
                self._idle.append(connection)
        self._call_next()

    def leave_cancelled(self, connection: Any) -> None:
        """Give both back once Postgres has heard that the last statement is cancelled."""
        task = asyncio.create_task(self._recover(connection), name="postgres-cancelled")
        self._recovering.add(task)
        task.add_done_callback(self._recovering.discard)

    async def close(self, seconds: float) -> None:
        """Close all; those that do not end in time, or that a caller still has, are cut."""
        self._is_closed = True
        for task in tuple(self._recovering):
            task.cancel()
        idle, self._idle = self._idle, []
        closing = (asyncio.wait_for(each.close(), seconds) for each in idle)
        await asyncio.gather(*closing, return_exceptions=True)
        for each in self._open:
            each.terminate()
        self._open.clear()

    async def _recover(self, connection: Any) -> None:
        try:
            async with asyncio.timeout(self._patience_seconds):
                await connection.execute(_ARE_YOU_THERE)
        except Exception:
            # Broken, or as good as: what is on it now nobody knows.
            connection.terminate()
        finally:
            self.leave(connection)

    def _call_next(self) -> None:
        while self._line:
            called = self._line.popleft()
            if not called.done():
                called.set_result(None)
                return
        self._free += 1


def _give_up(called: "asyncio.Future[None]") -> None:
    if not called.done():
        called.set_exception(BusyError())
