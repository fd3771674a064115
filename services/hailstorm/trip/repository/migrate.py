"""
Brings the schema up to date: numbered files, each once, in order.

Safe to run by any number of processes at once and again at any time: an
advisory lock lets one work, and the table `schema_migrations` says what has
run. Old and new pods run side by side while a release rolls, so a migration
only adds; what the old version still reads is dropped a release later.

A file that changes a table waits for everybody who reads it, and everybody who
comes after waits behind the file. So it does not wait long, but again and again.
"""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg

from hailstorm.runtime.clock import Clock
from hailstorm.trip.repository.database import connect_arguments
from hailstorm.trip.settings import PostgresSettings

MIGRATIONS: Final = Path(__file__).parent.parent / "migrations"

# Any number that nobody else uses for an advisory lock in this database.
_LOCK: Final = 7_246_395_021
# A first install starts Postgres at the same moment; pulling its image may
# take minutes. Below the Job's activeDeadlineSeconds.
CONNECT_BUDGET_SECONDS: Final = 300.0
# Often enough that nobody waits for us, rarely enough to be read in a log.
_RETRY_SECONDS: Final = 1.0
# For one file, and for the lock that another migration holds.
_STATEMENT_SECONDS: Final = 300.0
# Calls wait behind us for so long: a quarter of what a statement may take
# (postgres.command_seconds), after which they would take Postgres for away.
LOCK_SECONDS: Final = 0.25
# Between two tries, so that those who waited get through: twice as long each time.
_FIRST_PAUSE_SECONDS: Final = 0.5
_MOST_PAUSE_SECONDS: Final = 5.0
# For one file. A pg_dump reads for minutes; below the Job's activeDeadlineSeconds, so
# that its log has the reason.
LOCK_BUDGET_SECONDS: Final = 300.0

_RECORD: Final = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    number     integer     NOT NULL PRIMARY KEY,
    name       text        NOT NULL,
    digest     text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""

_log = logging.getLogger(__name__)


class MigrationError(Exception):
    """The schema cannot be brought up to date, and trying again will not help."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: `<number>_<name>.sql`."""

    number: int
    name: str
    sql: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def load_migrations(folder: Path = MIGRATIONS) -> list[Migration]:
    """Read the files in order. Raises MigrationError when the numbers have gaps."""
    found = []
    for path in sorted(folder.glob("*.sql")):
        number, _, name = path.stem.partition("_")
        if not number.isdigit() or not name:
            raise MigrationError(f"{path.name} is not named <number>_<name>.sql")
        found.append(Migration(int(number), name, path.read_text(encoding="utf-8")))
    if [each.number for each in found] != list(range(1, len(found) + 1)):
        raise MigrationError(f"the numbers of {folder.name}/ must run from 1 without gaps")
    return found


async def migrate(settings: PostgresSettings, clock: Clock) -> list[Migration]:
    """
    Wait for Postgres, apply what is missing, and return it.

    Raises MigrationError when an applied file has changed since, when Postgres
    does not come within CONNECT_BUDGET_SECONDS, or when a table is in use for all
    of LOCK_BUDGET_SECONDS.
    """
    connection = await _connect(settings, clock)
    try:
        return await apply(connection, load_migrations(), clock)
    finally:
        await connection.close(timeout=settings.command_seconds)


async def apply(connection: Any, migrations: Sequence[Migration], clock: Clock) -> list[Migration]:
    """
    Apply what is missing, each in its own transaction; returns what was applied.

    Raises MigrationError as `migrate` does; asyncpg's own for a file that is wrong.
    """
    # The session ends with the process, so the lock cannot be left behind.
    await connection.execute("SELECT pg_advisory_lock($1)", _LOCK, timeout=_STATEMENT_SECONDS)
    try:
        await connection.execute(_RECORD)
        rows = await connection.fetch("SELECT number, digest FROM schema_migrations")
        done = {row["number"]: row["digest"] for row in rows}
        # A number from the future is a newer release's; it only added.
        fresh = [each for each in migrations if _is_new(each, done)]
        for each in fresh:
            await _apply_when_free(connection, each, clock)
            _log.info("applied migration %04d %s", each.number, each.name)
        _log.info("the schema is up to date", extra={"migrations": len(done) + len(fresh)})
        return fresh
    finally:
        await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK)


async def _apply_when_free(connection: Any, migration: Migration, clock: Clock) -> None:
    """Apply one file as soon as nobody holds what it has to lock."""
    began, pause = clock.monotonic(), _FIRST_PAUSE_SECONDS
    while True:
        try:
            async with connection.transaction():
                # For each lock by itself, also after the first: those are held meanwhile.
                await connection.execute(f"SET LOCAL lock_timeout = {round(LOCK_SECONDS * 1000)}")
                await connection.execute(migration.sql, timeout=_STATEMENT_SECONDS)
                await connection.execute(
                    "INSERT INTO schema_migrations (number, name, digest) VALUES ($1, $2, $3)",
                    migration.number,
                    migration.name,
                    migration.digest,
                )
            return
        except asyncpg.LockNotAvailableError as error:
            waited = clock.monotonic() - began
            if waited >= LOCK_BUDGET_SECONDS:
                raise MigrationError(
                    f"a table that migration {migration.number:04d} changes was in use for"
                    f" {LOCK_BUDGET_SECONDS:.0f} s; pg_stat_activity says by whom: a dump, or a"
                    " transaction that somebody left open"
                ) from error
            _log.info(
                "migration %04d waits for a table that is in use; next try in %.1f s",
                migration.number,
                pause,
                extra={"waited_seconds": round(waited)},
            )
        await clock.sleep(pause)
        pause = min(2 * pause, _MOST_PAUSE_SECONDS)


def _is_new(migration: Migration, done: dict[int, str]) -> bool:
    if migration.number not in done:
        return True
    if done[migration.number] != migration.digest:
        raise MigrationError(
            f"migration {migration.number:04d} has changed since it was applied;"
            " write a new one instead"
        )
    return False


async def _connect(settings: PostgresSettings, clock: Clock) -> Any:
    began = clock.monotonic()
    while True:
        try:
            return await asyncpg.connect(**connect_arguments(settings))
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            waited = clock.monotonic() - began
            if waited >= CONNECT_BUDGET_SECONDS:
                raise MigrationError(
                    f"postgres at {settings.host}:{settings.port} did not answer within"
                    f" {CONNECT_BUDGET_SECONDS:.0f} s; last: {error}"
                ) from error
            _log.info(
                "waiting for postgres at %s:%d: %s: %s",
                settings.host,
                settings.port,
                type(error).__name__,
                error,
                extra={"waited_seconds": round(waited)},
            )
            await clock.sleep(_RETRY_SECONDS)
