"""The way to Redis under callers in a hurry, and under too many of them."""

import asyncio
import time

import pytest
from prometheus_client import CollectorRegistry

from hailstorm.location.store import (
    Command,
    Server,
    Store,
    StoreMetrics,
    StoreUnavailableError,
)
from hailstorm.runtime.calls import Call, enter_call
from hailstorm.runtime.clock import SystemClock
from hailstorm.runtime.errors import DeadlineExceededError, ResourceExhaustedError
from integration.location.conftest import settings_of
from integration.stores import RedisServer

PING = Command(("PING",))


async def test_caller_with_little_time_says_nothing_about_redis(own_redis: RedisServer) -> None:
    """A breaker that opened for it would make an outage of every overload."""
    store = Store(settings_of(own_redis), SystemClock(), CollectorRegistry())
    await store.read([PING])
    own_redis.freeze()
    try:
        for _ in range(10):
            enter_call(Call("/a.B/C", "r-1", time.monotonic() + 0.03))
            with pytest.raises(DeadlineExceededError):
                await store.read([PING])
    finally:
        own_redis.thaw()
    enter_call(Call("/a.B/C", "r-2", None))
    assert await store.read([PING])
    await store.close()


async def test_redis_that_does_not_answer_in_its_own_time_is_away(own_redis: RedisServer) -> None:
    settings = settings_of(own_redis, timeout_seconds=0.1, total_seconds=0.15)
    store = Store(settings, SystemClock(), CollectorRegistry())
    await store.read([PING])
    own_redis.freeze()
    try:
        # 0.12 s are enough for an attempt, and what it tells is Redis' own.
        enter_call(Call("/a.B/C", "r-1", time.monotonic() + 0.12))
        with pytest.raises(StoreUnavailableError):
            await store.write([PING])
    finally:
        own_redis.thaw()
    await store.close()


async def test_redis_that_was_demoted_is_left(own_redis: RedisServer) -> None:
    """One that hangs up on nobody when another becomes master behind the same name."""
    settings = settings_of(own_redis)
    server = Server(settings, SystemClock(), StoreMetrics(CollectorRegistry()))
    write = Command(("SET", "a", "1"))
    await server.write([write])
    kept = set(server._connections)
    own_redis.command("REPLICAOF", "127.0.0.1", "1")
    with pytest.raises(StoreUnavailableError):
        await server.write([write])
    assert not any(connection.is_open for connection in kept)
    # The name is looked up again, and answers for whoever is master by then.
    own_redis.command("REPLICAOF", "NO", "ONE")
    assert await server.write([write]) == [b"OK"]
    assert not kept & server._connections
    await server.close()


async def test_too_many_in_line_is_load_and_not_a_defect(own_redis: RedisServer) -> None:
    settings = settings_of(own_redis, pool_max=1, pool_wait_seconds=0.1)
    store = Store(settings, SystemClock(), CollectorRegistry())
    await store.read([PING])
    own_redis.freeze()
    try:
        first = asyncio.create_task(store.read([PING]))
        # Lets the first one take the only connection.
        await asyncio.sleep(0)
        with pytest.raises(ResourceExhaustedError) as caught:
            await store.read([PING])
        assert caught.value.reason == "STORE_BUSY"
    finally:
        own_redis.thaw()
    assert await first
    await store.close()
