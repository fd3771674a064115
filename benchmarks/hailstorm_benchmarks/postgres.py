"""A Postgres as the chart configures it, and a database with the schema of trips."""

import asyncio
import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import asyncpg

from hailstorm.runtime.clock import SystemClock
from hailstorm.runtime.settings import Secret
from hailstorm.trip.repository.migrate import migrate
from hailstorm.trip.settings import PostgresSettings
from hailstorm_benchmarks.report import ROOT
from hailstorm_platform.store_processes import Database, PostgresServer

_CONFIGURATION: Final = ROOT / "charts" / "hailstorm" / "files" / "postgresql.conf"
# Decided by where it runs, not by what it must do.
_OF_THE_PLACE: Final = ("listen_addresses", "unix_socket_directories")
_LINE: Final = re.compile(r"^(\w+)\s*=\s*'?([^'#\n]*)'?", re.MULTILINE)


def chart_options(path: Path = _CONFIGURATION) -> dict[str, str]:
    """The chart's settings of Postgres: durable writes, and the memory of the pod."""
    found = {name: value.strip() for name, value in _LINE.findall(path.read_text())}
    return {name: value for name, value in found.items() if name not in _OF_THE_PLACE}


@contextlib.contextmanager
def migrated(**options: str) -> Iterator[tuple[PostgresServer, Database]]:
    """A server of its own with today's schema; `options` win over the chart's."""
    server = PostgresServer(**{**chart_options(), **options})
    try:
        server.start()
        asyncio.run(migrate(settings_of(server.maintenance), SystemClock()))
        yield server, server.maintenance
    finally:
        server.remove()


def settings_of(database: Database, **fields: Any) -> PostgresSettings:
    """Settings that reach `database`; patient, as a busy machine is not what is measured."""
    patient = {"connect_seconds": 10.0, "acquire_seconds": 30.0, "command_seconds": 30.0}
    return PostgresSettings(
        host=database.host,
        port=database.port,
        database=database.database,
        user=database.user,
        password=Secret(database.password),
        **{**patient, **fields},
    )


@contextlib.asynccontextmanager
async def connection(dsn: str) -> Any:
    """One connection, closed afterwards."""
    opened = await asyncpg.connect(dsn)
    try:
        yield opened
    finally:
        await opened.close()
