"""A real service process: how it starts, drains and ends."""

import asyncio
import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from eventually import eventually
from hailstorm.location.v1 import location_pb2, location_pb2_grpc
from hailstorm.runtime.channels import direct_channel
from hailstorm.runtime.statuses import reason_of
from integration.processes import SERVICES, ServiceProcess
from integration.stores import RedisServer

# The design's budgets. Resident memory is what the kubelet counts.
MAX_MEBIBYTES = 90
# Of CPU time: two seconds of half a core, which is what a pod may use.
MAX_START_CPU_SECONDS = 1.0

NewService = Callable[[str, dict[str, str]], ServiceProcess]


@pytest.fixture
def location_settings(redis: RedisServer) -> dict[str, str]:
    return {
        "HAILSTORM_REDIS_HOST": redis.host,
        "HAILSTORM_REDIS_PORT": str(redis.port),
        "HAILSTORM_REDIS_PASSWORD": redis.password,
        # The tests share the machine; the point here is the drain, not the store's.
        "HAILSTORM_REDIS_TIMEOUT_SECONDS": "5",
        "HAILSTORM_REDIS_TOTAL_SECONDS": "5",
        "HAILSTORM_LIFECYCLE_PROPAGATION_SECONDS": "1",
    }


class Caller:
    """Calls as fast as answers come, and keeps what came."""

    def __init__(self, target: str) -> None:
        self._channel = direct_channel(target)
        self._stub = location_pb2_grpc.LocationServiceStub(self._channel)
        self.ok = 0
        self.failed: list[grpc.aio.AioRpcError] = []

    async def call_until(self, stop: asyncio.Event) -> None:
        request = location_pb2.NearbyDriversRequest(city_id="nyc")
        request.point.latitude, request.point.longitude = 40.75, -73.98
        while not stop.is_set():
            try:
                await self._stub.NearbyDrivers(request, timeout=10)
                self.ok += 1
            except grpc.aio.AioRpcError as error:
                self.failed.append(error)
                await asyncio.sleep(0.01)

    async def close(self) -> None:
        await self._channel.close()


async def roll(first: ServiceProcess, second: ServiceProcess) -> tuple[Caller, int]:
    """Ends `first` while calls go to both; returns what the caller saw and the exit code."""
    first.start_and_wait()
    second.start_and_wait()
    # Both addresses in one channel, as a headless Service gives them.
    caller = Caller(f"ipv4:127.0.0.1:{first.grpc_port},127.0.0.1:{second.grpc_port}")
    stop = asyncio.Event()
    calls = asyncio.gather(*(caller.call_until(stop) for _ in range(20)))
    await eventually(lambda: caller.ok, 20, until=lambda ok: ok > 200)
    first.signal(signal.SIGTERM)
    code = await asyncio.to_thread(first.wait)
    after = caller.ok
    await eventually(lambda: caller.ok, 20, until=lambda ok: ok > after + 100)
    stop.set()
    await calls
    await caller.close()
    return caller, code


async def test_sigterm_under_calls_loses_none(
    new_service: NewService, location_settings: dict[str, str]
) -> None:
    processes = [new_service("location", location_settings) for _ in range(2)]
    caller, code = await roll(*processes)
    assert (code, caller.failed) == (0, [])
    words = [line["message"] for line in processes[0].log_lines()]
    assert words[-3:] == ["now DRAINING", "drained", "now STOPPED"]


async def test_sigterm_without_drain_loses_some(
    new_service: NewService, location_settings: dict[str, str]
) -> None:
    """The broken twin: were it to lose none, the test above would prove nothing."""
    settings = {**location_settings, "HAILSTORM_LIFECYCLE_DRAIN_ENABLED": "false"}
    lost = 0
    for _ in range(5):
        caller, code = await roll(*(new_service("location", settings) for _ in range(2)))
        assert code == 0
        lost += len(caller.failed)
        if lost:
            break
    assert lost > 0


async def test_draining_process_says_so_and_stays_alive(
    new_service: NewService, location_settings: dict[str, str]
) -> None:
    settings = {**location_settings, "HAILSTORM_LIFECYCLE_PROPAGATION_SECONDS": "5"}
    process = new_service("location", settings)
    process.start_and_wait()
    process.signal(signal.SIGTERM)
    await eventually(process.readiness, 4, until=lambda it: it == (503, "DRAINING\n"))
    assert process.get("/livez")[0] == 200
    assert 'hailstorm_lifecycle_state{state="DRAINING"} 1.0' in process.get("/metrics")[1]
    async with direct_channel(process.target, health_name="liveness") as channel:
        stub = location_pb2_grpc.LocationServiceStub(channel)
        request = location_pb2.BatchGetPositionsRequest(city_id="nyc", driver_ids=["driver-1"])
        assert (await stub.BatchGetPositions(request, timeout=4)).positions == []
    assert process.wait() == 0


