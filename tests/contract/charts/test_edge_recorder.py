"""What the chart's Envoy tells the recorder: every call, every attempt, and when it could not."""

import json
import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from contract.charts.chart_rendering import render, render_text
from contract.charts.edge_process import Edge, Pod, start_edge, start_pods
from contract.charts.recorder_process import Recorder, new_recorder
from eventually import eventually
from hailstorm.trip.v1 import trip_pb2, trip_pb2_grpc

CALLERS = 8


@pytest.fixture(scope="module")
def watched(folder: Path, pods: list[Pod]) -> Iterator[tuple[Edge, Recorder]]:
    """An edge with its recorder that tests share; they compare counts before and after."""
    recorder = new_recorder(folder)
    edge = start_edge(folder, pods, recorder=recorder.logs)
    try:
        recorder.start([edge])
        yield edge, recorder
    finally:
        recorder.end()
        edge.end()


@pytest.fixture
def trio(folder: Path) -> Iterator[list[Pod]]:
    """Three pods that a test may hurt."""
    started = start_pods(folder, 3)
    yield started
    for pod in started:
        pod.end()


@pytest.fixture
def own(folder: Path, trio: list[Pod]) -> Iterator[tuple[Edge, Recorder]]:
    """An edge and a recorder that one test may hurt."""
    recorder = new_recorder(folder)
    edge = start_edge(
        folder, trio, "--set", "edge.drain.propagationSeconds=2", recorder=recorder.logs
    )
    try:
        recorder.start([edge])
        yield edge, recorder
    finally:
        recorder.end()
        edge.end()


class Caller:
    """Calls that are counted by who makes them."""

    def __init__(self, edge: Edge) -> None:
        self._stub = trip_pb2_grpc.TripServiceStub(edge.channel())
        self.codes: Counter[str] = Counter()
        self.attempts = 0
        self.retried = 0
        self.upstreams: Counter[str] = Counter()

    def call(self, trip_id: str) -> None:
        request = trip_pb2.GetTripRequest(city_id="nyc", trip_id=trip_id)
        try:
            _, call = self._stub.GetTrip.with_call(request, timeout=8)
            metadata, code = dict(call.initial_metadata()), "OK"
        except grpc.RpcError as error:
            # An answer without a message has its headers among the trailers.
            metadata = {**dict(error.initial_metadata()), **dict(error.trailing_metadata())}
            code = error.code().name
        self.codes[code] += 1
        tries = int(metadata["x-envoy-attempt-count"])
        self.attempts += tries
        self.retried += tries > 1
        self.upstreams[metadata["x-hailstorm-upstream"]] += 1


async def heard(recorder: Recorder, edge: Edge) -> None:
    """Wait until the edge's pulse came back, and the gap before it is over."""
    await eventually(
        lambda: recorder.ask("/gaps", from_=time.time()),
        10,
        lambda answer: (
            answer["complete"]
            and [one["name"] for one in answer["envoys"] if one["pulseAt"]] == [edge.node]
        ),
    )


