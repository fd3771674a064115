"""What callers notice when pods fail: next to nothing, or the twin's losses."""

import asyncio
import json
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from contract.charts.edge_process import Edge, Pod, start_edge, start_pods
from eventually import eventually
from hailstorm.trip.v1 import trip_pb2, trip_pb2_grpc

# As many calls at a time as a pod is meant to have in flight.
CALLERS = 8
# Calls of an outage, and how long each is tried in vain. The budget is the chart's default.
STORM_CALLS = 300
LOST_SECONDS = 0.5
BUDGET_SHARE, BUDGET_MIN = 0.2, 64


@pytest.fixture
def trio(folder: Path) -> Iterator[list[Pod]]:
    """Three pods that a test may hurt."""
    started = start_pods(folder, 3)
    yield started
    for pod in started:
        pod.end()


@pytest.fixture
def guarded(folder: Path, trio: list[Pod]) -> Iterator[Edge]:
    """The edge as the chart has it, in front of the trio."""
    started = start_edge(folder, trio)
    yield started
    started.end()


@pytest.fixture
def twin(folder: Path, trio: list[Pod]) -> Iterator[Edge]:
    """The broken twin: no retries."""
    started = start_edge(folder, trio, "--set", "edge.retries.enabled=false")
    yield started
    started.end()


class Load:
    """Callers that go on calling; what each call ended with is kept."""

    def __init__(self, edge: Edge, trip_id: str) -> None:
        self._stub = trip_pb2_grpc.TripServiceStub(edge.channel())
        self._request = trip_pb2.GetTripRequest(city_id="nyc", trip_id=trip_id)
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(CALLERS)
        self.upstreams: list[str] = []
        self.attempts: list[int] = []
        self.failures: list[str] = []
        self.slowest = 0.0
        self._threads: list[Future[None]] = [self._pool.submit(self._run) for _ in range(CALLERS)]

    def _run(self) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                _, call = self._stub.GetTrip.with_call(self._request, timeout=8)
                metadata = dict(call.initial_metadata())
                self.upstreams.append(metadata["x-hailstorm-upstream"])
                self.attempts.append(int(metadata["x-envoy-attempt-count"]))
            except grpc.RpcError as error:
                self.failures.append(f"{error.code().name}: {error.details()}")
            self.slowest = max(self.slowest, time.monotonic() - began)

    async def more(self, calls: int) -> None:
        """Return after this many more calls have ended."""
        target = len(self.upstreams) + len(self.failures) + calls
        await eventually(lambda: len(self.upstreams) + len(self.failures) >= target, 30)

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.result(timeout=20)


async def test_killed_pod_fails_no_call(guarded: Edge, trio: list[Pod]) -> None:
    load = Load(guarded, "slow-0.05")
    await load.more(100)
    trio[0].signal(signal.SIGKILL)
    await load.more(300)
    load.end()
    assert load.failures == []
    # The fault did bite: calls were in flight on the pod, and ran again elsewhere.
    assert max(load.attempts) > 1
    ejections = "cluster.trip.outlier_detection.ejections_enforced_consecutive_local_origin_failure"
    assert guarded.stat(ejections) >= 1
    assert trio[0].address not in load.upstreams[-100:]


async def test_killed_pod_fails_calls_of_the_twin(twin: Edge, trio: list[Pod]) -> None:
    load = Load(twin, "slow-0.05")
    await load.more(100)
    trio[0].signal(signal.SIGKILL)
    await load.more(300)
    load.end()
    assert load.failures
    assert set(load.attempts) == {1}


async def test_draining_pod_is_left_at_once(guarded: Edge, trio: list[Pod]) -> None:
    load = Load(guarded, "slow-0.02")
    await load.more(100)
    trio[0].signal(signal.SIGUSR1)
    await eventually(lambda: guarded.stat("cluster.trip.membership_healthy") == 2, 5)
    await load.more(CALLERS)
    before = len(load.upstreams)
    await load.more(200)
    load.end()
    assert load.failures == []
    assert set(load.attempts) == {1}
    assert trio[0].address not in load.upstreams[before:]


async def test_frozen_pod_gives_its_calls_back(guarded: Edge, trio: list[Pod]) -> None:
    load = Load(guarded, "slow-0.02")
    await load.more(100)
    trio[0].signal(signal.SIGSTOP)
    await load.more(300)
    await eventually(lambda: guarded.stat("cluster.trip.membership_healthy") == 2, 10)
    await eventually(lambda: load.slowest > 1 or load.failures, 10)
    load.end()
    trio[0].signal(signal.SIGCONT)
    assert load.failures == []
    assert max(load.attempts) > 1
    # Two missed pings: 2 s until the next, 2 s until it counts as lost, jitter, a busy machine.
    assert load.slowest < 7


async def test_answers_of_a_lost_store_take_no_pod_out(guarded: Edge, trio: list[Pod]) -> None:
    # Every pod answers UNAVAILABLE when the store is away. Were pods ejected for
    # it, the half that may be out would be out already when one dies in earnest.
    stub = trip_pb2_grpc.TripServiceStub(guarded.channel())
    for _ in range(5):
        with pytest.raises(grpc.RpcError):
            stub.GetTrip(trip_pb2.GetTripRequest(trip_id="fail-UNAVAILABLE"))
    trio[0].signal(signal.SIGKILL)
    for _ in range(50):
        stub.GetTrip(trip_pb2.GetTripRequest(trip_id="t-1"))
    assert guarded.stat("cluster.trip.outlier_detection.ejections_overflow") == 0


