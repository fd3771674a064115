"""
Asks the edge's Envoys how many calls are in flight.

Each is asked by its pod's address and on its own: behind a Service one of them
would answer for all. A slow one keeps nobody waiting: its answer counts when it
comes. A failed question leaves the last answer to grow old, and `signals` judges
by its age.
"""

import asyncio
import functools
import logging
import time
from collections.abc import Iterable
from typing import Final

import aiohttp

from hailstorm_operator.inventory import EdgePod
from hailstorm_operator.signals import (
    Sample,
    StatsError,
    active_calls_filter,
    parse_active_calls,
)

logger = logging.getLogger(__name__)

# Below the poll's half second, so that a slow Envoy does not delay the next poll.
WAIT_SECONDS: Final = 0.4
# On an overloaded machine answers took more than half a second when tried; one
# that takes longer than this would be too old to count.
TIMEOUT_SECONDS: Final = 1.5


class EdgeReader:
    """Last answers of the Envoys for one cluster name, by pod address."""

    def __init__(self, session: aiohttp.ClientSession, cluster: str, port: int) -> None:
        self._session = session
        self._cluster = cluster
        self._port = port
        self.samples: dict[str, Sample] = {}
        self.errors: dict[str, str] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}

    async def poll(self, pods: Iterable[EdgePod]) -> None:
        """
        Ask every pod that has no question open, and wait a moment for answers.

        Pods that are no longer there are forgotten.
        """
        addresses = {pod.address for pod in pods}
        for address in set(self._asking) - addresses:
            self._asking.pop(address).cancel()
        for known in (self.samples, self.errors):
            for address in set(known) - addresses:
                del known[address]
        for address in addresses - set(self._asking):
            task = asyncio.create_task(self._ask(address), name=f"ask {address}")
            self._asking[address] = task
            task.add_done_callback(functools.partial(self._answered, address))
        if self._asking:
            await asyncio.wait(self._asking.values(), timeout=WAIT_SECONDS)

    async def close(self) -> None:
        """Take back the questions that are open."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _answered(self, address: str, task: asyncio.Task[None]) -> None:
        if self._asking.get(address) is task:
            del self._asking[address]

    async def _ask(self, address: str) -> None:
        host = f"[{address}]" if ":" in address else address
        try:
            async with self._session.get(
                f"http://{host}:{self._port}/stats",
                params={"filter": active_calls_filter(self._cluster)},
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS),
            ) as response:
                response.raise_for_status()
                value = parse_active_calls(await response.text(), self._cluster)
        except (TimeoutError, aiohttp.ClientError, OSError, StatsError) as error:
            self.errors[address] = str(error) or type(error).__name__
            return
        self.samples[address] = Sample(value, time.time())
        self.errors.pop(address, None)


def open_session() -> aiohttp.ClientSession:
    """A session that keeps its connections to the edge and follows no redirect or proxy."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30), trust_env=False
    )
