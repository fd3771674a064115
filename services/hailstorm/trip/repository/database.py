"""
The calls' way to Postgres: a few connections, short time-outs, a breaker, no retries.

Each statement is its own transaction, so a connection holds no state between
two of them (see `connections`). Whatever keeps Postgres from answering becomes
UNAVAILABLE with a delay; nothing here needs to be told when it is back. A line for
a connection that is too long is RESOURCE_EXHAUSTED: that is load, and no outage.
Work that needs a transaction has `session`.
"""

import asyncio
import logging
from typing import Any, Final

import asyncpg
from prometheus_client import CollectorRegistry, Counter, Gauge

from hailstorm.runtime.breaker import Breaker
from hailstorm.runtime.calls import remaining_seconds
from hailstorm.runtime.clock import Clock
from hailstorm.runtime.errors import DeadlineExceededError
from hailstorm.trip.errors import SchemaMissingError, StoreBusyError, StoreUnavailableError
from hailstorm.trip.repository.connections import BusyError, Connections
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

# A call looks for rows that it can name. Of a table that was empty when it was last analysed
# the planner thinks that it still is nearly so, and reads all of it for a list of names; it
# keeps that plan while the table grows. None of these forbids what is the only way.
BY_NAME: Final = {
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_material": "off",
}

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
        self._connections = Connections(self._connect, settings.pool_max, settings.command_seconds)
        # What a statement may take in all, if nobody waits for a shorter time.
        self._most_seconds = (
            settings.acquire_seconds + settings.connect_seconds + settings.command_seconds
        )
        self._reachable: bool | None = None
        self._answers = 0
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

    async def close(self) -> None:
        """Close all connections; those that a caller still holds are cut."""
        await self._connections.close(self._settings.command_seconds)

    async def fetch(self, statement: str, *arguments: Any) -> list[Any]:
        """
        Run one statement in its own transaction, and return its rows.

        Raises StoreUnavailableError, after which a write may have happened;
        StoreBusyError, after which none has; DeadlineExceededError when the
        caller's time is over; asyncpg's own errors for what the repository must
        tell apart.
        """
        seconds = self._seconds_left()
        if seconds <= 0:
            raise DeadlineExceededError("no time is left to ask the trip store")
        if not self._breaker.allows():
            raise StoreUnavailableError("the trip store is away")
        try:
            rows = await self._ask(statement, arguments, seconds)
        except BaseException as error:
            translated = self._judge(error)
            if translated is error:
                raise
            raise translated from error
        self._note(True)
        return rows

    async def _ask(self, statement: str, arguments: tuple[Any, ...], seconds: float) -> list[Any]:
        s, connections = self._settings, self._connections
        if connections.are_taken:
            await self._stand_in_line(min(seconds, s.acquire_seconds))
            try:
                if self._breaker.is_open:
                    # Those in front of us have found out what we need not try.
                    raise _AbsentError
                # Some of it went by while we stood in line.
                seconds = self._seconds_left()
                if seconds <= 0:
                    raise DeadlineExceededError("no time was left when the trip store had a place")
            except BaseException:
                connections.leave()
                raise
        else:
            # Returns at once, without a timer.
            await connections.enter(seconds)
        is_made = not connections.has_idle
        try:
            connection = await connections.connection(min(seconds, s.connect_seconds))
        except BaseException as error:
            connections.leave()
            if isinstance(error, TimeoutError) and seconds < s.connect_seconds / 2:
                raise _no_time() from error
            raise
        if is_made:
            seconds = self._seconds_left()
            if seconds <= 0:
                connections.leave(connection)
                raise _no_time()
        try:
            left = min(seconds, s.command_seconds)
            rows: list[Any] = await connection.fetch(statement, *arguments, timeout=left)
        except asyncio.CancelledError:
            connections.leave_cancelled(connection)
            raise
        except BaseException as error:
            if isinstance(error, TimeoutError) and left < s.command_seconds / 2:
                # The caller had little time; that says nothing about Postgres. Taken for
                # an outage, the calls of a long line opened the breaker for all others,
                # and each cost its connection while the statement ran on.
                connections.leave_cancelled(connection)
                raise _no_time() from error
            if isinstance(error, AWAY) and not isinstance(error, asyncpg.DataError):
                # Whether its statement ended, and what is on it now, nobody knows.
                connection.terminate()
            connections.leave(connection)
            raise
        connections.leave(connection)
        return rows

    async def _stand_in_line(self, seconds: float) -> None:
        answers = self._answers
        try:
            await self._connections.enter(seconds)
        except BusyError as error:
            # Not one answer on any connection in so long: Postgres stands still, as when it
            # is frozen or all wait for one lock, and neither more pods nor patience would
            # help. A caller with less time than that has seen too little to say so.
            has_seen = seconds >= self._settings.acquire_seconds / 2
            if self._breaker.is_open or (has_seen and self._answers == answers):
                raise _StandstillError from error
            raise

    def _seconds_left(self) -> float:
        return remaining_seconds(self._most_seconds + ANSWER_MARGIN_SECONDS) - ANSWER_MARGIN_SECONDS

    async def _connect(self, seconds: float) -> Any:
        s = self._settings
        return await asyncpg.connect(
            **{**connect_arguments(s), "timeout": seconds},
            server_settings={
                "application_name": "hailstorm-trip",
                "statement_timeout": str(
                    round((s.command_seconds + _SERVER_MARGIN_SECONDS) * 1000)
                ),
                # Compiling a statement of 1 ms takes longer than running it.
                "jit": "off",
                **BY_NAME,
            },
            # For as long as the connection lives. Those of an age would be closed by
            # whoever prepares the next one, and for that asyncpg has no time-out.
            max_cached_statement_lifetime=0,
        )

    def _judge(self, error: BaseException) -> BaseException:
        """Tell the breaker what an error says of Postgres; what to tell the caller."""
        if isinstance(error, asyncio.CancelledError | DeadlineExceededError):
            self._breaker.gave_up()
            return error
        if isinstance(error, _AbsentError):
            self._breaker.gave_up()
            return StoreUnavailableError("the trip store cannot be reached")
        if isinstance(error, BusyError):
            self._breaker.gave_up()
            self._failures.labels(cause="pool_busy").inc()
            return StoreBusyError()
        if isinstance(error, _StandstillError):
            # Those who have the connections tell the breaker.
            self._breaker.gave_up()
            self._failures.labels(cause="standstill").inc()
            return StoreUnavailableError("the trip store answers nobody")
        if isinstance(error, AWAY) and not isinstance(error, asyncpg.DataError):
            self._note(False, error)
            return StoreUnavailableError("the trip store cannot be reached")
        # An answer, though not one that we want. asyncpg's DataError is an
        # InterfaceError too, but about our arguments.
        self._note(True)
        if isinstance(error, NO_SCHEMA):
            self._failures.labels(cause="no_schema").inc()
            return SchemaMissingError()
        return error

    def _note(self, is_reachable: bool, error: BaseException | None = None) -> None:
        if is_reachable:
            self._answers += 1
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


def _no_time() -> DeadlineExceededError:
    return DeadlineExceededError("the trip store did not answer in time")


class _AbsentError(Exception):
    """Postgres was found to be away while we waited for a connection."""


class _StandstillError(Exception):
    """Nobody was answered for as long as we waited for a connection."""


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
