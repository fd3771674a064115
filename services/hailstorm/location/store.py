"""
The one way to Redis: short time-outs, a breaker, one retry for reads, none for writes.

A write whose answer is lost may have happened, and a repeated one would be told
that its own positions are stale, so it is the caller who decides. Whatever
keeps Redis from answering becomes UNAVAILABLE with a delay, within
`total_seconds`; nothing here needs to be told when Redis is back.
"""

import asyncio
import dataclasses
import logging
from collections.abc import Collection, Sequence
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge
from redis.exceptions import (
    AskError,
    ClusterDownError,
    ConnectionError,
    MasterDownError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    TryAgainError,
)
from redis.exceptions import TimeoutError as RedisTimeoutError

from hailstorm.location.cluster import Address, Cluster
from hailstorm.location.commands import Command, Script, StoreUnavailableError
from hailstorm.location.connection import Connection
from hailstorm.location.settings import RedisMode, RedisSettings
from hailstorm.runtime.breaker import Breaker
from hailstorm.runtime.calls import remaining_seconds
from hailstorm.runtime.clock import Clock
from hailstorm.runtime.errors import (
    DeadlineExceededError,
    ResourceExhaustedError,
)
from hailstorm.runtime.patience import patiently

__all__ = ["Command", "Script", "Store", "StoreUnavailableError"]

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
    RedisTimeoutError,
)

# What a server answers that was master when the connection was made, and hangs up on nobody.
_DEMOTED: Final = (MasterDownError, ReadOnlyError)

_log = logging.getLogger(__name__)


class StoreMetrics:
    """What a store tells of itself, be it one server or many."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.failures = Counter(
            "hailstorm_location_store_failures",
            "Operations that Redis did not answer.",
            ("kind",),
            registry=registry,
        )
        self._reachable = Gauge(
            "hailstorm_location_store_reachable",
            "1 when the last operation of each server was answered, 0 when one's was not.",
            registry=registry,
        )
        self._away: set[Address] = set()

    def note(self, server: Address, is_reachable: bool) -> None:
        """The last operation of `server` was answered, or was not."""
        (self._away.discard if is_reachable else self._away.add)(server)
        self._reachable.set(not self._away)

    def keep(self, servers: Collection[Address]) -> None:
        """Only these are servers any more; whether others answer is no matter."""
        self._away.intersection_update(servers)
        self._reachable.set(not self._away)


class Store:
    """
    Redis, as `settings.mode` says: one server, or a cluster of them.

    Safe for any number of callers at once.
    """

    def __init__(self, settings: RedisSettings, clock: Clock, registry: CollectorRegistry) -> None:
        metrics = StoreMetrics(registry)
        self._redis: Server | Cluster
        if settings.mode is RedisMode.CLUSTER:

            def new_server(address: Address) -> Server:
                host, port = address
                own = dataclasses.replace(settings, host=host, port=port)
                return Server(own, clock, metrics, leaves_redirects=True)

            seed = (settings.host, settings.port)
            self._redis = Cluster(seed, new_server, metrics.keep, clock)
        else:
            self._redis = Server(settings, clock, metrics)

    async def read(self, commands: Sequence[Command]) -> list[Any]:
        """Run commands that change nothing. Raises StoreUnavailableError."""
        return await self._redis.read(commands)

    async def write(self, commands: Sequence[Command]) -> list[Any]:
        """Run commands once. Raises StoreUnavailableError, after which they may have run."""
        return await self._redis.write(commands)

    async def close(self) -> None:
        """Close all connections."""
        await self._redis.close()


class Server:
    """
    One server, asked in one pipeline.

    With `leaves_redirects`, MOVED, ASK and TRYAGAIN are answers as others are, for
    whoever knows the other servers.
    """

    def __init__(
        self,
        settings: RedisSettings,
        clock: Clock,
        metrics: StoreMetrics,
        leaves_redirects: bool = False,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._address = (settings.host, settings.port)
        # redis-py's MovedError is one, too.
        self._answers = (AskError, TryAgainError) if leaves_redirects else ()
        # Those that nobody asks now, the last one used on top.
        self._idle: list[Connection] = []
        self._connections: set[Connection] = set()
        self._slots = asyncio.Semaphore(settings.pool_max)
        self._breaker = Breaker(
            clock,
            settings.breaker_failures,
            settings.breaker_open_seconds,
            settings.breaker_silence_seconds,
        )
        self._metrics = metrics
        self._is_reachable: bool | None = None
        self._is_closed = False

    @property
    def is_away(self) -> bool:
        """Whether it did not answer when last asked."""
        return self._is_reachable is False

    async def read(self, commands: Sequence[Command]) -> list[Any]:
        """Run commands that change nothing. Raises StoreUnavailableError."""
        return await self._run(commands, READ_ATTEMPTS, "read")

    async def write(self, commands: Sequence[Command]) -> list[Any]:
        """Run commands once. Raises StoreUnavailableError, after which they may have run."""
        return await self._run(commands, WRITE_ATTEMPTS, "write")

    async def close(self) -> None:
        """Close all connections; those that a caller still waits for are cut."""
        self._is_closed = True
        self._idle.clear()
        while self._connections:
            self._connections.pop().close()

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
        if not self._slots.locked():
            # Returns at once, and needs no timer for it.
            await self._slots.acquire()
            return
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
            self._metrics.failures.labels(kind=kind).inc()
            raise StoreUnavailableError("the position store is away")
        began = self._clock.monotonic()
        try:
            async with patiently(seconds):
                results = await self._attempt(commands, attempts)
        except _AWAY as error:
            if isinstance(error, TimeoutError) and seconds < self._settings.timeout_seconds:
                # The caller had little time; that says nothing about Redis. Taken
                # for an outage it opened the breaker of every overloaded process.
                self._breaker.gave_up()
                raise DeadlineExceededError("the position store did not answer in time") from error
            self._breaker.failed()
            self._metrics.failures.labels(kind=kind).inc()
            self._note(False, error, self._clock.monotonic() - began)
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
            if isinstance(result, Exception) and not isinstance(result, self._answers):
                raise result
        return results

    async def _execute(self, commands: Sequence[Command]) -> list[Any]:
        connection = await self._connected()
        try:
            results = await connection.ask(commands)
            if any(isinstance(result, _DEMOTED) for result in results):
                # Whoever is master now has the name by now; this one would be asked for ever.
                connection.close()
            return results
        finally:
            if connection.is_open:
                self._idle.append(connection)
            else:
                self._connections.discard(connection)

    async def _connected(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
            self._connections.discard(connection)
        s = self._settings
        password = None if s.password is None else str(s.password)
        connection = await Connection.open(s.host, s.port, password)
        if self._is_closed:
            # Made while all were closed: nobody would close this one.
            connection.close()
        self._connections.add(connection)
        return connection

    def _note(
        self, is_reachable: bool, error: Exception | None = None, seconds: float = 0.0
    ) -> None:
        if is_reachable is not self._is_reachable:
            self._metrics.note(self._address, is_reachable)
            # Once for each change: an outage must not fill the log.
            if not is_reachable:
                # By the clock: far more than the time-outs say that our own loop stood still.
                _log.warning(
                    "redis does not answer: %s after %.2f s: %s",
                    *(type(error).__name__, seconds, error),
                    extra={"server": f"{self._address[0]}:{self._address[1]}"},
                )
            elif self._is_reachable is False:
                _log.info("redis answers again")
            self._is_reachable = is_reachable
