"""
Time, as something that a test can hold still.

Whoever decides by time takes a Clock; only `SystemClock` may ask the machine.
"""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """The three things that code asks of time."""

    def now(self) -> float:
        """Seconds since 1970, for what is told to others; may jump."""

    def monotonic(self) -> float:
        """Seconds since some moment, for durations; never goes back."""

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""


class SystemClock:
    """The machine's time."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