class Growth:
    """How much the recorder has counted since this was made."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._before = self._rows()

    def _rows(self) -> Counter[tuple[tuple[str, Any], ...]]:
        def identity(row: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
            grows = ("buckets", "count", "firstAt", "lastAt")
            return tuple(pair for pair in row.items() if pair[0] not in grows)

        rows = self._recorder.ask("/tallies")["rows"]
        return Counter({identity(row): row["count"] for row in rows})

    def count(self, kind: str, **wanted: Any) -> int:
        """Calls or attempts whose row has these values."""
        return sum(
            count
            for row, count in (self._rows() - self._before).items()
            if {"kind": kind, **wanted}.items() <= dict(row).items()
        )


async def test_counts_equal_the_callers_own(
    watched: tuple[Edge, Recorder], pods: list[Pod]
) -> None:
    edge, recorder = watched
    await heard(recorder, edge)
    growth, began = Growth(recorder), time.time()
    caller = Caller(edge)
    stamp = time.time_ns()
    words = ["t-1", "fail-NOT_FOUND", "fail-RESOURCE_EXHAUSTED", "fail-INTERNAL"]
    with ThreadPoolExecutor(CALLERS) as pool:
        list(pool.map(caller.call, [*words * 25, *(f"flaky-{stamp}-{n}" for n in range(20))]))
    total = sum(caller.codes.values())
    await eventually(lambda: growth.count("calls"), 5, lambda count: count == total)
    for code, count in caller.codes.items():
        assert growth.count("calls", code=code) == count, code
    assert growth.count("calls", outcome="ok", retried=True) == caller.retried == 20
    # Every attempt came, those before a retry included, each with its pod.
    await eventually(lambda: growth.count("attempts"), 5, lambda n: n == caller.attempts)
    assert caller.attempts == total + 20
    assert growth.count("attempts", outcome="failed", code="UNAVAILABLE") == 20
    assert growth.count("attempts", address="") == 0
    for address, count in caller.upstreams.items():
        assert growth.count("calls", address=address) == count
    assert growth.count("attempts", outcome="shed") == 25
    answer = recorder.ask("/failures", from_=began, kind="attempts")
    assert answer["complete"], answer["gaps"]
    assert (answer["total"], answer["omitted"]) == (45, 0)
    assert {one["address"] for one in answer["failures"]} <= {pod.address for pod in pods}
    assert {one["envoy"] for one in answer["failures"]} == {edge.node}


async def test_caller_that_hangs_up_is_no_failure_and_one_at_its_deadline_is(
    watched: tuple[Edge, Recorder],
) -> None:
    edge, recorder = watched
    growth = Growth(recorder)
    stub = trip_pb2_grpc.TripServiceStub(edge.channel())
    stream = stub.WatchTrip(trip_pb2.WatchTripRequest(trip_id="slow-5"))
    next(stream)
    stream.cancel()
    with pytest.raises(grpc.RpcError):
        stub.GetTrip(trip_pb2.GetTripRequest(trip_id="slow-5"), timeout=0.3)
    await eventually(lambda: growth.count("calls") == growth.count("attempts") == 2, 5)
    for kind in ("calls", "attempts"):
        assert growth.count(kind, outcome="cancelled", stream=True) == 1
        assert growth.count(kind, outcome="failed", code="DEADLINE_EXCEEDED") == 1


async def test_json_call_is_judged_by_its_http_status(watched: tuple[Edge, Recorder]) -> None:
    edge, recorder = watched
    growth = Growth(recorder)
    for trip_id in ("t-1", "fail-NOT_FOUND", "fail-INTERNAL"):
        edge.http("GET", f"/v1/cities/nyc/trips/{trip_id}")
    edge.http("GET", "/v1/nothing")
    await eventually(lambda: growth.count("calls") == 4 and growth.count("attempts") == 3, 5)
    method = "hailstorm.trip.v1.TripService/GetTrip"
    for outcome in ("ok", "refused", "failed"):
        assert growth.count("calls", outcome=outcome, method=method, cluster="trip") == 1
    # Nobody's words become a key: what matched no route has no name.
    assert growth.count("calls", outcome="refused", method="", cluster="") == 1


async def test_killed_pods_are_named_by_their_failed_attempts(
    own: tuple[Edge, Recorder], trio: list[Pod]
) -> None:
    edge, recorder = own
    caller = Caller(edge)
    with ThreadPoolExecutor(12) as pool:
        calls = [pool.submit(caller.call, "slow-0.4") for _ in range(12)]
        await eventually(lambda: edge.stat("cluster.trip.upstream_rq_active") == 12, 3)
        trio[0].signal(signal.SIGKILL)
        for call in calls:
            call.result()
    assert caller.codes == {"OK": 12}
    retried = caller.attempts - 12
    assert retried > 0
    answer = await eventually(
        lambda: recorder.ask("/failures", kind="attempts"),
        5,
        lambda found: found["total"] == retried,
    )
    assert {one["address"] for one in answer["failures"]} == {trio[0].address}
    assert {one["flag"] for one in answer["failures"]} <= {"UC", "UF"}
    assert recorder.count("calls", outcome="failed") == 0
    # A call that finds no pod at all still belongs to its service.
    for pod in trio[1:]:
        pod.signal(signal.SIGUSR1)
    await eventually(lambda: edge.stat("cluster.trip.membership_healthy") == 0, 5)
    with pytest.raises(grpc.RpcError):
        trip_pb2_grpc.TripServiceStub(edge.channel()).GetTrip(trip_pb2.GetTripRequest())
    wanted = {"cluster": "trip", "address": "", "flag": "UH", "outcome": "failed"}
    await eventually(lambda: recorder.count("calls", **wanted) == 1, 5)
    # The edge itself dies: what it had not sent is lost, and the recorder says so.
    await heard(recorder, edge)
    died = time.time()
    edge.end()
    (gap,) = await eventually(
        lambda: recorder.ask("/gaps", from_=died)["gaps"], 8, lambda found: found
    )
    assert (gap["envoy"], gap["reason"], gap["to"]) == (edge.node, "StreamEnded", None)


async def test_killed_recorder_leaves_traffic_alone_and_marks_the_gap(
    own: tuple[Edge, Recorder],
) -> None:
    edge, recorder = own
    await heard(recorder, edge)
    caller = Caller(edge)
    for _ in range(50):
        caller.call("t-1")
    await eventually(lambda: recorder.count("calls") == 50, 5)
    # Written down within a second, and then it dies without a word.
    counted, journal = time.time(), next(recorder.folder.glob("recorder-*.jsonl"))
    await eventually(lambda: json.loads(journal.read_text().splitlines()[-1])["at"] > counted, 5)
    died = time.time()
    recorder.end(signal.SIGKILL)
    for _ in range(100):
        caller.call("t-1")
    recorder.start([edge])
    await heard(recorder, edge)
    back = time.time()
    for _ in range(50):
        caller.call("t-1")
    # Nobody waited and nobody failed.
    assert caller.codes == {"OK": 200}
    await eventually(lambda: recorder.count("calls", outcome="ok") >= 100, 5)
    assert recorder.count("calls") < 200
    answer = recorder.ask("/gaps", from_=died - 10, to=back)
    assert "RecorderAbsent" in {gap["reason"] for gap in answer["gaps"]}
    for question in ("/gaps", "/tallies", "/failures"):
        assert not recorder.ask(question, from_=died, to=back)["complete"]
        assert recorder.ask(question, from_=back, to=back + 1)["complete"]


async def test_edge_that_drains_loses_no_line_and_is_no_gap(
    own: tuple[Edge, Recorder],
) -> None:
    edge, recorder = own
    await heard(recorder, edge)
    caller, quiet = Caller(edge), time.time()
    for _ in range(20):
        caller.call("t-1")
    edge.terminate()
    while edge.process.poll() is None:
        try:
            caller.call("t-1")
        except KeyError:
            # The listener is closed: this one never was the edge's.
            break
    edge.process.wait(timeout=20)
    answered = caller.codes["OK"]
    assert answered > 20
    # Up to the last one that it answered.
    await eventually(lambda: recorder.count("calls", outcome="ok") == answered, 5)
    answer = await eventually(
        lambda: recorder.ask("/gaps", from_=quiet), 8, lambda found: not found["envoys"]
    )
    assert answer["complete"], answer["gaps"]


def test_switched_off_nothing_of_it_is_rendered() -> None:
    text = render_text("--set", "recorder.enabled=false")
    for word in ("cluster_name: recorder", "access_loggers.grpc", "upstream_log", "service-node"):
        assert word in render_text()
        assert word not in text
    assert "name: LOG_FLUSH_SECONDS" not in text


def test_edge_may_speak_to_the_recorder_and_to_one_elsewhere() -> None:
    def rules(*arguments: str) -> list[Any]:
        (policy,) = [
            one
            for one in render(*arguments)
            if one["kind"] == "NetworkPolicy" and one["metadata"]["name"] == "edge"
        ]
        return [r["to"] for r in policy["spec"]["egress"] if r["ports"] == [{"port": 9990}]]

    ((peer,),) = rules()
    assert peer["podSelector"] == {"matchLabels": {"app.kubernetes.io/component": "recorder"}}
    assert rules("--set", "recorder.host=recorder.example") == [
        [{"ipBlock": {"cidr": "0.0.0.0/0"}}]
    ]
