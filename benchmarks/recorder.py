"""
What the recorder costs: CPU for each call, and memory, at a steady rate.

Runs the recorder as its own process and sends it what Envoys send: a few streams
(calls and attempts of the two listeners of each Envoy), a message on each every
flush interval, a line in each for every call and every attempt. The lines are
those a real Envoy sent once (tests/unit/operator/envoy-access-logs.jsonl.gz) with
their times moved to now. CPU is the process's own, from /proc.

    python benchmarks/recorder.py --rate 300 --seconds 30 --output recorder.json
"""

import argparse
import base64
import gzip
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final

import grpc

from hailstorm_benchmarks.figures import Asked, Figure, Spread
from hailstorm_benchmarks.report import ROOT, conclude
from hailstorm_operator.recorder.messages import METHOD, SERVICE, Message

CAPTURE: Final = ROOT / "tests" / "unit" / "operator" / "envoy-access-logs.jsonl.gz"
# Issue 5: at most 3 % of a core at 300 calls a second.
CORE_SHARE_LIMIT: Final = 0.03
MIB: Final = 1024**2
START_SECONDS: Final = 30


@dataclass(frozen=True)
class Result:
    """What was measured. Shares are of one core."""

    rate: float
    calls: int
    lines: int
    seconds: float
    cpu_seconds: float
    core_share: float
    idle_core_share: float
    cpu_us_per_call: float
    resident_mib: float
    journal_bytes: int
    counted: int
    lost: int


def free_port() -> int:
    """A TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def captured(log: str) -> list[Any]:
    """Entries that a real Envoy sent on this log."""
    with gzip.open(CAPTURE, "rt") as file:
        lines = [json.loads(text) for text in file]
    return [
        entry
        for line in lines
        if line["log"] == log
        for entry in Message.FromString(base64.b64decode(line["data"])).http_logs.log_entry
    ]


def pick_good(entries: list[Any]) -> list[Any]:
    """Calls that went well: what a steady edge sends, but for a few."""
    return [
        entry
        for entry in entries
        if entry.response.response_trailers.get("grpc-status") == "0"
        and entry.common_properties.route_name == "trip/call"
    ]


class Edge:
    """The streams of one Envoy, over a connection of its own."""

    def __init__(self, name: str, port: int, pods: int, randomness: random.Random) -> None:
        self._name = name
        self._random = randomness
        self._pods = pods
        self._channel = grpc.insecure_channel(
            f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)]
        )
        stream = self._channel.stream_unary(
            f"/{SERVICE}/{METHOD}", request_serializer=lambda message: message.SerializeToString()
        )
        self._queues: dict[str, Any] = {}
        self._calls: list[Any] = []
        for log in ("public.calls", "public.attempts"):
            queue: SimpleQueue[Any] = SimpleQueue()
            self._queues[log] = (queue, pick_good(captured(log)))
            self._calls.append(stream.future(iter(queue.get, None)))
            first = Message()
            first.identifier.node.id = name
            first.identifier.log_name = log
            queue.put(first)

    def send(self, calls: int) -> int:
        """One beat: a line for each call and for its attempt. Returns how many lines."""
        sent = 0
        now = time.time()
        for queue, entries in self._queues.values():
            if not calls:
                continue
            message = Message()
            for _ in range(calls):
                entry = message.http_logs.log_entry.add()
                entry.CopyFrom(self._random.choice(entries))
                common = entry.common_properties
                started = now - self._random.uniform(0.05, 0.25)
                common.start_time.seconds = int(started)
                common.start_time.nanos = int(started % 1 * 1e9)
                common.duration.seconds = 0
                common.duration.nanos = int(self._random.lognormvariate(3.2, 0.5) * 1e6)
                address = common.upstream_remote_address.socket_address
                address.address = f"192.0.2.{self._random.randint(1, self._pods)}"
                entry.request.path = (
                    f"/hailstorm.trip.v1.TripService/Method{self._random.randint(1, 12)}"
                )
                sent += 1
            queue.put(message)
        return sent

    def close(self) -> None:
        """End the streams."""
        for queue, _ in self._queues.values():
            queue.put(None)
        self._channel.close()


def cpu_seconds(pid: int) -> float:
    """CPU that a process has used so far, all threads; in nanoseconds of the scheduler."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def resident_mib(pid: int) -> float:
    """Memory that a process holds now."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB


def ask(port: int, path: str) -> Any:
    """The JSON that the recorder answers."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return json.load(answer)