async def test_all_pods_draining_are_refused_and_not_used(guarded: Edge, trio: list[Pod]) -> None:
    for pod in trio:
        pod.signal(signal.SIGUSR1)
    await eventually(lambda: guarded.stat("cluster.trip.membership_healthy") == 0, 5)
    stub = trip_pb2_grpc.TripServiceStub(guarded.channel())
    with pytest.raises(grpc.RpcError) as caught:
        stub.GetTrip(trip_pb2.GetTripRequest(trip_id="t-1"))
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def retry_storm(edge: Edge) -> tuple[int, float, list[grpc.StatusCode]]:
    """Many calls at once while a store is away: retries, seconds, and how the calls ended."""
    request = trip_pb2.GetTripRequest(city_id="nyc", trip_id=f"lost-{LOST_SECONDS}")
    began, before = time.monotonic(), edge.stat("cluster.trip.upstream_rq_retry")

    async def ask(stub: Any) -> grpc.StatusCode:
        try:
            await stub.GetTrip(request, timeout=20)
        except grpc.aio.AioRpcError as error:
            return error.code()
        return grpc.StatusCode.OK

    async with grpc.aio.insecure_channel(f"127.0.0.1:{edge.public}") as channel:
        stub = trip_pb2_grpc.TripServiceStub(channel)
        codes = await asyncio.gather(*(ask(stub) for _ in range(STORM_CALLS)))
    retries = edge.stat("cluster.trip.upstream_rq_retry") - before
    return retries, time.monotonic() - began, codes


def most_retries(seconds: float) -> float:
    """What the budget lets through: so many at a time, each as long as an answer takes."""
    at_a_time = max(BUDGET_MIN, BUDGET_SHARE * (STORM_CALLS + BUDGET_MIN))
    return at_a_time * (seconds / LOST_SECONDS + 1)


async def test_retries_of_an_outage_are_no_storm(guarded: Edge) -> None:
    retries, seconds, codes = await retry_storm(guarded)
    assert set(codes) == {grpc.StatusCode.UNAVAILABLE}
    assert 0 < retries <= most_retries(seconds)
    assert guarded.stat("cluster.trip.upstream_rq_retry_overflow") > 0
    stub = trip_pb2_grpc.TripServiceStub(guarded.channel())
    stub.GetTrip(trip_pb2.GetTripRequest(trip_id="t-1"))


async def test_without_a_budget_they_are(folder: Path, trio: list[Pod]) -> None:
    budget = "edge.retries.budgetPercent=100,edge.retries.budgetMinConcurrency=10000"
    edge = start_edge(folder, trio, "--set", budget)
    try:
        retries, seconds, _ = await retry_storm(edge)
        assert retries > most_retries(seconds)
    finally:
        edge.end()


def test_call_refused_by_one_pod_is_served_by_another(guarded: Edge) -> None:
    stub = trip_pb2_grpc.TripServiceStub(guarded.channel())
    _, call = stub.GetTrip.with_call(trip_pb2.GetTripRequest(trip_id=f"flaky-{time.time_ns()}"))
    assert dict(call.initial_metadata())["x-envoy-attempt-count"] == "2"


def test_method_that_must_not_run_twice_is_not_repeated(folder: Path, trio: list[Pod]) -> None:
    once = r"edge.upstreams.trip.services.hailstorm\.trip\.v1\.TripService.GetTrip.retry=false"
    edge = start_edge(folder, trio, "--set", once)
    try:
        stub = trip_pb2_grpc.TripServiceStub(edge.channel())
        with pytest.raises(grpc.RpcError) as caught:
            stub.GetTrip(trip_pb2.GetTripRequest(trip_id=f"flaky-{time.time_ns()}"))
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    finally:
        edge.end()


async def test_failure_leaves_a_line_and_nothing_else_does(guarded: Edge, trio: list[Pod]) -> None:
    stub = trip_pb2_grpc.TripServiceStub(guarded.channel())
    stub.GetTrip(trip_pb2.GetTripRequest(trip_id="quiet-success"))
    # A watcher who has seen enough hangs up.
    stream = stub.WatchTrip(trip_pb2.WatchTripRequest(trip_id="slow-5"))
    next(stream)
    stream.cancel()
    with pytest.raises(grpc.RpcError):
        stub.GetTrip(
            trip_pb2.GetTripRequest(trip_id="fail-INTERNAL"), metadata=(("x-request-id", "r-9"),)
        )

    def calls() -> list[dict[str, Any]]:
        lines = [json.loads(one) for one in guarded.log.read_text().splitlines() if one[:1] == "{"]
        return [line for line in lines if line["message"] == "call"]

    # Envoy writes its log every few seconds.
    (line,) = await eventually(calls, 20)
    assert line["request_id"] == "r-9"
    assert line["grpc_status"] == "Internal"
    assert line["upstream"] in {pod.address for pod in trio}
    assert line["attempts"] == 1
