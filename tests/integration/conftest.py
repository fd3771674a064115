"""
Stores for the integration layer: one server a run, a fresh database a test.

Tests that kill a store take one of their own (`own_redis`, `own_postgres`), so
that nobody else's test sees the outage.
"""

import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from integration.processes import ServiceProcess
from integration.stores import Database, PostgresServer, RedisServer

_database_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A Redis for all tests; use `redis` to find it empty."""
    server = RedisServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def redis(redis_server: RedisServer) -> RedisServer:
    """The session's Redis, emptied; its scripts are forgotten too."""
    assert redis_server.command("FLUSHALL") == b"+OK"
    assert redis_server.command("SCRIPT", "FLUSH") == b"+OK"
    return redis_server


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A Redis that the test may kill, freeze and start again."""
    server = RedisServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A Postgres for all tests; use `database` to get an empty database on it."""
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
async def database(postgres_server: PostgresServer) -> AsyncIterator[Database]:
    """An empty database that nobody else sees, dropped afterwards."""
    name = f"test_{next(_database_numbers)}"
    await _maintain(postgres_server, f"CREATE DATABASE {name}")
    yield postgres_server.database(name)
    # WITH (FORCE): a test that leaks a connection must not fail the next one.
    await _maintain(postgres_server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A Postgres that the test may kill, freeze and start again."""
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def new_service(tmp_path: Path) -> Iterator[Callable[[str, dict[str, str]], ServiceProcess]]:
    """Makes service processes by name and settings; those still running are ended."""
    made: list[ServiceProcess] = []

    def make(name: str, settings: dict[str, str]) -> ServiceProcess:
        made.append(ServiceProcess(name, settings, tmp_path))
        return made[-1]

    yield make
    for process in made:
        process.remove()


async def _maintain(server: PostgresServer, statement: str) -> None:
    connection = await asyncpg.connect(server.maintenance.dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
