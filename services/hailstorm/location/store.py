"""
The one way to Redis: short time-outs, a breaker, one retry for reads, none for writes.

A write whose answer is lost may have happened, and a repeated one would be told
that its own positions are stale, so it is the caller who decides. Whatever
keeps Redis from answering becomes UNAVAILABLE with a delay, within
`total_seconds`; nothing here needs to be told when Redis is back.
"""

import asyncio
import builtins
import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    ClusterDownError,
    ConnectionError,
    MasterDownError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    TimeoutError,
    TryAgainError,
)

from hailstorm.location.settings import RedisSettings
from hailstorm.runtime.breaker import Breaker
from hailstorm.runtime.calls import remaining_seconds
from hailstorm.runtime.clock import Clock
from hailstorm.runtime.errors import (
    DeadlineExceededError,
    ResourceExhaustedError,
    UnavailableError,
)
from hailstorm.runtime.patience import patiently

READ_ATTEMPTS: Final = 2
WRITE_ATTEMPTS: Final = 1

# What passes by itself. Any other answer of Redis is a defect of ours, and must
# be seen as one rather than be taken for an outage.
_AWAY: Final = (
    ClusterDownError,
    ConnectionError,
    MasterDownError,
    OutOfMemoryError,
    OSError,
    ReadOnlyError,
    TimeoutError,
    TryAgainError,
)

_log = logging.getLogger(__name__)


class StoreUnavailableError(UnavailableError):
    """Redis does not answer. A read may be repeated; a write may have happened."""

    reason = "REDIS_UNAVAILABLE"


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script, known to Redis by its digest."""

    text: str
    digest: str

    @classmethod
    def of(cls, text: str) -> "Script":
        return cls(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())

    def call(self, keys: Sequence[str], arguments: Sequence[str | int | float]) -> "Command":
        """A command that runs the script; all `keys` carry one tag."""
        return Command(("EVALSHA", self.digest, len(keys), *keys, *arguments), self)


@dataclass(frozen=True, slots=True)
class Command:
    """One command, with the script that it may have to load first."""

    words: tuple[str | int | float, ...]
    script: Script | None = None


class Store:
    """Runs commands in one pipeline. Safe for any number of callers at once."""

    def __init__(self, settings: RedisSettings, clock: Clock, registry: CollectorRegistry) -> None:
        self._settings = settings
        pool = BlockingConnectionPool(
            host=settings.host,
            port=settings.port,
            password=settings.password,
            # Never waited for: `_slots` lets no more callers in than there are.
            max_connections=settings.pool_max,
            # Ours is patient with our own loop, and these are not.
            socket_timeout=None,
            socket_connect_timeout=None,
            # redis-py's own retry repeats writes as readily as reads.
            retry=Retry(NoBackoff(), 0),
        )
        self._redis: Redis = Redis.from_pool(pool)
        self._slots = asyncio.Semaphore(settings.pool_max)
        self._breaker = Breaker(clock, settings.breaker_failures, settings.breaker_open_seconds)
        self._failures = Counter(
            "hailstorm_location_store_failures",
            "Operations that Redis did not answer.",
            ("kind",),
            registry=registry,
        )
        self._reachable = Gauge(
            "hailstorm_location_store_reachable",
            "1 when the last operation was answered, 0 when it was not.",
            registry=registry,
        )
        self._is_reachable: bool | None = None

    async def read(self, commands: Sequence[Command]) -> list[Any]:
        """Run commands that change nothing. Raises StoreUnavailableError."""
        return await self._run(commands, READ_ATTEMPTS, "read")

    async def write(self, commands: Sequence[Command]) -> list[Any]:
        """Run commands once. Raises StoreUnavailableError, after which they may have run."""
        return await self._run(commands, WRITE_ATTEMPTS, "write")

    async def close(self) -> None:
        """Close all connections."""
        await self._redis.aclose(close_connection_pool=True)

    async def _run(self, commands: Sequence[Command], attempts: int, kind: str) -> list[Any]:
        if not commands:
            return []
        await self._stand_in_line()
        try:
            results = await self._ask(commands, attempts, kind)
        finally:
            self._slots.release()
        self._note(True)
        return results

    async def _stand_in_line(self) -> None:
        # Apart from the time that Redis gets: who waits for our own CPU must not
        # take Redis for away, and have the edge repeat the call elsewhere.
        try:
            async with patiently(self._settings.pool_wait_seconds):
                await self._slots.acquire()
        except TimeoutError as error:
            raise ResourceExhaustedError(
                "too many calls wait for the position store", reason="STORE_BUSY"
            ) from error

    async def _ask(self, commands: Sequence[Command], attempts: int, kind: str) -> list[Any]:
        seconds = remaining_seconds(self._settings.total_seconds)
        if seconds <= 0:
            raise DeadlineExceededError("no time is left to ask the position store")
        if not self._breaker.allows():
            self._failures.labels(kind=kind).inc()
            raise StoreUnavailableError("the position store is away")
        try:
            async with patiently(seconds):
                results = await self._attempt(commands, attempts)
        except _AWAY as error:
            # patiently's TimeoutError, which is not redis-py's.
            is_late = isinstance(error, builtins.TimeoutError)
            if is_late and seconds < self._settings.timeout_seconds / 2:
                # The caller had little time; that says nothing about Redis.
                self._breaker.gave_up()
                raise DeadlineExceededError("the position store did not answer in time") from error
            self._breaker.failed()
            self._failures.labels(kind=kind).inc()
            self._note(False, error)
            raise StoreUnavailableError("the position store cannot be reached") from error
        except asyncio.CancelledError:
            self._breaker.gave_up()
            raise
        except Exception:
            # An answer, though not one that we want.
            self._breaker.answered()
            raise
        self._breaker.answered()
        return results

    async def _attempt(self, commands: Sequence[Command], attempts: int) -> list[Any]:
        while True:
            attempts -= 1
            try:
                async with patiently(self._settings.timeout_seconds):
                    return await self._pipeline(commands)
            except _AWAY:
                if attempts == 0:
                    raise

    async def _pipeline(self, commands: Sequence[Command]) -> list[Any]:
        results = await self._execute(commands)
        missing = [i for i, result in enumerate(results) if isinstance(result, NoScriptError)]
        if missing:
            # A script that is not known has not run, so running it is no repetition.
            scripts = {s.digest: s for i in missing if (s := commands[i].script) is not None}
            loads = [Command(("SCRIPT", "LOAD", script.text)) for script in scripts.values()]
            again = await self._execute([*loads, *(commands[i] for i in missing)])
            for i, result in zip(missing, again[len(loads) :], strict=True):
                results[i] = result
        for result in results:
            if isinstance(result, Exception):
                raise result
        return results

    async def _execute(self, commands: Sequence[Command]) -> list[Any]:
        async with self._redis.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command.words)
            results: list[Any] = await pipeline.execute(raise_on_error=False)
            return results

    def _note(self, is_reachable: bool, error: Exception | None = None) -> None:
        self._reachable.set(is_reachable)
        if is_reachable is not self._is_reachable:
            # Once for each change: an outage must not fill the log.
            if not is_reachable:
                _log.warning("redis does not answer: %s: %s", type(error).__name__, error)
            elif self._is_reachable is False:
                _log.info("redis answers again")
            self._is_reachable = is_reachable
