"""How an Envoy leaves: told by SIGTERM, gone when nobody needs it any more."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from contract.charts.edge_process import Edge, Pod, start_edge
from eventually import eventually
from hailstorm.trip.v1 import trip_pb2, trip_pb2_grpc

SHORT_DRAIN = ("--set", "edge.drain.propagationSeconds=2,edge.drain.maxSeconds=6")


@pytest.fixture
def leaving(folder: Path, pods: list[Pod]) -> Iterator[Edge]:
    """An edge that a test sends away."""
    started = start_edge(folder, pods, *SHORT_DRAIN)
    yield started
    started.end()


def ready(edge: Edge) -> int | None:
    """The status of /ready; None when nobody answers."""
    try:
        return edge.http("GET", "/ready", port=edge.stats)[0]
    except OSError:
        return None


async def test_draining_edge_serves_on_and_is_not_ready(leaving: Edge) -> None:
    stub = trip_pb2_grpc.TripServiceStub(leaving.channel())
    stub.GetTrip(trip_pb2.GetTripRequest(trip_id="t-1"))
    leaving.terminate()
    await eventually(lambda: ready(leaving) == 503, 5)
    stub.GetTrip(trip_pb2.GetTripRequest(trip_id="t-2"))
    assert leaving.http("GET", "/v1/cities/nyc/trips/t-3")[1]["connection"] == "close"
    assert leaving.process.wait(timeout=10) == 0


def test_draining_edge_goes_when_it_is_quiet(leaving: Edge) -> None:
    began = time.monotonic()
    leaving.terminate()
    assert leaving.process.wait(timeout=15) == 0
    # After the propagation and before the maximum.
    assert 2 <= time.monotonic() - began < 6
    assert "drained after" in leaving.log.read_text()


async def test_draining_edge_waits_for_calls_in_flight(leaving: Edge) -> None:
    stub = trip_pb2_grpc.TripServiceStub(leaving.channel())
    call = stub.GetTrip.future(trip_pb2.GetTripRequest(trip_id="slow-3.5"))
    await eventually(lambda: leaving.stat("cluster.trip.upstream_rq_active") == 1, 5)
    leaving.terminate()
    assert call.result(timeout=10).trip.trip_id == "slow-3.5"
    assert leaving.process.wait(timeout=10) == 0


def test_draining_edge_does_not_wait_for_ever(leaving: Edge) -> None:
    stub = trip_pb2_grpc.TripServiceStub(leaving.channel())
    stream = stub.WatchTrip(trip_pb2.WatchTripRequest(trip_id="slow-60"))
    next(stream)
    leaving.terminate()
    assert leaving.process.wait(timeout=15) == 0
    with pytest.raises(grpc.RpcError) as caught:
        next(stream)
    # What tells a watcher to open its stream again.
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_second_sigterm_ends_at_once(leaving: Edge) -> None:
    leaving.terminate()
    await eventually(lambda: ready(leaving) == 503, 5)
    began = time.monotonic()
    leaving.terminate()
    leaving.process.wait(timeout=10)
    assert time.monotonic() - began < 1.5
    assert ready(leaving) is None


def test_script_ends_with_the_code_of_an_envoy_that_dies(leaving: Edge) -> None:
    leaving.http("POST", "/quitquitquit", port=leaving.admin)
    assert leaving.process.wait(timeout=10) == 0
    assert "drained after" not in leaving.log.read_text()


async def test_callers_of_two_edges_notice_nothing_when_one_leaves(
    folder: Path, pods: list[Pod], leaving: Edge
) -> None:
    staying = start_edge(folder, pods, *SHORT_DRAIN)
    failures: list[str] = []
    served: list[str] = []
    stop = threading.Event()
    # As a service's channel: both addresses, one after the other, no retry.
    target = f"ipv4:127.0.0.1:{leaving.internal},127.0.0.1:{staying.internal}"
    policy = (("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}'),)

    def call() -> None:
        with grpc.insecure_channel(target, options=policy) as channel:
            stub = trip_pb2_grpc.TripServiceStub(channel)
            while not stop.is_set():
                try:
                    stub.GetTrip(trip_pb2.GetTripRequest(trip_id="slow-0.01"), timeout=5)
                    served.append("ok")
                except grpc.RpcError as error:
                    failures.append(f"{error.code().name}: {error.details()}")

    callers = [threading.Thread(target=call) for _ in range(8)]
    try:
        for caller in callers:
            caller.start()
        await eventually(lambda: len(served) > 200, 20)
        leaving.terminate()
        await eventually(lambda: leaving.process.poll() is not None, 15)
        afterwards = len(served) + 200
        await eventually(lambda: len(served) > afterwards, 20)
    finally:
        stop.set()
        for caller in callers:
            caller.join()
        staying.end()
    assert failures == []
    assert "with 0 calls in flight" in leaving.log.read_text()


async def test_connections_that_grow_old_fail_no_call(folder: Path, pods: list[Pod]) -> None:
    # Every connection ends some time, so that callers find new Envoys; each
    # second here, as often in ten seconds as in the chart's in an hour.
    ageing = start_edge(folder, pods, "--set", "edge.limits.connectionSeconds=1")
    channel = ageing.channel()
    stub = trip_pb2_grpc.TripServiceStub(channel)
    request = trip_pb2.GetTripRequest(trip_id="slow-0.01")
    stream = stub.WatchTrip(trip_pb2.WatchTripRequest(trip_id="slow-1.5"))
    as_json: list[tuple[int, dict[str, str], bytes]] = []
    lines = threading.Thread(
        target=lambda: as_json.append(ageing.http("GET", "/v1/cities/nyc/trips/slow-1.5:watch"))
    )
    lines.start()
    try:

        def several_connections_later() -> bool:
            for call in [stub.GetTrip.future(request, timeout=5) for _ in range(4)]:
                call.result()
            return ageing.stat("http.public.downstream_cx_total") >= 6

        # An error of any call ends the test here: `eventually` would ask again.
        while not several_connections_later():
            pass
        # Streams outlive their connection's age.
        assert [event.trip.version for event in stream] == [1, 2, 3]
        lines.join()
        ((_, _, body),) = as_json
        assert len(body.splitlines()) == 3
    finally:
        ageing.end()
