"""What an answer that does not come in time says of Postgres, and what it does not."""

import asyncio
import time
from typing import Any

import grpc
import pytest
from prometheus_client import CollectorRegistry

from hailstorm.runtime.calls import Call, enter_call
from hailstorm.runtime.clock import SystemClock
from hailstorm.runtime.errors import DeadlineExceededError
from hailstorm.trip.errors import StoreBusyError, StoreUnavailableError
from hailstorm.trip.repository.database import Database
from hailstorm.trip.settings import PostgresSettings


class SlowConnection:
    """asyncpg's way to give up a statement that takes longer than its caller waits."""

    def __init__(self) -> None:
        self.given: list[float] = []
        self.is_cut = False
        self.asked = 0

    def is_closed(self) -> bool:
        return self.is_cut

    def terminate(self) -> None:
        self.is_cut = True

    async def fetch(self, _: str, *, timeout: float) -> list[Any]:
        self.given.append(timeout)
        raise TimeoutError

    async def execute(self, _: str) -> None:
        self.asked += 1


@pytest.fixture
def made() -> list[SlowConnection]:
    return []


@pytest.fixture
def database(made: list[SlowConnection], monkeypatch: pytest.MonkeyPatch) -> Database:
    found = Database(
        PostgresSettings(command_seconds=1.0, connect_seconds=1.0, breaker_failures=2),
        SystemClock(),
        CollectorRegistry(),
    )

    async def connect(seconds: float) -> SlowConnection:
        made.append(SlowConnection())
        return made[-1]

    monkeypatch.setattr(found._connections, "_connect", connect)
    return found


def wait_for_at_most(seconds: float) -> None:
    enter_call(Call("/package.Service/Method", "id", time.monotonic() + seconds))


async def test_callers_with_little_time_do_not_open_the_breaker_for_others(
    database: Database, made: list[SlowConnection]
) -> None:
    wait_for_at_most(0.3)
    for _ in range(5):
        with pytest.raises(DeadlineExceededError):
            await database.fetch("SELECT 1")
        # The connection is asked whether Postgres has heard, and kept.
        await asyncio.sleep(0)
    assert database._breaker.allows()
    database._breaker.gave_up()
    assert [connection.is_cut for connection in made] == [False]
    assert made[0].asked == 5


async def test_postgres_that_had_its_time_is_away(
    database: Database, made: list[SlowConnection]
) -> None:
    wait_for_at_most(60.0)
    for _ in range(2):
        with pytest.raises(StoreUnavailableError, match="cannot be reached"):
            await database.fetch("SELECT 1")
    with pytest.raises(StoreUnavailableError, match="is away"):
        await database.fetch("SELECT 1")
    assert [connection.is_cut for connection in made] == [True, True]
    assert made[0].given == [1.0]


async def test_connecting_is_taken_from_the_callers_time(
    database: Database, made: list[SlowConnection], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def connect(seconds: float) -> SlowConnection:
        # As if it had taken all but a third of a second.
        wait_for_at_most(0.33)
        made.append(SlowConnection())
        return made[-1]

    monkeypatch.setattr(database._connections, "_connect", connect)
    wait_for_at_most(60.0)
    with pytest.raises(DeadlineExceededError):
        await database.fetch("SELECT 1")
    assert made[0].given[0] < 0.33


async def test_connect_that_had_little_time_says_nothing_either(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def connect(seconds: float) -> SlowConnection:
        raise TimeoutError

    monkeypatch.setattr(database._connections, "_connect", connect)
    wait_for_at_most(0.3)
    for _ in range(3):
        with pytest.raises(DeadlineExceededError):
            await database.fetch("SELECT 1")
    wait_for_at_most(60.0)
    with pytest.raises(StoreUnavailableError, match="cannot be reached"):
        await database.fetch("SELECT 1")


class TurnByTurn:
    """Connections that answer one statement each time that `answer` is called."""

    def __init__(self) -> None:
        self.waiting: list[asyncio.Future[list[Any]]] = []

    def answer(self) -> None:
        self.waiting.pop(0).set_result([])

    def is_closed(self) -> bool:
        return False

    def terminate(self) -> None:
        """Nothing is left to be cut."""

    async def fetch(self, _: str, *, timeout: float) -> list[Any]:
        asked: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self.waiting.append(asked)
        return await asked


class Line:
    """A database of one connection, and callers of it in line."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.registry = CollectorRegistry()
        self.postgres = TurnByTurn()
        settings = PostgresSettings(
            pool_max=1, acquire_seconds=0.5, command_seconds=60.0, breaker_failures=1
        )
        self.database = Database(settings, SystemClock(), self.registry)

        async def connect(seconds: float) -> TurnByTurn:
            return self.postgres

        monkeypatch.setattr(self.database._connections, "_connect", connect)

    async def callers(self, number: int) -> list[asyncio.Task[list[Any]]]:
        """So many callers: the first has the connection, the others have begun to wait."""
        tasks = [asyncio.create_task(self.database.fetch("SELECT 1")) for _ in range(number)]
        # Turns of the loop, which take no time: those in line have little.
        for _ in range(10):
            await asyncio.sleep(0)
        assert self.postgres.waiting
        return tasks

    def failures(self, cause: str) -> float:
        labels = {"cause": cause}
        return self.registry.get_sample_value("hailstorm_trip_store_failures_total", labels) or 0.0


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Line:
    return Line(monkeypatch)


async def test_line_that_moves_too_slowly_is_load_and_no_outage(line: Line) -> None:
    first, second, third = await line.callers(3)
    # The second has its turn while the third still waits.
    line.postgres.answer()
    await first
    with pytest.raises(StoreBusyError) as caught:
        await third
    assert caught.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert caught.value.reason == "POOL_BUSY"
    assert line.failures("pool_busy") == 1
    line.postgres.answer()
    await second
    # The breaker, which one failure would have opened, lets the next one ask.
    (fourth,) = await line.callers(1)
    line.postgres.answer()
    await fourth


async def test_line_that_does_not_move_at_all_is_an_outage(line: Line) -> None:
    first, second = await line.callers(2)
    with pytest.raises(StoreUnavailableError, match="answers nobody"):
        await second
    assert (line.failures("standstill"), line.failures("pool_busy")) == (1, 0)
    # Whose connection it is will find out; those in line say nothing to the breaker.
    assert line.failures("away") == 0
    line.postgres.answer()
    await first


async def test_caller_with_little_time_cannot_tell_a_line_that_stands_still(line: Line) -> None:
    (first,) = await line.callers(1)
    wait_for_at_most(0.1)
    with pytest.raises(StoreBusyError):
        await line.database.fetch("SELECT 1")
    line.postgres.answer()
    await first
