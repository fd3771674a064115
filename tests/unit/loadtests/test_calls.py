"""A call ends when it is answered or when its time is over, whoever else still waits."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc
import pytest

from hailstorm.location.v1 import location_pb2, location_pb2_grpc
from hailstorm_loadtests.history import Call, lag_of

SCRIPT = Path(__file__).with_name("impatient.py")
# More than the threads of gevent's pool (10), each of which once waited for one call.
WAITING = 25
# Of those that wait, longer than everything else in the test takes.
DEADLINE = 6.0


class SlowCity(location_pb2_grpc.LocationServiceServicer):
    """Has the slow city wait until the quick one was served; nobody serves the silent one."""

    def __init__(self) -> None:
        self.is_over = threading.Event()

    def NearbyDrivers(
        self, request: location_pb2.NearbyDriversRequest, context: grpc.ServicerContext
    ) -> location_pb2.NearbyDriversResponse:
        if request.city_id != "quick":
            self.is_over.wait(DEADLINE * 2)
        return location_pb2.NearbyDriversResponse()


@pytest.fixture
def target() -> Iterator[str]:
    servicer = SlowCity()
    server = grpc.server(futures.ThreadPoolExecutor(WAITING + 5))
    location_pb2_grpc.add_LocationServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    servicer.is_over.set()
    server.stop(0).wait()


def ended(target: str, last_city: str, last_deadline: float) -> list[list[str]]:
    """The code and the city of each call in the order in which they ended."""
    done = subprocess.run(
        [
            *(sys.executable, str(SCRIPT), target),
            *("--waiting", str(WAITING), "--deadline", str(DEADLINE)),
            *("--last-city", last_city, "--last-deadline", str(last_deadline)),
        ],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return [line.split() for line in done.stdout.splitlines()]


def test_an_answer_is_taken_while_many_others_are_waited_for(target: str) -> None:
    lines = ended(target, "quick", DEADLINE)
    assert len(lines) == WAITING + 1
    assert lines[0] == ["OK", "quick"]


def test_a_deadline_is_kept_while_many_others_are_waited_for(target: str) -> None:
    lines = ended(target, "silent", 0.3)
    assert len(lines) == WAITING + 1
    assert lines[0] == ["DEADLINE_EXCEEDED", "silent"]


@pytest.mark.parametrize(
    ("started", "ended_at", "deadline", "lag"),
    [
        (10.2, 11.0, 3.0, 0.2),
        (10.0, 15.0, 3.0, 2.0),
        (10.2, 10.3, None, 0.2),
    ],
)
def test_lag_is_of_the_start_and_of_the_deadline(
    started: float, ended_at: float, deadline: float | None, lag: float
) -> None:
    assert lag_of(10.0, started, ended_at, deadline) == pytest.approx(lag)
    call = Call(
        intended=10.0,
        started=started,
        ended=ended_at,
        method="GetTrip",
        code="OK",
        outcome="ok",
        deadline=deadline,
    )
    assert call.lag_seconds == pytest.approx(lag)
