"""
A small open-model load on one address: `python -m hailstorm_drills.naive_load`.

Poisson arrivals, seeded; each call starts when it is due, whatever became of the
others. Once a second it prints what it has counted, as one line of JSON; the last
line is the result. Runs until it is told to end.

The channels are as a tutorial has them, without retries; several, since each is
one connection and so one pod, as each caller behind a ClusterIP is.
"""

import argparse
import asyncio
import json
import random
import signal
import time
from collections import Counter
from typing import Any, Final

import grpc

# Answered by every gRPC server of ours, without a store. An empty message asks for
# the whole server, and needs no stub.
METHOD: Final = "/grpc.health.v1.Health/Check"
CHANNELS: Final = 8
# As the drill's own reads.
DEADLINE_SECONDS: Final = 3.0
# The first answer; until then the server may not be there yet.
START_SECONDS: Final = 180.0
TELL_SECONDS: Final = 1.0
# As much as the drill's own generator may lag.
LATE_SECONDS: Final = 0.05


class Counts:
    """What became of the calls."""

    def __init__(self) -> None:
        self.codes: Counter[str] = Counter()
        # Started later than 50 ms after they were due.
        self.late = 0

    def as_json(self) -> dict[str, Any]:
        """{offered, ok, failed, unknown, codes, late}; calls under way are in none of them."""
        ended = sum(self.codes.values())
        ok, unknown = self.codes["OK"], self.codes["DEADLINE_EXCEEDED"]
        return {
            "offered": ended,
            "ok": ok,
            "failed": ended - ok - unknown,
            "unknown": unknown,
            "codes": dict(self.codes),
            "late": self.late,
        }


async def call(method: Any, counts: Counts | None) -> str:
    """One call; its code's name, counted unless it is only a look."""
    try:
        await method(b"", timeout=DEADLINE_SECONDS)
        code = "OK"
    except grpc.aio.AioRpcError as error:
        code = error.code().name
    if counts is not None:
        counts.codes[code] += 1
    return code


async def run(target: str, rate: float, seed: int, stop: asyncio.Event, tell: Any = print) -> None:
    """Call `target` at `rate` a second until `stop`."""
    channels = [
        grpc.aio.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)])
        for _ in range(CHANNELS)
    ]
    methods: list[Any] = [
        channel.unary_unary(METHOD, request_serializer=_same, response_deserializer=_same)
        for channel in channels
    ]
    counts, rng = Counts(), random.Random(seed)
    tasks: set[asyncio.Task[str]] = set()
    began = time.monotonic()
    while not stop.is_set() and time.monotonic() - began < START_SECONDS:
        # Every channel must have had an answer, or its first calls would fail for
        # another reason than a deploy.
        if all([await call(method, None) == "OK" for method in methods]):
            break
        await asyncio.sleep(0.5)
    due = told = time.monotonic()
    while not stop.is_set():
        due += rng.expovariate(rate)
        wait = due - time.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)
        counts.late += time.monotonic() - due > LATE_SECONDS
        task = asyncio.create_task(call(rng.choice(methods), counts))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        if time.monotonic() - told >= TELL_SECONDS:
            told = time.monotonic()
            tell(json.dumps(counts.as_json()), flush=True)
    await asyncio.gather(*tasks)
    tell(json.dumps(counts.as_json()), flush=True)
    for channel in channels:
        await channel.close(None)


def _same(message: bytes) -> bytes:
    return message


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("target", help="host:port")
    parser.add_argument("--rate", type=float, default=40.0, help="calls a second (40)")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()

    async def go() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        await run(arguments.target, arguments.rate, arguments.seed, stop)

    asyncio.run(go())


if __name__ == "__main__":
    main()