async def test_second_sigterm_ends_at_once(
    new_service: NewService, location_settings: dict[str, str]
) -> None:
    settings = {**location_settings, "HAILSTORM_LIFECYCLE_PROPAGATION_SECONDS": "10"}
    process = new_service("location", settings)
    process.start_and_wait()
    process.signal(signal.SIGTERM)
    await eventually(process.readiness, 5, until=lambda it: it[1] == "DRAINING\n")
    started = time.monotonic()
    process.signal(signal.SIGTERM)
    assert process.wait() == 128 + signal.SIGTERM
    assert time.monotonic() - started < 5


def test_watchdog_ends_a_process_whose_loop_is_stuck() -> None:
    code = (
        "from hailstorm.runtime.watchdog import Watchdog\nWatchdog(0.2).start()\nwhile True: pass\n"
    )
    ended = subprocess.run(
        (sys.executable, "-c", code),
        env={"PYTHONPATH": str(SERVICES)},
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert ended.returncode == 1
    assert "the budget for stopping is spent" in ended.stderr
    # Where it hung is what whoever reads the log wants to know.
    assert "line 3 in <module>" in ended.stderr


async def test_bad_settings_end_with_two_and_name_all(new_service: NewService) -> None:
    process = new_service(
        "location", {"HAILSTORM_REDIS_PORT": "many", "HAILSTORM_REDIS_HOTS": "redis"}
    )
    process.start()
    assert process.wait() == 2
    assert process.log_text().splitlines() == [
        "cannot start: 2 bad settings",
        "  HAILSTORM_REDIS_PORT is 'many'; write a whole number",
        "  HAILSTORM_REDIS_HOTS is not a setting of this process;"
        " did you mean HAILSTORM_REDIS_HOST?",
    ]


async def test_rehearsal_is_bad_as_told_and_alive(
    new_service: NewService, location_settings: dict[str, str]
) -> None:
    rehearsal = {"FAIL_SHARE": "1", "NEVER_READY": "true"}
    settings = {f"HAILSTORM_REHEARSAL_{name}": value for name, value in rehearsal.items()}
    process = new_service("location", {**location_settings, **settings})
    process.start()
    request = location_pb2.NearbyDriversRequest(city_id="nyc")
    request.point.latitude, request.point.longitude = 40.75, -73.98
    async with direct_channel(process.target, health_name="liveness") as channel:
        stub = location_pb2_grpc.LocationServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.NearbyDrivers(request, timeout=20, wait_for_ready=True)
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert reason_of(caught.value) == "REHEARSED"
    # It serves, and says for ever that it does not.
    assert process.readiness() == (503, "REHEARSAL: neverReady\n")
    assert process.get("/livez")[0] == 200
    (warning,) = [line for line in process.log_lines() if line["level"] == "warning"]
    assert warning["fail_share"] == 1


async def test_taken_port_ends_with_one(
    new_service: NewService, location_settings: dict[str, str]
) -> None:
    first = new_service("location", location_settings)
    first.start_and_wait()
    taken = {**location_settings, "HAILSTORM_SERVER_GRPC_PORT": str(first.grpc_port)}
    second = new_service("location", taken)
    second.start()
    assert second.wait() == 1
    assert str(first.grpc_port) in second.log_text()


async def test_start_is_quick_and_small(
    new_service: NewService, location_settings: dict[str, str]
) -> None:
    process = new_service("location", location_settings)
    process.start_and_wait()
    caller = Caller(process.target)
    stop = asyncio.Event()
    calls = asyncio.gather(*(caller.call_until(stop) for _ in range(20)))
    await eventually(lambda: caller.ok, 20, until=lambda ok: ok > 1000)
    stop.set()
    await calls
    await caller.close()
    assert process.resident_mebibytes() < MAX_MEBIBYTES
    fresh = new_service("location", location_settings)
    fresh.start_and_wait()
    assert cpu_seconds(fresh) < MAX_START_CPU_SECONDS


def cpu_seconds(process: ServiceProcess) -> float:
    page: Any = dict(
        line.split(" ")
        for line in process.get("/metrics")[1].splitlines()
        if line.startswith("process_cpu_seconds_total")
    )
    with contextlib.suppress(KeyError):
        return float(page["process_cpu_seconds_total"])
    raise AssertionError("no CPU time in /metrics")
