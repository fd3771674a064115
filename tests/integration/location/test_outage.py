"""Redis killed, frozen and emptied under a running service."""

import asyncio
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest
from prometheus_client import CollectorRegistry

from eventually import eventually
from hailstorm.location.store import Command, Store
from hailstorm.location.v1 import location_pb2, location_pb2_grpc
from hailstorm.runtime.calls import Call, enter_call
from hailstorm.runtime.clock import SystemClock
from hailstorm.runtime.errors import DeadlineExceededError
from hailstorm.runtime.priority import PRIORITY_KEY, Priority
from integration.location.conftest import environment_of, settings_of
from integration.processes import ServiceProcess
from integration.stores import RedisServer
from ready_channel import ready_channel

# Well above the 0.3 s that a store operation may take, well below the second
# after which a caller gives up.
FAST_SECONDS = 1.0


@pytest.fixture
async def stub(own_location: ServiceProcess) -> AsyncIterator[Any]:
    async with ready_channel(own_location.target) as channel:
        yield location_pb2_grpc.LocationServiceStub(channel)


def report(sequence: int) -> Any:
    request = location_pb2.ReportPositionsRequest(city_id="nyc")
    position = request.positions.add(driver_id="driver-1", sequence=sequence, availability=1)
    position.point.latitude, position.point.longitude = 40.75, -73.98
    position.observed_at.GetCurrentTime()
    return request


def nearby() -> Any:
    request = location_pb2.NearbyDriversRequest(city_id="nyc")
    request.point.latitude, request.point.longitude = 40.75, -73.98
    return request


async def refusal(call: Any) -> tuple[grpc.aio.AioRpcError, float]:
    started = time.monotonic()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value, time.monotonic() - started


async def works(stub: Any) -> bool:
    accepted = await stub.ReportPositions(report(time.time_ns()), timeout=5)
    found = await stub.NearbyDrivers(nearby(), timeout=5)
    return accepted.accepted_count == 1 and len(found.drivers) == 1


@pytest.mark.parametrize("how", ["kill", "freeze"])
async def test_lost_redis_is_unavailable_at_once_and_heals_by_itself(
    how: str, stub: Any, own_redis: RedisServer, own_location: ServiceProcess
) -> None:
    assert await works(stub)
    getattr(own_redis, how)()
    for call in (
        stub.ReportPositions(report(time.time_ns()), timeout=10),
        stub.NearbyDrivers(nearby(), timeout=10),
        stub.BatchGetPositions(
            location_pb2.BatchGetPositionsRequest(city_id="nyc", driver_ids=["driver-1"]),
            timeout=10,
        ),
    ):
        error, seconds = await refusal(call)
        assert error.code() is grpc.StatusCode.UNAVAILABLE, error.details()
        assert seconds < FAST_SECONDS
        pushback = dict(error.trailing_metadata())["grpc-retry-pushback-ms"]
        assert 0 < int(pushback) < 1000
    # A lost store is no reason to leave the Service, or to be restarted.
    assert own_location.readiness() == (200, "SERVING\n")
    assert own_location.get("/livez")[0] == 200
    assert "hailstorm_location_store_reachable 0.0" in own_location.get("/metrics")[1]
    own_redis.start() if how == "kill" else own_redis.thaw()
    await eventually(lambda: works(stub), 10)
    assert "hailstorm_location_store_reachable 1.0" in own_location.get("/metrics")[1]
    # The outage is told once, not once for each call.
    warnings = [line for line in own_location.log_lines() if line["level"] == "warning"]
    assert 1 <= len(warnings) <= 3
    # How long the first of these calls took, by the clock.
    told = "\n".join(line["message"] for line in warnings)
    silent = re.findall(r"redis does not answer: \w+ after (\d+\.\d\d) s", told)
    assert silent
    assert how == "kill" or all(float(seconds) > 0.05 for seconds in silent)
    assert max(map(float, silent)) < FAST_SECONDS


async def test_hurried_callers_do_not_make_redis_look_away(own_redis: RedisServer) -> None:
    """More of them in a row than the breaker takes; then somebody who has time."""
    settings = settings_of(
        own_redis, timeout_seconds=0.5, total_seconds=1.0, breaker_silence_seconds=0.0
    )
    store = Store(settings, SystemClock(), CollectorRegistry())

    async def hurried() -> None:
        enter_call(Call("/a.B/C", "r-1", time.monotonic() + 0.05))
        await store.read([Command(("PING",))])

    try:
        await store.read([Command(("PING",))])
        own_redis.freeze()
        for _ in range(settings.breaker_failures + 1):
            with pytest.raises(DeadlineExceededError):
                await asyncio.create_task(hurried())
        own_redis.thaw()
        assert len(await store.read([Command(("PING",))])) == 1
    finally:
        await store.close()


