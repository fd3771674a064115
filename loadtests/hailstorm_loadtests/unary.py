"""
Load on one unary gRPC method of any service: bytes out, bytes in, lines on stdout.

Two models. `open`: calls come when they are due, answered or not, and latency
counts from that moment (`make compare`). `levels`: so many callers at a time,
each waiting for its answer, one level after another (`hailstorm calibrate`).
Both stop by themselves. What is written is complete: the last line says how
many calls came before it, so a cut log is seen.
"""

import argparse
import asyncio
import json
import resource
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import grpc

from hailstorm_loadtests.fence import TargetError, assert_private, parse_target
from hailstorm_loadtests.history import percentile
from hailstorm_loadtests.pacing import arrivals, parse_pace, planned_rates
from hailstorm_loadtests.profile import MAX_CALLS_PER_SECOND
from hailstorm_loadtests.shapes import ShapeError

EX_USAGE: Final = 64
# Before the first call, so that the channel has its connections.
LEAD_SECONDS: Final = 1.0
# What one run may ask for at most: bounds, so that a typing error ends by itself.
MAX_SECONDS: Final = 1800
MAX_CONCURRENCY: Final = 512
MAX_LEVEL_SECONDS: Final = 60.0
# Calls of each level that are made and not counted, as a share of its time: the
# ones of the level before are still on their way.
WARM_SHARE: Final = 0.2
CHANNELS: Final = 4
CHANNEL_OPTIONS: Final[tuple[tuple[str, Any], ...]] = (
    ("grpc.service_config", '{"loadBalancingConfig":[{"round_robin":{}}]}'),
    ("grpc.enable_retries", 0),
    # Channels of one target share their connections otherwise.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.dns_min_time_between_resolutions_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 1000),
)


def raw(message: bytes) -> bytes:
    """Serialised as it is."""
    return message


def tell(line: dict[str, Any]) -> None:
    """One line of JSON, at once."""
    sys.stdout.write(json.dumps(line, separators=(",", ":")) + "\n")
    sys.stdout.flush()


class Caller:
    """Calls of one method over a few connections."""

    def __init__(self, address: str, method: str, request: bytes, deadline: float) -> None:
        self._channels = [
            grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS) for _ in range(CHANNELS)
        ]
        self._methods = [channel.unary_unary(method, raw, raw) for channel in self._channels]
        self._request, self._deadline = request, deadline
        self._number = 0

    async def ready(self, seconds: float) -> None:
        """Connect. Raises TimeoutError when there is nobody."""
        waits = [channel.channel_ready() for channel in self._channels]
        await asyncio.wait_for(asyncio.gather(*waits), seconds)

    async def call(self, seconds_left: float | None = None) -> str:
        """Make one call; the name of its status code."""
        self._number += 1
        method = self._methods[self._number % CHANNELS]
        wait = self._deadline if seconds_left is None else seconds_left
        if wait <= 0:
            return "DEADLINE_EXCEEDED"
        try:
            await method(self._request, timeout=wait)
        except grpc.aio.AioRpcError as error:
            return str(error.code().name)
        return "OK"

    async def close(self) -> None:
        """Close the connections."""
        for channel in self._channels:
            await channel.close(None)


async def run_open(caller: Caller, options: argparse.Namespace) -> int:
    """Offer the arrivals of the schedule; the exit code."""
    shape = parse_pace(options.shape)
    dues = arrivals(shape, options.rate, options.seconds, options.seed)
    lags: list[float] = []
    running: set[asyncio.Task[None]] = set()
    done: list[tuple[float, float, float, str]] = []
    start = time.monotonic() + LEAD_SECONDS
    tell(
        {
            "kind": "plan",
            "start_at": time.time() + LEAD_SECONDS,
            "rates": [round(r, 3) for r in planned_rates(shape, options.rate, options.seconds)],
            "calls": len(dues),
        }
    )

    async def one(due: float) -> None:
        lag = time.monotonic() - start - due
        lags.append(lag)
        code = await caller.call(options.deadline_seconds - lag)
        latency = time.monotonic() - start - due
        done.append((due, lag, latency, code))

    async def write() -> None:
        second = 0
        while True:
            second += 1
            await asyncio.sleep(max(0.0, start + second - time.monotonic()))
            flush()

    def flush() -> None:
        calls, done[:] = list(done), []
        if calls:
            rows = [
                [round(due, 4), round(lag * 1000, 1), round(latency * 1000, 1), code]
                for due, lag, latency, code in calls
            ]
            tell({"kind": "calls", "calls": rows})

    writer = asyncio.create_task(write())
    for due in dues:
        # Also when it is late, others get their turn, or answers would wait for us.
        await asyncio.sleep(max(0.0, start + due - time.monotonic()))
        task = asyncio.create_task(one(due))
        running.add(task)
        task.add_done_callback(running.discard)
    if running:
        await asyncio.wait(running, timeout=options.deadline_seconds + 5)
    writer.cancel()
    flush()
    tell({"kind": "end", "calls": len(lags), "unfinished": len(running), **_own_figures(lags)})
    return 0


