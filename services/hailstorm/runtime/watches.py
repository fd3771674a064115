"""
Streams that are told what has changed: one look at a store for all of a process.

A stream that asked for itself would cost as many questions a second as there
are streams. Here one task asks for all of them: at once when this process has
changed what somebody watches, and otherwise once a period, for what was changed
elsewhere. A stream ends when it is over, or when the server drains: it has then
sent all that it was given, and the caller goes on elsewhere from there.

    changed here ─┐
    stream opened ┼──► look ──► tell ──► stream sends ──► waits
    period over ──┘      └── pause, so that changes that come together are one look
"""

import abc
import asyncio
import contextlib
from collections.abc import AsyncGenerator, Collection, Iterator
from typing import Any, Final, Generic, TypeVar

from prometheus_client import Gauge

from hailstorm.runtime.clock import Clock
from hailstorm.runtime.errors import RetryableError

# Changes of this process that come together are told by one look. A guess:
# nobody sees 20 ms, and it bounds the looks to 50 a second.
WAKE_PAUSE_SECONDS: Final = 0.02

# City and id of what is watched.
Name = tuple[str, str]


class Watch(abc.ABC):
    """
    One stream.

    Attributes:
        is_over: there is nothing left to tell, now or later.
    """

    is_over = False

    def __init__(self, draining: asyncio.Event) -> None:
        self._draining = draining
        self._changed = asyncio.Event()

    def wake(self) -> None:
        """Have the stream look at its news, and at whether the server drains."""
        self._changed.set()

    async def events(self) -> AsyncGenerator[Any, None]:
        """What there is to send, until the stream is over or the server drains."""
        while not self.is_over:
            self._changed.clear()
            for event in self._news():
                yield event
            if self.is_over or self._draining.is_set():
                return
            await self._changed.wait()

    @abc.abstractmethod
    def _news(self) -> Iterator[Any]:
        """Take out what is to be sent; it is gone on when the one before was sent."""


W = TypeVar("W", bound=Watch)


class Watches(abc.ABC, Generic[W]):
    """All open streams of this process, and the task that feeds them."""

    def __init__(
        self, clock: Clock, gauge: Gauge, draining: asyncio.Event, poll_seconds: float
    ) -> None:
        self._clock = clock
        self._gauge = gauge
        self._draining = draining
        self._poll_seconds = poll_seconds
        self._open: dict[W, None] = {}
        self._watched: dict[Name, int] = {}
        self._wanted = asyncio.Event()

    def __iter__(self) -> Iterator[W]:
        return iter(tuple(self._open))

    async def feed(self) -> None:
        """Tell all watches what is new, for as long as the process lives."""
        while True:
            if self._open:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wanted.wait(), self._poll_seconds)
            else:
                await self._wanted.wait()
            self._wanted.clear()
            # The streams stay open: what they miss now is told by the next look.
            with contextlib.suppress(RetryableError):
                await self._look()
            await self._clock.sleep(WAKE_PAUSE_SECONDS)

    async def end_with_drain(self) -> None:
        """Wake every stream once the server drains, so that it ends itself."""
        await self._draining.wait()
        for watch in self:
            watch.wake()

    @contextlib.contextmanager
    def _following(self, watch: W, names: Collection[Name]) -> Iterator[W]:
        """Feed a stream about these for as long as the block lasts."""
        self._open[watch] = None
        for name in names:
            self._watched[name] = self._watched.get(name, 0) + 1
        self._gauge.set(len(self._open))
        self._wanted.set()
        try:
            yield watch
        finally:
            del self._open[watch]
            for name in names:
                self._watched[name] -= 1
                if not self._watched[name]:
                    del self._watched[name]
            self._gauge.set(len(self._open))

    def _look_soon(self, name: Name) -> None:
        """This process has changed it: look at once, if anybody watches it."""
        if name in self._watched:
            self._wanted.set()

    @abc.abstractmethod
    async def _look(self) -> None:
        """Tell the open streams what is new; a RetryableError leaves it to the next look."""
