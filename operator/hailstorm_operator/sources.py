"""
Asks the sources of a signal: the edge's Envoys, or the target's pods.

Each is asked by its pod's address and on its own: behind a Service one of them
would answer for all. A slow one keeps nobody waiting: its answer counts when it
comes. A failed question leaves the last answer to grow old, and `signals` judges
by its age.
"""

import asyncio
import functools
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

import aiohttp

from hailstorm_operator.edge_stats import StatsError, parse_edge_stats, stats_filter
from hailstorm_operator.gauges import parse_gauge
from hailstorm_operator.signals import Sample
from hailstorm_operator.specs import EdgeSignal, PodsSignal

# Below the poll's half second, so that a slow source does not delay the next poll.
WAIT_SECONDS: Final = 0.4
# On an overloaded machine answers took more than half a second when tried; one
# that takes longer than this would be too old to count.
TIMEOUT_SECONDS: Final = 1.5


@dataclass(frozen=True)
class Question:
    """What each source is asked over HTTP, and how its answer reads; `read` raises StatsError."""

    port: int
    path: str
    read: Callable[[str, float], Sample]
    query: Mapping[str, str] = field(default_factory=dict)


def question_of(signal: EdgeSignal | PodsSignal) -> Question:
    """The question that a spec's signal asks."""
    if isinstance(signal, EdgeSignal):

        def read_edge(text: str, at: float) -> Sample:
            stats = parse_edge_stats(text, signal.cluster)
            return Sample(stats.active, at, stats)

        return Question(signal.port, "/stats", read_edge, {"filter": stats_filter(signal.cluster)})

    def read_pod(text: str, at: float) -> Sample:
        return Sample(parse_gauge(text, signal.metric), at)

    return Question(signal.port, signal.path, read_pod)


class SourceReader:
    """Last answers of the sources to one question, by address."""

    def __init__(self, session: aiohttp.ClientSession, question: Question) -> None:
        self._session = session
        self._question = question
        self.samples: dict[str, Sample] = {}
        self.errors: dict[str, str] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}

    async def poll(self, addresses: Collection[str]) -> None:
        """
        Ask every address that has no question open, and wait a moment for answers.

        Addresses that are no longer there are forgotten.
        """
        wanted = set(addresses)
        for address in set(self._asking) - wanted:
            self._asking.pop(address).cancel()
        for known in (self.samples, self.errors):
            for address in set(known) - wanted:
                del known[address]
        for address in wanted - set(self._asking):
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
        question = self._question
        try:
            async with self._session.get(
                f"http://{host}:{question.port}{question.path}",
                params=question.query,
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS),
            ) as response:
                response.raise_for_status()
                sample = question.read(await response.text(), time.time())
        except (TimeoutError, aiohttp.ClientError, OSError, StatsError) as error:
            self.errors[address] = str(error) or type(error).__name__
            return
        self.samples[address] = sample
        self.errors.pop(address, None)


def open_session() -> aiohttp.ClientSession:
    """A session that keeps its connections to the sources and follows no redirect or proxy."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30), trust_env=False
    )
