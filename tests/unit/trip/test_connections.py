"""The places of connections: a fair line, a bounded wait, and nothing broken given on."""

import asyncio

import pytest

from eventually import eventually
from hailstorm.trip.repository.connections import BusyError, Connections

# Nobody waits for so long in these tests.
LONG = 60.0


class Connection:
    """What `Connections` uses of asyncpg's; `hears` is whether Postgres answers on it."""

    def __init__(self, hears: asyncio.Event) -> None:
        self.is_gone = False
        self._hears = hears

    def is_closed(self) -> bool:
        return self.is_gone

    def terminate(self) -> None:
        self.is_gone = True

    async def close(self) -> None:
        await self._hears.wait()
        self.is_gone = True

    async def execute(self, _statement: str) -> None:
        await self._hears.wait()


class Postgres:
    """Makes connections, and remembers them."""

    def __init__(self) -> None:
        self.hears = asyncio.Event()
        self.hears.set()
        self.made: list[Connection] = []

    async def connect(self, _seconds: float) -> Connection:
        self.made.append(Connection(self.hears))
        return self.made[-1]


@pytest.fixture
def postgres() -> Postgres:
    return Postgres()


async def turns() -> None:
    """Let everybody who can go on do so."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_connection_is_made_once_and_used_again(postgres: Postgres) -> None:
    connections = Connections(postgres.connect, 2, LONG)
    for _ in range(3):
        await connections.enter(LONG)
        connections.leave(await connections.connection(LONG))
    assert len(postgres.made) == 1


async def test_places_are_given_in_the_order_of_coming(postgres: Postgres) -> None:
    connections = Connections(postgres.connect, 1, LONG)
    await connections.enter(LONG)
    assert connections.are_taken
    came: list[int] = []

    async def caller(number: int) -> None:
        await connections.enter(LONG)
        came.append(number)

    tasks = [asyncio.create_task(caller(number)) for number in range(4)]
    await turns()
    tasks[1].cancel()
    for _ in range(3):
        connections.leave()
        await turns()
    assert came == [0, 2, 3]
    connections.leave()
    assert not connections.are_taken


async def test_wait_is_bounded_and_loses_no_place(postgres: Postgres) -> None:
    connections = Connections(postgres.connect, 1, LONG)
    await connections.enter(LONG)
    with pytest.raises(BusyError):
        await connections.enter(0.01)
    connections.leave()
    assert not connections.are_taken


async def test_caller_who_is_called_and_cancelled_at_once_gives_the_place_on(
    postgres: Postgres,
) -> None:
    connections = Connections(postgres.connect, 1, LONG)
    await connections.enter(LONG)
    first = asyncio.create_task(connections.enter(LONG))
    second = asyncio.create_task(connections.enter(LONG))
    await turns()
    connections.leave()
    first.cancel()
    await second
    assert first.cancelled()
    connections.leave()
    assert not connections.are_taken


async def test_broken_connection_is_replaced(postgres: Postgres) -> None:
    connections = Connections(postgres.connect, 1, LONG)
    await connections.enter(LONG)
    first = await connections.connection(LONG)
    connections.leave(first)
    first.terminate()
    await connections.enter(LONG)
    assert await connections.connection(LONG) is not first
    # One that breaks under its caller is not kept either.
    postgres.made[-1].terminate()
    connections.leave(postgres.made[-1])
    await connections.enter(LONG)
    assert await connections.connection(LONG) is not postgres.made[1]


async def test_cancelled_statement_keeps_its_place_until_postgres_has_heard(
    postgres: Postgres,
) -> None:
    connections = Connections(postgres.connect, 1, LONG)
    await connections.enter(LONG)
    connection = await connections.connection(LONG)
    postgres.hears.clear()
    connections.leave_cancelled(connection)
    await turns()
    assert connections.are_taken
    postgres.hears.set()
    await connections.enter(LONG)
    assert await connections.connection(LONG) is connection


async def test_connection_that_does_not_hear_of_a_cancellation_is_cut(postgres: Postgres) -> None:
    connections = Connections(postgres.connect, 1, patience_seconds=0.01)
    await connections.enter(LONG)
    connection = await connections.connection(LONG)
    postgres.hears.clear()
    connections.leave_cancelled(connection)
    await connections.enter(LONG)
    assert connection.is_gone
    assert await connections.connection(LONG) is not connection


async def test_close_cuts_what_does_not_end(postgres: Postgres) -> None:
    connections = Connections(postgres.connect, 2, LONG)
    for _ in range(2):
        await connections.enter(LONG)
    idle, used = await connections.connection(LONG), await connections.connection(LONG)
    connections.leave(idle)
    postgres.hears.clear()
    await connections.close(0.01)
    await eventually(lambda: idle.is_gone and used.is_gone, 5)


async def test_connection_that_was_made_while_all_were_closed_is_cut(postgres: Postgres) -> None:
    connections = Connections(postgres.connect, 1, LONG)
    await connections.enter(LONG)
    await connections.close(LONG)
    connections.leave(await connections.connection(LONG))
    assert [made.is_gone for made in postgres.made] == [True]
