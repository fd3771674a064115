"""One connection to a real Redis: answers in their places, and none for anybody else."""

import asyncio

import pytest
from redis.exceptions import AuthenticationError, ConnectionError, NoScriptError, ResponseError

from eventually import eventually
from hailstorm.location.commands import Command, Script
from hailstorm.location.connection import Connection
from integration.stores import RedisServer

PING = Command(("PING",))


async def opened(redis: RedisServer) -> Connection:
    return await Connection.open(redis.host, redis.port, redis.password)


async def test_answers_come_in_the_order_of_the_commands_and_errors_among_them(
    own_redis: RedisServer,
) -> None:
    connection = await opened(own_redis)
    # Far more than one packet, both ways.
    long = "x" * 1_000_000
    answers = await connection.ask(
        [
            Command(("SET", "a", long)),
            Command(("INCR", "a")),
            Script.of("return 1").call(("a",), ()),
            Command(("GET", "a")),
            Command(("MGET", "a", "nothing")),
            Command(("SET", "b", 1.5)),
        ]
    )
    assert answers[0] == b"OK"
    assert isinstance(answers[1], ResponseError)
    assert isinstance(answers[2], NoScriptError)
    assert answers[3:] == [long.encode(), [long.encode(), None], b"OK"]
    assert connection.is_open
    assert await connection.ask([Command(("GET", "b"))]) == [b"1.5"]
    connection.close()


async def test_wrong_password_is_named(own_redis: RedisServer) -> None:
    with pytest.raises(AuthenticationError):
        await Connection.open(own_redis.host, own_redis.port, "a-wrong-one")


async def test_caller_who_leaves_takes_the_connection_along(own_redis: RedisServer) -> None:
    connection = await opened(own_redis)
    own_redis.freeze()
    asking = asyncio.create_task(connection.ask([PING]))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    own_redis.thaw()
    assert not connection.is_open
    with pytest.raises(ConnectionError):
        await connection.ask([PING])


async def test_lost_redis_is_told_to_whoever_waits_and_to_whoever_does_not(
    own_redis: RedisServer,
) -> None:
    waiting, idle = await opened(own_redis), await opened(own_redis)
    own_redis.freeze()
    asking = asyncio.create_task(waiting.ask([PING]))
    await asyncio.sleep(0)
    own_redis.kill()
    with pytest.raises((ConnectionError, OSError)):
        await asking
    assert not waiting.is_open
    await eventually(lambda: not idle.is_open, 10)
