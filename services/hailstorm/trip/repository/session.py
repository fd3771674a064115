"""
A connection for work behind the calls' backs: transactions, COPY, more patience.

It is apart from the pool, so that a batch which waits never takes a place that
a caller waits for; so a process has `pool_max` connections and this one. It is
made when it is first needed and again after a loss. Whatever ends a transaction
before its commit, be it an error, a cancellation or a cut, ends the connection
too: Postgres then takes everything back, and no state is left to reason about.
"""

import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, Final

import asyncpg

from hailstorm.trip.errors import SchemaMissingError, StoreUnavailableError
from hailstorm.trip.repository.database import AWAY, NO_SCHEMA, connect_arguments
from hailstorm.trip.settings import PostgresSettings

# Nobody waits for this work, so a statement may take so many times as long as
# one that somebody waits for. A guess: far above a batch's 20 ms (measured),
# and a frozen Postgres is still noticed within seconds.
PATIENCE: Final = 5
# Postgres ends by itself what we stopped waiting for, and a transaction whose
# process stands still: it holds rows that other processes could go on with.
_SERVER_MARGIN_SECONDS: Final = 1.0


class Transaction:
    """What may be done before the commit. Statements are kept prepared."""

    def __init__(self, connection: Any, seconds: float) -> None:
        self._connection = connection
        self._seconds = seconds

    async def fetch(self, statement: str, *arguments: Any) -> list[Any]:
        """Run one statement, and return its rows."""
        rows: list[Any] = await self._connection.fetch(statement, *arguments, timeout=self._seconds)
        return rows

    async def execute(self, statement: str, *arguments: Any) -> None:
        """Run one statement that has no rows."""
        await self._connection.execute(statement, *arguments, timeout=self._seconds)

    async def copy(
        self, table: str, columns: Sequence[str], records: Iterable[tuple[Any, ...]]
    ) -> None:
        """Write many rows with COPY."""
        await self._connection.copy_records_to_table(
            table, records=records, columns=columns, timeout=self._seconds
        )


class Session:
    """One connection, for one task; its transactions come one after the other."""

    def __init__(self, settings: PostgresSettings) -> None:
        self._settings = settings
        self._seconds = settings.command_seconds * PATIENCE
        self._connection: Any = None

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """
        Commit what the block does, or nothing of it when it raises.

        Raises StoreUnavailableError, after which the block may be committed all
        the same, SchemaMissingError, and asyncpg's own errors.
        """
        try:
            connection = await self._connected()
            await connection.execute("BEGIN", timeout=self._seconds)
            yield Transaction(connection, self._seconds)
            await connection.execute("COMMIT", timeout=self._seconds)
        except BaseException as error:
            self._terminate()
            if isinstance(error, NO_SCHEMA):
                raise SchemaMissingError from error
            if isinstance(error, AWAY) and not isinstance(error, asyncpg.DataError):
                raise StoreUnavailableError("the trip store cannot be reached") from error
            raise

    async def close(self) -> None:
        """Close the connection; the next transaction makes a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            # asyncpg cuts it by itself when it does not close in time.
            with contextlib.suppress(*AWAY):
                await connection.close(timeout=self._settings.command_seconds)

    def _terminate(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def _connected(self) -> Any:
        if self._connection is None or self._connection.is_closed():
            milliseconds = str(round((self._seconds + _SERVER_MARGIN_SECONDS) * 1000))
            self._connection = await asyncpg.connect(
                **connect_arguments(self._settings),
                server_settings={
                    "application_name": "hailstorm-trip-background",
                    "statement_timeout": milliseconds,
                    "idle_in_transaction_session_timeout": milliseconds,
                    "jit": "off",
                    # A batch's plan depends on its size: planned for any size, it
                    # reads whole tables (seen). Planning takes 0.2 ms of 20.
                    "plan_cache_mode": "force_custom_plan",
                },
            )
        return self._connection
