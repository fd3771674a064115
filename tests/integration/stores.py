"""
Redis and Postgres for the tests, as the benchmarks and this layer share them.

The programs are started by `hailstorm_platform.store_processes`, since nothing
outside tests/ imports tests. What only tests need beside them belongs here.
"""

from hailstorm_platform.store_processes import (
    PASSWORD,
    START_SECONDS,
    Database,
    PostgresServer,
    RedisServer,
    free_port,
    wait_until,
)

__all__ = [
    "PASSWORD",
    "START_SECONDS",
    "Database",
    "PostgresServer",
    "RedisServer",
    "free_port",
    "wait_until",
]
