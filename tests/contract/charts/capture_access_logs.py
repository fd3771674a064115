"""
What the chart's Envoy really sends, kept for tests that run without one.

    python tests/contract/charts/capture_access_logs.py

runs an edge over two pods, makes calls of every kind, and writes each message
as it came, with its log's name, to tests/unit/operator/envoy-access-logs.jsonl.gz.
To be run again when Envoy's version or the chart's access logs change.
"""

import base64
import contextlib
import gzip
import json
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import grpc

from contract.charts.chart_rendering import ROOT
from contract.charts.edge_process import Edge, Pod, start_edge, start_pods
from hailstorm.trip.v1 import trip_pb2, trip_pb2_grpc
from hailstorm_operator.recorder.messages import METHOD, SERVICE, Message

CAPTURE = ROOT / "tests" / "unit" / "operator" / "envoy-access-logs.jsonl.gz"
DEADLINES = "edge.deadlines.defaultSeconds=1,edge.deadlines.maxSeconds=2"
# Beyond the beat of an Envoy's logs.
FLUSH_SECONDS = 1.0


def make_calls(edge: Edge, pods: list[Pod]) -> None:
    """Calls of every kind; the last find no pod alive."""
    stub = trip_pb2_grpc.TripServiceStub(edge.channel())

    def get(trip_id: str, timeout: float | None = None) -> None:
        with contextlib.suppress(grpc.RpcError):
            stub.GetTrip(trip_pb2.GetTripRequest(city_id="nyc", trip_id=trip_id), timeout=timeout)

    for trip_id in ("t-1", "flaky-1", "fail-NOT_FOUND", "fail-RESOURCE_EXHAUSTED", "slow-5"):
        get(trip_id)
    get("fail-UNAVAILABLE")
    # A caller that hangs up at its deadline, one that does before, and a watcher.
    get("slow-5", timeout=0.3)
    call = stub.GetTrip.future(trip_pb2.GetTripRequest(trip_id="slow-0.8"))
    time.sleep(0.2)
    call.cancel()
    stream = stub.WatchTrip(trip_pb2.WatchTripRequest(trip_id="slow-5"))
    next(stream)
    stream.cancel()
    list(stub.WatchTrip(trip_pb2.WatchTripRequest(trip_id="t-1")))
    for path in ("/v1/cities/nyc/trips/fail-NOT_FOUND", "/v1/cities/nyc/trips/t-1", "/v1/nothing"):
        edge.http("GET", path)
    edge.http("GET", "/ready", port=edge.stats, headers={"x-hailstorm-pulse": "192.0.2.1:9902"})
    # A pod dies with calls in flight, then the other.
    request = trip_pb2.GetTripRequest(trip_id="slow-0.5")
    calls = [stub.GetTrip.future(request) for _ in range(6)]
    time.sleep(0.2)
    pods[0].signal(signal.SIGKILL)
    for one in calls:
        one.result()
    pods[1].signal(signal.SIGKILL)
    pods[1].process.wait()
    get("t-1")
    time.sleep(FLUSH_SECONDS)
    get("t-1")
    time.sleep(FLUSH_SECONDS)


def main() -> None:
    """Capture, and write the file."""
    lines: list[dict[str, str]] = []

    def receive(messages: Iterator[bytes], _: Any) -> bytes:
        log = ""
        for data in messages:
            log = log or Message.FromString(data).identifier.log_name
            lines.append({"log": log, "data": base64.b64encode(data).decode()})
        return b""

    server = grpc.server(futures.ThreadPoolExecutor(20))
    method = grpc.stream_unary_rpc_method_handler(receive, None, None)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(SERVICE, {METHOD: method}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        pods = start_pods(folder, 2)
        edge = start_edge(folder, pods, "--set", DEADLINES, recorder=port)
        try:
            make_calls(edge, pods)
        finally:
            edge.end()
            for pod in pods:
                pod.end()
    server.stop(0)
    text = "".join(json.dumps(line) + "\n" for line in lines)
    CAPTURE.write_bytes(gzip.compress(text.encode(), mtime=0))
    print(CAPTURE, len(lines), "messages")


if __name__ == "__main__":
    main()