def wait_until_alive(port: int, process: "subprocess.Popen[bytes]") -> None:
    """Return when it answers; SystemExit when it never does."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/livez", timeout=1):
                return
        except OSError:
            time.sleep(0.05)
    raise SystemExit("the recorder does not answer")


def drive(edges: list[Edge], rate: float, seconds: float, beat: float) -> tuple[int, int]:
    """Send at this rate for this long; calls and lines that were sent."""
    calls = lines = 0
    began = time.monotonic()
    for number in range(1, int(seconds / beat) + 1):
        due = int(rate * beat * number) - calls
        for place, edge in enumerate(edges):
            share = due // len(edges) + (place < due % len(edges))
            lines += edge.send(share)
            calls += share
        time.sleep(max(0.0, began + number * beat - time.monotonic()))
    return calls, lines


def measure(arguments: argparse.Namespace, folder: Path) -> Result:
    """Run the recorder, idle and then under lines."""
    grpc_port, http_port = free_port(), free_port()
    settings = {"GRPC_PORT": grpc_port, "HTTP_PORT": http_port, "EDGES": "", "FOLDER": folder}
    process = subprocess.Popen(
        [sys.executable, "-m", "hailstorm_operator.recorder"],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT / "operator"),
            **{f"HAILSTORM_RECORDER_{name}": str(value) for name, value in settings.items()},
        },
    )
    randomness = random.Random(arguments.seed)
    try:
        wait_until_alive(http_port, process)
        edges = [Edge(f"edge-{n}", grpc_port, 8, randomness) for n in range(arguments.envoys)]
        drive(edges, arguments.rate, 2, arguments.beat)  # Keys and code are warm from here on.
        idle_from, idle_cpu = time.monotonic(), cpu_seconds(process.pid)
        time.sleep(arguments.idle)
        idle = (cpu_seconds(process.pid) - idle_cpu) / (time.monotonic() - idle_from)
        before = total(http_port)
        began, cpu = time.monotonic(), cpu_seconds(process.pid)
        calls, lines = drive(edges, arguments.rate, arguments.seconds, arguments.beat)
        elapsed, used = time.monotonic() - began, cpu_seconds(process.pid) - cpu
        end = time.monotonic() + 5
        while total(http_port) - before < lines and time.monotonic() < end:
            time.sleep(0.1)
        counted = total(http_port) - before
        size = sum(path.stat().st_size for path in folder.glob("*.jsonl"))
        memory = resident_mib(process.pid)
        for edge in edges:
            edge.close()
    finally:
        process.terminate()
        process.wait(timeout=10)
    return Result(
        rate=round(calls / elapsed, 1),
        calls=calls,
        lines=lines,
        seconds=round(elapsed, 2),
        cpu_seconds=round(used, 3),
        core_share=round(used / elapsed, 4),
        idle_core_share=round(idle, 4),
        cpu_us_per_call=round(used / calls * 1e6, 1),
        resident_mib=round(memory, 1),
        journal_bytes=size,
        counted=counted,
        lost=lines - counted,
    )


def total(port: int) -> int:
    """Lines that the recorder has counted."""
    return sum(row["count"] for row in ask(port, "/tallies")["rows"])


def main() -> int:
    """Whether the cost is within the limit, and no line was lost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--rate", type=float, default=300, help="calls a second")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--idle", type=float, default=5, help="seconds to watch it idle")
    parser.add_argument("--envoys", type=int, default=2)
    parser.add_argument("--beat", type=float, default=0.2, help="seconds between two messages")
    parser.add_argument("--seed", type=int, default=20261121)
    parser.add_argument("--output", type=Path, help="write the result as JSON")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        result = measure(arguments, Path(scratch))
    text = json.dumps({"seed": arguments.seed, **asdict(result)}, indent=2)
    print(text)
    if arguments.output:
        arguments.output.write_text(text + "\n")
    return conclude(
        [
            Figure(
                name="recorder, part of a core",
                unit="cores",
                measured=Spread((result.core_share,)),
                asked=Asked(CORE_SHARE_LIMIT, is_floor=False),
                why=f"{arguments.rate:g} calls/s",
            ),
            Figure(
                name="lines that the recorder lost",
                unit="lines",
                measured=Spread((float(result.lost),)),
                asked=Asked(0, is_floor=False),
            ),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
