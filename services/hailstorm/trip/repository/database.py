"""
The calls' way to Postgres: a small pool, short time-outs, a breaker, no retries.

Each statement is its own transaction, so a connection holds no state between
two of them and goes back to the pool without the usual reset, which would
double the round trips. Whatever keeps Postgres from answering becomes
UNAVAILABLE with a delay; nothing here needs to be told when it is back. Work
that needs a transaction has `session`.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any, Final

import asyncpg
from prometheus_client import CollectorRegistry, Counter, Gauge

from hailstorm.runtime.breaker import Breaker
from hailstorm.runtime.calls import remaining_seconds
from hailstorm.runtime.clock import Clock
from hailstorm.runtime.errors import DeadlineExceededError
from hailstorm.trip.errors import SchemaMissingError, StoreUnavailableError
from hailstorm.trip.settings import PostgresSettings

# What passes by itself. Any other answer of Postgres is a defect of ours, and
# must be seen as one rather than be taken for an outage.
AWAY: Final = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    # Before the first install is complete there is no such role or database.
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    # A standby that is not promoted yet.
    asyncpg.ReadOnlySQLTransactionError,
    # asyncpg's own words for a connection that went away under it.
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
# The migration has not run yet.
NO_SCHEMA: Final = (
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
    asyncpg.UndefinedFunctionError,
)

# The answer must be on its way before the caller's time is over. A guess: a
# few turns of a busy event loop.
ANSWER_MARGIN_SECONDS: Final = 0.03
# Postgres ends a statement itself this much after we stopped waiting for it:
# when the way is cut, nobody else does.
_SERVER_MARGIN_SECONDS: Final = 1.0

_log = logging.getLogger(__name__)


class Database:
    """Runs single statements. Safe for any number of callers at once."""

    def __init__(
        self, settings: PostgresSettings, clock: Clock, registry: CollectorRegistry
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._breaker = Breaker(clock, settings.breaker_failures, settings.breaker_open_seconds)
        self._pool: Any = None
        self._places = asyncio.Semaphore(settings.pool_max)
        self._reachable: bool | None = None
        self._failures = Counter(
            "hailstorm_trip_store_failures",
            "Statements that Postgres did not answer, by cause.",
            ("cause",),
            registry=registry,
        )
        self._gauge = Gauge(
            "hailstorm_trip_store_reachable",
            "1 when the last statement was answered, 0 when it was not.",
            registry=registry,
        )

    async def open(self) -> None:
        """Build the pool; it connects when it is first asked."""
        s = self._settings
        self._pool = await asyncpg.create_pool(
            **connect_arguments(s),
            server_settings={
                "application_name": "hailstorm-trip",
                "statement_timeout": str(
                    round((s.command_seconds + _SERVER_MARGIN_SECONDS) * 1000)
                ),
                # Compiling a statement of 1 ms takes longer than running it.
                "jit": "off",
            },
            min_size=0,
            max_size=s.pool_max,
            # Connections are cheap to keep and slow to make.
            max_inactive_connection_lifetime=0,
            reset=_leave_as_it_is,
        )

    async def close(self) -> None:
        """Close all connections; those that a caller still holds are cut."""
        if self._pool is None:
            return
        try:
            # A leaked connection would make close() wait for ever (asyncpg#299).
            await asyncio.wait_for(self._pool.close(), self._settings.command_seconds)
        except TimeoutError:
            self._pool.terminate()

    async def fetch(self, statement: str, *arguments: Any) -> list[Any]:
        """
        Run one statement in its own transaction, and return its rows.

        Raises StoreUnavailableError, after which a write may have happened;
        DeadlineExceededError when the caller's time is over; asyncpg's own
        errors for what the repository must tell apart.
        """
        async with self._asking() as seconds, self._place(seconds):
            # Some of it went by while we stood in line.
            seconds = remaining_seconds(seconds + ANSWER_MARGIN_SECONDS) - ANSWER_MARGIN_SECONDS
            if seconds <= 0:
                raise DeadlineExceededError("no time was left when the trip store had a place")
            connection = await self._pool.acquire(
                timeout=min(seconds, self._settings.connect_seconds)
            )
            try:
                left = min(seconds, self._settings.command_seconds)
                rows: list[Any] = await connection.fetch(statement, *arguments, timeout=left)
                return rows
            except AWAY:
                # Giving it back would wait until a cancellation is heard, which a
                # frozen Postgres does not; and what is on it now nobody knows.
                connection.terminate()
                raise
            finally:
                await self._pool.release(connection)

    @contextlib.asynccontextmanager
    async def _asking(self) -> AsyncIterator[float]:
        s = self._settings
        most = s.acquire_seconds + s.connect_seconds + s.command_seconds
        seconds = remaining_seconds(most + ANSWER_MARGIN_SECONDS) - ANSWER_MARGIN_SECONDS
        if seconds <= 0:
            raise DeadlineExceededError("no time is left to ask the trip store")
        if not self._breaker.allows():
            raise StoreUnavailableError("the trip store is away")
        began = self._clock.monotonic()
        try:
            yield seconds
        except asyncio.CancelledError:
            self._breaker.gave_up()
            raise
        except _AbsentError as error:
            self._breaker.gave_up()
            raise StoreUnavailableError("the trip store cannot be reached") from error
        except _PoolBusyError as error:
            self._breaker.gave_up()
            self._failures.labels(cause="pool_busy").inc()
            raise StoreUnavailableError("the trip store is busy", reason="POOL_BUSY") from error
        except asyncpg.DataError:
            # An InterfaceError too, but about our arguments.
            self._breaker.answered()
            raise
        except AWAY as error:
            waited = self._clock.monotonic() - began
            if isinstance(error, TimeoutError) and waited < self._settings.command_seconds / 2:
                # The caller had little time; that says nothing about Postgres.
                self._breaker.gave_up()
                raise DeadlineExceededError("the trip store did not answer in time") from error
            self._note(False, error)
            raise StoreUnavailableError("the trip store cannot be reached") from error
        except NO_SCHEMA as error:
            self._note(True)
            self._failures.labels(cause="no_schema").inc()
            raise SchemaMissingError from error
        except BaseException:
            self._note(True)
            raise
        self._note(True)

    @contextlib.asynccontextmanager
    async def _place(self, seconds: float) -> AsyncIterator[None]:
        """One of `pool_max` places, so that the pool itself never lets anybody wait."""
        if not self._places.locked():
            # Returns at once; a timer for each statement would cost more than it.
            await self._places.acquire()
        else:
            try:
                async with asyncio.timeout(min(seconds, self._settings.acquire_seconds)):
                    await self._places.acquire()
            except TimeoutError as error:
                # All connections are in use: that is load, not absence.
                raise _PoolBusyError from error
            if self._breaker.is_open:
                # Those in front of us have found out what we need not try.
                self._places.release()
                raise _AbsentError
        try:
            yield
        finally:
            self._places.release()

    def _note(self, is_reachable: bool, error: BaseException | None = None) -> None:
        if is_reachable:
            self._breaker.answered()
        else:
            self._breaker.failed()
            self._failures.labels(cause="away").inc()
        if is_reachable is not self._reachable:
            self._gauge.set(is_reachable)
            # Once for each change: an outage must not fill the log.
            if not is_reachable:
                _log.warning("postgres does not answer: %s: %s", type(error).__name__, error)
            elif self._reachable is False:
                _log.info("postgres answers again")
            self._reachable = is_reachable


class _PoolBusyError(Exception):
    """All connections were in use for as long as we waited."""


class _AbsentError(Exception):
    """Postgres was found to be away while we waited for a connection."""


def connect_arguments(settings: PostgresSettings) -> dict[str, Any]:
    """What asyncpg needs to find Postgres and to give up finding it."""
    return {
        "host": settings.host,
        "port": settings.port,
        "database": settings.database,
        "user": settings.user,
        # asyncpg takes no subclass of str ("Expected str, got Secret").
        "password": None if settings.password is None else str(settings.password),
        "timeout": settings.connect_seconds,
    }


async def _leave_as_it_is(_connection: Any) -> None:
    """Nothing to reset: no statement here leaves anything behind."""
