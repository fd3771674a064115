"""The real process: its schema in any order of starting, its memory, its end."""

import signal
from collections.abc import Callable

import grpc
import pytest

from eventually import eventually
from integration.processes import ServiceProcess
from integration.stores import Database, PostgresServer, wait_until
from trip_calls import NOBODY, TripCalls, state_name

# The design's budget; resident memory is what the kubelet counts.
MAX_MEBIBYTES = 90

NewService = Callable[[str, dict[str, str]], ServiceProcess]


@pytest.fixture
def environment(database: Database) -> dict[str, str]:
    return {**database.environment, "HAILSTORM_EDGE_ADDRESS": NOBODY}


async def test_trip_serves_before_its_schema_and_after(
    new_service: NewService, environment: dict[str, str]
) -> None:
    trip = new_service("trip", environment)
    trip.start_and_wait()
    async with grpc.aio.insecure_channel(trip.target) as channel:
        calls = TripCalls(channel)
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await calls.create()
        assert error.value.code() is grpc.StatusCode.UNAVAILABLE
        for _ in range(2):
            job = new_service("trip", environment)
            job.start("migrate")
            assert job.wait() == 0, job.log_text()
        assert state_name(await calls.create()) == "REQUESTED"
    assert trip.readiness() == (200, "SERVING\n")
    assert trip.resident_mebibytes() < MAX_MEBIBYTES
    trip.signal(signal.SIGTERM)
    assert trip.wait() == 0
    assert "exception" not in trip.log_text()


def test_migration_waits_for_postgres_and_says_so(
    new_service: NewService, own_postgres: PostgresServer
) -> None:
    own_postgres.kill()
    job = new_service("trip", own_postgres.maintenance.environment)
    job.start("migrate")
    wait_until(lambda: "waiting for postgres" in job.log_text(), "the job says what it waits for")
    own_postgres.start()
    assert job.wait() == 0, job.log_text()
    messages = [line["message"] for line in job.log_lines()]
    assert "applied migration 0001 trips" in messages
    assert messages[-1] == "the schema is up to date"


def test_unknown_order_is_refused(new_service: NewService, environment: dict[str, str]) -> None:
    process = new_service("trip", environment)
    process.start("migrat")
    assert process.wait() == 2
    assert "usage" in process.log_text()


async def test_dispatch_is_small_and_ends_in_order(new_service: NewService) -> None:
    dispatch = new_service("dispatch", {"HAILSTORM_EDGE_ADDRESS": NOBODY})
    dispatch.start_and_wait()
    assert dispatch.resident_mebibytes() < MAX_MEBIBYTES
    dispatch.signal(signal.SIGTERM)
    await eventually(lambda: dispatch.readiness() == (503, "DRAINING\n"), 20)
    assert dispatch.wait() == 0
