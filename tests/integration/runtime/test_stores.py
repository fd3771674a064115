"""The fixtures themselves: a broken store fixture would make every test lie."""

import asyncpg
import pytest

from eventually import eventually
from integration.stores import Database, PostgresServer, RedisServer


async def test_database_is_empty_and_its_own(
    database: Database, postgres_server: PostgresServer
) -> None:
    connection = await asyncpg.connect(database.dsn)
    tables = await connection.fetch("SELECT 1 FROM pg_tables WHERE schemaname = 'public'")
    name = await connection.fetchval("SELECT current_database()")
    await connection.close()
    assert (tables, name) == ([], database.database)


async def test_postgres_keeps_its_data_and_port_over_a_kill(own_postgres: PostgresServer) -> None:
    connection = await asyncpg.connect(own_postgres.maintenance.dsn)
    await connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    own_postgres.kill()
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await connection.fetchval("SELECT answer FROM kept")
    connection.terminate()
    own_postgres.start()
    connection = await asyncpg.connect(own_postgres.maintenance.dsn)
    assert await connection.fetchval("SELECT answer FROM kept") == 42
    await connection.close()


async def test_postgres_answers_nothing_while_frozen(own_postgres: PostgresServer) -> None:
    connection = await asyncpg.connect(own_postgres.maintenance.dsn)
    own_postgres.freeze()
    with pytest.raises(TimeoutError):
        await connection.fetchval("SELECT 1", timeout=0.3)
    own_postgres.thaw()
    connection.terminate()
    connection = await asyncpg.connect(own_postgres.maintenance.dsn)
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()


def test_redis_is_empty_and_forgets_when_killed(own_redis: RedisServer) -> None:
    assert own_redis.command("SET", "a", "1") == b"+OK"
    own_redis.kill()
    assert own_redis.command("GET", "a") == b""
    own_redis.start()
    assert own_redis.command("GET", "a") == b"$-1"


async def test_eventually_tells_the_last_value_seen() -> None:
    with pytest.raises(AssertionError, match="last seen: 7"):
        await eventually(lambda: 7, 0.1, until=lambda value: value == 8)
