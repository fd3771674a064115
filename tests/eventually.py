"""The one way tests wait: ask until it is so, or say what was seen last."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

# Short enough that a wait adds nothing noticeable to a test, long enough that
# a probe which starts a process does not fill the machine.
POLL_SECONDS = 0.05


async def eventually(
    probe: Callable[[], T | Awaitable[T]],
    deadline: float,
    until: Callable[[T], bool] = bool,
) -> T:
    """
    Call `probe` until `until(value)` holds, for at most `deadline` seconds.

    Returns the value that satisfied it. Raises AssertionError with the last
    value, or the last error, that was seen. A probe that raises is asked again.
    """
    end = time.monotonic() + deadline
    last: object = "nothing yet"
    while True:
        try:
            found = probe()
            value: T = await found if inspect.isawaitable(found) else found  # type: ignore[assignment]
            if until(value):
                return value
            last = value
        except Exception as error:
            last = error
        if time.monotonic() >= end:
            raise AssertionError(f"not so within {deadline} s; last seen: {last!r}")
        await asyncio.sleep(POLL_SECONDS)