async def run_levels(caller: Caller, options: argparse.Namespace) -> int:
    """One level of concurrency after another; the exit code."""
    for number, concurrency in enumerate(options.levels, start=1):
        level = await run_level(caller, concurrency, options.level_seconds)
        tell({"kind": "level", **level})
        is_over = options.stop_p99_ms and (level["p99_ms"] or 0) > options.stop_p99_ms
        if is_over and number >= options.least_levels:
            break
    tell({"kind": "end", **_own_figures([])})
    return 0


async def run_level(caller: Caller, concurrency: int, seconds: float) -> dict[str, Any]:
    """So many callers for that long; throughput and latency of its later part."""
    began = time.monotonic()
    counted_from, end = began + seconds * WARM_SHARE, began + seconds
    answered_ms: list[float] = []
    codes: Counter[str] = Counter()

    async def work() -> None:
        while (started := time.monotonic()) < end:
            code = await caller.call()
            ended = time.monotonic()
            if counted_from <= ended < end:
                codes[code] += 1
                if code == "OK":
                    answered_ms.append((ended - started) * 1000)
            if code != "OK":
                # A server that refuses at once must not be called in a tight loop.
                await asyncio.sleep(0.05)

    await asyncio.gather(*(work() for _ in range(concurrency)))
    return {
        "concurrency": concurrency,
        "calls": sum(codes.values()),
        "codes": dict(sorted(codes.items())),
        "throughput": round(codes["OK"] / (end - counted_from), 2),
        "p50_ms": _rounded(percentile(answered_ms, 0.5)),
        "p99_ms": _rounded(percentile(answered_ms, 0.99)),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def _own_figures(lags: Sequence[float]) -> dict[str, Any]:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    lag = percentile(lags, 0.99)
    return {
        "lag_p99_ms": None if lag is None else round(lag * 1000, 1),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2),
    }


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m hailstorm_loadtests.unary")
    models = parser.add_subparsers(dest="model", required=True)
    opened, levels = models.add_parser("open"), models.add_parser("levels")
    for model in (opened, levels):
        model.add_argument("--target", required=True, help="[dns:///]host:port")
        model.add_argument("--method", required=True, help="/package.Service/Method")
        model.add_argument("--request-hex", default="", help="the serialised request")
        model.add_argument("--deadline-seconds", type=float, default=5.0)
        model.add_argument("--connect-seconds", type=float, default=30.0)
    opened.add_argument("--rate", type=float, required=True, help="calls a second at multiplier 1")
    opened.add_argument("--shape", default="steady")
    opened.add_argument("--seconds", type=int, required=True)
    opened.add_argument("--seed", type=int, required=True)
    levels.add_argument("--levels", type=_whole_numbers, required=True, help="1,2,4,8")
    levels.add_argument("--level-seconds", type=float, default=4.0)
    levels.add_argument("--stop-p99-ms", type=float, default=0.0, help="0 goes to the end")
    levels.add_argument("--least-levels", type=int, default=1, help="before it may stop")
    return parser


def _whole_numbers(text: str) -> list[int]:
    return [int(word) for word in text.split(",")]


def problems(options: argparse.Namespace) -> str | None:
    """What is unbounded or impossible in the options; None when nothing is."""
    if not options.method.startswith("/") or options.method.count("/") != 2:
        return f"method {options.method!r} is not /package.Service/Method"
    if options.model == "levels":
        if not options.levels or not all(1 <= n <= MAX_CONCURRENCY for n in options.levels):
            return f"levels must be whole numbers from 1 to {MAX_CONCURRENCY}"
        if not 0 < options.level_seconds <= MAX_LEVEL_SECONDS:
            return f"a level lasts above 0 and at most {MAX_LEVEL_SECONDS:g} s"
        return None
    if not 0 < options.seconds <= MAX_SECONDS:
        return f"seconds must be from 1 to {MAX_SECONDS}"
    peak = max(corner.multiplier for corner in parse_pace(options.shape).corners)
    if not 0 < options.rate * peak <= MAX_CALLS_PER_SECOND:
        return f"{options.rate * peak:g} calls/s must be above 0, at most {MAX_CALLS_PER_SECOND:g}"
    return None


async def _run(options: argparse.Namespace) -> int:
    caller = Caller(
        parse_target(options.target).address,
        options.method,
        bytes.fromhex(options.request_hex),
        options.deadline_seconds,
    )
    try:
        await caller.ready(options.connect_seconds)
        return await (run_open if options.model == "open" else run_levels)(caller, options)
    finally:
        await caller.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one load; 64 when it may not be run, 1 when there is nobody to call."""
    options = make_parser().parse_args(arguments)
    try:
        if (wrong := problems(options)) is not None:
            print(f"unary: {wrong}", file=sys.stderr)
            return EX_USAGE
        assert_private(parse_target(options.target))
        return asyncio.run(_run(options))
    except (TargetError, ShapeError) as error:
        print(f"unary: {error}", file=sys.stderr)
        return EX_USAGE
    except TimeoutError:
        print(f"unary: nobody answers at {options.target}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
