"""What a statement that was not answered in time says of Postgres, and what it does not."""

import asyncio
import time
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from hailstorm.runtime.calls import Call, enter_call
from hailstorm.runtime.clock import SystemClock
from hailstorm.runtime.errors import DeadlineExceededError
from hailstorm.trip.errors import StoreUnavailableError
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