async def test_frozen_redis_does_not_mix_up_answers_after_cancelled_calls(
    stub: Any, own_redis: RedisServer
) -> None:
    """A reply that a cancelled caller left in a connection must not be the next one's."""
    for i in range(40):
        request = report(time.time_ns())
        request.positions[0].driver_id = f"driver-{i}"
        await stub.ReportPositions(request, timeout=5)

    async def position_of(driver_id: str, timeout: float) -> list[str]:
        request = location_pb2.BatchGetPositionsRequest(city_id="nyc", driver_ids=[driver_id])
        response = await stub.BatchGetPositions(request, timeout=timeout)
        return [each.driver_id for each in response.positions]

    own_redis.freeze()
    hurried = [position_of(f"driver-{i}", 0.05) for i in range(40)]
    results = await asyncio.gather(*hurried, return_exceptions=True)
    assert all(isinstance(result, grpc.aio.AioRpcError) for result in results)
    own_redis.thaw()
    await eventually(lambda: position_of("driver-0", 5), 10)
    for i in range(40):
        assert await position_of(f"driver-{i}", 5) == [f"driver-{i}"]


async def test_forgotten_scripts_are_loaded_again(stub: Any, own_redis: RedisServer) -> None:
    assert await works(stub)
    assert own_redis.command("SCRIPT", "FLUSH") == b"+OK"
    assert await works(stub)


async def test_service_is_ready_without_redis(
    own_redis: RedisServer, new_service: Callable[[str, dict[str, str]], ServiceProcess]
) -> None:
    own_redis.kill()
    process = new_service(
        "location",
        {
            "HAILSTORM_REDIS_HOST": own_redis.host,
            "HAILSTORM_REDIS_PORT": str(own_redis.port),
            "HAILSTORM_REDIS_PASSWORD": own_redis.password,
        },
    )
    process.start_and_wait()
    async with ready_channel(process.target) as channel:
        stub = location_pb2_grpc.LocationServiceStub(channel)
        error, seconds = await refusal(stub.NearbyDrivers(nearby(), timeout=10))
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert seconds < FAST_SECONDS
        own_redis.start()
        await eventually(lambda: works(stub), 10)


async def test_wrong_password_is_unavailable_and_named_in_the_log(
    own_redis: RedisServer, new_service: Callable[[str, dict[str, str]], ServiceProcess]
) -> None:
    process = new_service(
        "location",
        {
            "HAILSTORM_REDIS_HOST": own_redis.host,
            "HAILSTORM_REDIS_PORT": str(own_redis.port),
            "HAILSTORM_REDIS_PASSWORD": "a-wrong-one",
        },
    )
    process.start_and_wait()
    async with ready_channel(process.target) as channel:
        stub = location_pb2_grpc.LocationServiceStub(channel)
        error, _ = await refusal(stub.NearbyDrivers(nearby(), timeout=10))
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert "AuthenticationError" in process.log_text()
    assert "a-wrong-one" not in process.log_text()


async def test_overload_is_not_taken_for_an_outage(
    own_redis: RedisServer, new_service: Callable[[str, dict[str, str]], ServiceProcess]
) -> None:
    """240 callers of one process turn its loop late; Redis answers all the while."""
    codes: Counter[str] = Counter()
    # All of them are let in: the gradient would refuse most, and keep the loop in time.
    crowded = {**environment_of(own_redis), "HAILSTORM_SERVER_LIMIT": "fixed"}
    location = new_service("location", crowded)
    location.start_and_wait()
    important = ((PRIORITY_KEY, Priority.CRITICAL.word),)
    async with ready_channel(location.target) as channel:
        stub = location_pb2_grpc.LocationServiceStub(channel)

        async def call() -> None:
            for _ in range(8):
                try:
                    await stub.NearbyDrivers(nearby(), timeout=60, metadata=important)
                    codes["OK"] += 1
                except grpc.aio.AioRpcError as error:
                    codes[error.code().name] += 1

        await asyncio.gather(*(call() for _ in range(240)))
    assert set(codes) <= {"OK", "RESOURCE_EXHAUSTED"}, codes
    assert codes["OK"] > 240
    assert "redis does not answer" not in location.log_text()


async def test_breaker_spares_callers_the_wait_while_redis_is_frozen(
    stub: Any, own_redis: RedisServer, own_location: ServiceProcess
) -> None:
    assert await works(stub)
    own_redis.freeze()
    # Enough to open it; each has to wait for itself.
    await asyncio.gather(*(refusal(stub.NearbyDrivers(nearby(), timeout=10)) for _ in range(6)))
    started = time.monotonic()
    for _ in range(30):
        error, _ = await refusal(stub.NearbyDrivers(nearby(), timeout=10))
        assert error.code() is grpc.StatusCode.UNAVAILABLE
    # Without the breaker thirty times 0.3 s.
    assert time.monotonic() - started < 5
    own_redis.thaw()
    await eventually(lambda: works(stub), 10)
