"""
Shoots at one pod three ways, from a pod in the cluster; one JSON line a call.

    direct   at the pod's own address
    edge     through the edge, whose answer names the pod that it came from
    service  through a ClusterIP, a new connection for each call, since a
             connection that exists stays where it is

Calls go out when they are due, whatever became of the others. Behind the
ClusterIP nobody names the pod; there the health name `lb` is asked, which only
a server that drains answers with NOT_SERVING.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Callable
from typing import Any, Final

import grpc

HEALTH: Final = "/grpc.health.v1.Health/Check"
# HealthCheckRequest{service: "lb"}: field 1, two bytes.
ASK_LB: Final = b"\x0a\x02lb"
# HealthCheckResponse{status: NOT_SERVING}: field 1, 2.
NOT_SERVING: Final = b"\x08\x02"
UPSTREAM_HEADER: Final = "x-hailstorm-upstream"
# An empty message is refused by every service, without touching a store; who
# refuses it has been reached.
ANSWERS: Final = frozenset({"OK", "INVALID_ARGUMENT", "NOT_FOUND"})
DEADLINE_SECONDS: Final = 3.0
RATE: Final = 30.0
READY: Final = "ready"


async def call(
    way: str, target: str, method: str, body: bytes, channel: Any = None
) -> dict[str, Any]:
    """One call: {way, at, ms, code, pod, not_serving}; `pod` is what the edge names."""
    own = channel or grpc.aio.insecure_channel(
        target, options=[("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
    )
    at = time.time()
    rpc = own.unary_unary(method, request_serializer=_same, response_deserializer=_same)(
        body, timeout=DEADLINE_SECONDS
    )
    answer, code = b"", "OK"
    try:
        answer = await rpc
    except grpc.aio.AioRpcError as error:
        code = error.code().name
    found = {
        "way": way,
        "at": at,
        "ms": round((time.time() - at) * 1000, 1),
        "code": code,
        "pod": "",
        "not_serving": answer == NOT_SERVING,
    }
    if way == "edge":
        found["pod"] = await _upstream(rpc)
    if channel is None:
        await own.close(None)
    return found


def _same(message: bytes) -> bytes:
    return message


async def _upstream(rpc: Any) -> str:
    for metadata in (await rpc.initial_metadata(), await rpc.trailing_metadata()):
        for key, value in metadata or ():
            if key == UPSTREAM_HEADER and ":" in str(value):
                return str(value)
    return ""


async def shoot(
    ways: dict[str, Callable[[], Any]], seconds: float, rate: float, tell: Callable[[str], None]
) -> None:
    """Each way at `rate` a second, for so long; tells every call, and first that it begins."""
    tasks: set[asyncio.Task[None]] = set()

    async def one(make: Callable[[], Any]) -> None:
        tell(json.dumps(await make()))

    for make in ways.values():
        # The first of each way opens connections, and is not about the pod.
        await make()
    tell(READY)
    began = time.monotonic()
    for number in range(round(seconds * rate)):
        await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
        for make in ways.values():
            task = asyncio.create_task(one(make))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--direct", required=True, help="host:port of the pod")
    parser.add_argument("--edge", required=True, help="target of the edge")
    parser.add_argument("--service", required=True, help="host:port of the ClusterIP")
    parser.add_argument("--method", required=True, help="what to call through the edge")
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--rate", type=float, default=RATE, help="calls a second and way (30)")
    arguments = parser.parse_args()

    async def go() -> None:
        # Every Envoy learns of a pod's end by itself, so all of them are called.
        edge = grpc.aio.insecure_channel(
            arguments.edge,
            options=[("grpc.service_config", '{"loadBalancingConfig":[{"round_robin":{}}]}')],
        )
        direct = grpc.aio.insecure_channel(arguments.direct)
        await shoot(
            {
                "direct": lambda: call("direct", "", HEALTH, ASK_LB, direct),
                "edge": lambda: call("edge", "", arguments.method, b"", edge),
                "service": lambda: call("service", arguments.service, HEALTH, ASK_LB),
            },
            arguments.seconds,
            arguments.rate,
            lambda line: print(line, flush=True),
        )

    asyncio.run(go())


if __name__ == "__main__":
    main()
