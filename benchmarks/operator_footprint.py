"""
What the operator and the recorder cost while the edge serves 300 calls a second.

Paces GetTrip calls of a trip that nobody has (a call and an attempt in the edge's log, and
no store but one read), and reads from both processes' own metrics how much CPU time they
took meanwhile and how much memory they hold. A run that did not reach its rate, or in
which the recorder did not see its lines, is no measurement.
"""

import argparse
import asyncio
import json
import os
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc

from footprint import METRIC, MIB, kubectl, spread
from hailstorm.trip.v1 import trip_pb2, trip_pb2_grpc
from hailstorm_benchmarks.documents import unknown
from hailstorm_benchmarks.figures import Asked, Figure, Spread
from hailstorm_benchmarks.report import conclude

NAMESPACE: Final = "hailstorm-system"
CALLS_PER_SECOND: Final = 300
# Of issue 5, "Figures to reach".
OPERATOR_MIB_LIMIT: Final = 130.0
RECORDER_CORES_LIMIT: Final = 0.03
# It has no figure there; more than the recorder it should not take either.
OPERATOR_CORES_LIMIT: Final = 0.03
# Below it the figures would speak of another load.
RATE_SHARE: Final = 0.97
RESIDENT: Final = "process_resident_memory_bytes"
CPU: Final = "process_cpu_seconds_total"
BEGAN: Final = "process_start_time_seconds"
LINES: Final = "hailstorm_recorder_lines_total"
PORTS: Final = {"operator": 8081, "recorder": 8082}


class NoMeasurementError(Exception):
    """Why a run says nothing."""


@dataclass(frozen=True)
class Sample:
    """One process's figures at a moment (monotonic, s)."""

    pod: str
    at: float
    values: dict[str, float]


def sample(component: str) -> Sample:
    """The figures of the one pod of a component, through the API server's proxy."""
    label = f"app.kubernetes.io/component={component}"
    pods = json.loads(kubectl("get", "pods", "-n", NAMESPACE, "-l", label, "-o", "json"))["items"]
    if len(pods) != 1:
        raise NoMeasurementError(f"{len(pods)} pods of {component} run; the figure is for one")
    name = pods[0]["metadata"]["name"]
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{name}:{PORTS[component]}/proxy/metrics"
    text = kubectl("get", "--raw", path)
    return Sample(
        name, time.monotonic(), {key: float(value) for key, value in METRIC.findall(text)}
    )


def rise(before: Sample, after: Sample, name: str) -> float:
    """How fast a counter grew, per second."""
    return (after.values[name] - before.values[name]) / (after.at - before.at)


async def call_for(edge: str, city: str, seconds: float) -> float:
    """Call at CALLS_PER_SECOND for so long, by the clock and not by answers. Calls a second."""
    answered = 0

    async def one(stub: Any) -> None:
        nonlocal answered
        request = trip_pb2.GetTripRequest(city_id=city, trip_id=str(uuid.uuid4()))
        try:
            await stub.GetTrip(request, timeout=5)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                return
        answered += 1

    async with grpc.aio.insecure_channel(edge) as channel:
        stub, running, began = trip_pb2_grpc.TripServiceStub(channel), set(), time.monotonic()
        for number in range(int(seconds * CALLS_PER_SECOND)):
            wait = began + number / CALLS_PER_SECOND - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            task = asyncio.create_task(one(stub))
            running.add(task)
            task.add_done_callback(running.discard)
        await asyncio.gather(*running)
        return answered / (time.monotonic() - began)


def measure(edge: str, city: str, seconds: float) -> dict[str, float]:
    """One run's figures."""
    before = {component: sample(component) for component in PORTS}
    rate = asyncio.run(call_for(edge, city, seconds))
    after = {component: sample(component) for component in PORTS}
    for component in PORTS:
        one, other = before[component], after[component]
        # A process that began anew counts from zero, which would pass for little.
        if (one.pod, one.values[BEGAN]) != (other.pod, other.values[BEGAN]):
            raise NoMeasurementError(f"the {component} was started again meanwhile")
    lines = rise(before["recorder"], after["recorder"], LINES)
    # Each call is a line, and so is its attempt.
    if rate < RATE_SHARE * CALLS_PER_SECOND or lines < 2 * RATE_SHARE * rate * 0.9:
        raise NoMeasurementError(
            f"{rate:.0f} calls/s were answered and {lines:.0f} lines/s recorded; "
            f"{CALLS_PER_SECOND} calls/s are wanted: this machine is too busy to measure"
        )
    return {
        "calls_per_second": rate,
        "lines_per_second": lines,
        "operator_mib": after["operator"].values[RESIDENT] / MIB,
        "operator_cores": rise(before["operator"], after["operator"], CPU),
        "recorder_mib": after["recorder"].values[RESIDENT] / MIB,
        "recorder_cores": rise(before["recorder"], after["recorder"], CPU),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edge", default="127.0.0.1:18080", help="address of the edge")
    parser.add_argument("--city", default="drill")
    parser.add_argument("--seconds", type=float, default=60, help="length of one run")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--output", type=Path, help="write the figures there as JSON")
    arguments = parser.parse_args()

    runs = []
    for number in range(arguments.runs):
        print(f"run {number + 1} of {arguments.runs}: {CALLS_PER_SECOND} calls/s for "
              f"{arguments.seconds:.0f} s", flush=True)  # fmt: skip
        try:
            runs.append(measure(arguments.edge, arguments.city, arguments.seconds))
        except NoMeasurementError as error:
            return conclude([unknown("operator and recorder", str(error))])
    judged = (
        ("operator_mib", OPERATOR_MIB_LIMIT, "max"),
        ("operator_cores", OPERATOR_CORES_LIMIT, "median"),
        ("recorder_cores", RECORDER_CORES_LIMIT, "median"),
    )
    figures: dict[str, Any] = {
        "command": "make operator-footprint",
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": {"cores": os.cpu_count()},
        **{name: spread([one[name] for one in runs], limit) for name, limit, _ in judged},
        "runs": [{name: round(value, 4) for name, value in one.items()} for one in runs],
    }
    if arguments.output:
        arguments.output.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return conclude(
        [
            Figure(
                f"{name}, {statistic} of a run",
                "MiB" if name.endswith("mib") else "cores",
                Spread((figures[name][statistic],)),
                Asked(limit, is_floor=False),
            )
            for name, limit, statistic in judged
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
