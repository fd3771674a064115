"""A channel that is connected before the test's first call."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, Final

from hailstorm.runtime.channels import direct_channel

# A machine that runs other tests too may need several tries.
CONNECT_SECONDS: Final = 30.0


@contextlib.asynccontextmanager
async def ready_channel(target: str, health_name: str = "lb") -> AsyncIterator[Any]:
    """
    A direct channel to a server that serves.

    Its connects have a second each. On a busy machine the first one may fail, and
    the first call with it (UNAVAILABLE), whatever the test is about.
    """
    async with direct_channel(target, health_name) as channel:
        await asyncio.wait_for(channel.channel_ready(), CONNECT_SECONDS)
        yield channel
