"""Child processes that the tests start beside busy gRPC threads."""

import asyncio
import os
import subprocess
from typing import Any

import grpc
import pytest

from hailstorm_platform.child_processes import as_user, unprivileged_user

# With a fork, about every second one of them was dead before it was /bin/true.
STARTS = 50


async def answer(request: bytes, _: Any) -> bytes:
    return request


def exit_code() -> int:
    """Of a child made as the stores are: with Popen, in the thread of the event loop."""
    with subprocess.Popen(as_user(unprivileged_user(), "true")) as child:
        return child.wait()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
async def test_child_of_another_user_starts_beside_busy_grpc_threads() -> None:
    server = grpc.aio.server()
    echoes = {"Echo": grpc.unary_unary_rpc_method_handler(answer)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("echo", echoes),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    codes = []
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        echo = channel.unary_unary("/echo/Echo", bytes, bytes)

        async def call_on() -> None:
            while True:
                await echo(b"?")

        calling = [asyncio.create_task(call_on()) for _ in range(50)]
        for _ in range(STARTS):
            codes.append(exit_code())
            await asyncio.sleep(0.005)
        for task in calling:
            task.cancel()
        await asyncio.gather(*calling, return_exceptions=True)
    await server.stop(None)
    assert codes == [0] * STARTS
