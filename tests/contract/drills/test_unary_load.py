"""The load of comparisons and calibrations against the comparison's own target, in one process."""

import asyncio
import contextlib
import json

import grpc

from hailstorm_drills.calibration.__main__ import read_levels
from hailstorm_drills.comparison import recording
from hailstorm_drills.comparison.target import HEALTH_METHOD, METHOD, Handlers
from hailstorm_loadtests import unary


@contextlib.asynccontextmanager
async def serving():
    handlers = Handlers(cost_ms=0.5, wait_ms=5.0)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((handlers,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield port, handlers
    finally:
        await server.stop(1)


async def run(words, port, method=METHOD):
    options = unary.make_parser().parse_args(
        [*words, "--target", f"127.0.0.1:{port}", "--method", method]
    )
    assert unary.problems(options) is None
    return await unary._run(options)


async def test_open_load_tells_of_every_call(capsys):
    async with serving() as (port, _):
        words = ["open", "--rate", "20", "--shape", "step:1:3", "--seconds", "2", "--seed", "7"]
        assert await run(words, port) == 0
    seen = recording.read_load(capsys.readouterr().out)
    assert seen.rates == (20.0, 60.0)
    assert len(seen.samples) > 40
    assert {sample.code for sample in seen.samples} == {"OK"}
    # From the moment a call was due, so never less than the handler waits.
    assert min(sample.latency_ms for sample in seen.samples) >= 5


async def test_levels_load_tells_of_each_level(capsys):
    async with serving() as (port, _):
        words = ["levels", "--levels", "1,2,4", "--level-seconds", "0.5"]
        assert await run(words, port) == 0
    levels = read_levels(capsys.readouterr().out)
    assert [level.concurrency for level in levels] == [1, 2, 4]
    assert all(level.calls > 0 and level.failed == 0 for level in levels)


async def test_levels_load_stops_at_its_limit_but_not_before_its_least(capsys):
    async with serving() as (port, _):
        words = ["levels", "--levels", "1,2,4", "--level-seconds", "0.3"]
        assert await run([*words, "--stop-p99-ms", "1", "--least-levels", "2"], port) == 0
    assert len(read_levels(capsys.readouterr().out)) == 2


async def test_load_counts_what_is_not_served(capsys):
    async with serving() as (port, _):
        words = ["open", "--rate", "20", "--seconds", "1", "--seed", "7"]
        assert await run(words, port, "/no.Such/Method") == 0
    seen = recording.read_load(capsys.readouterr().out)
    assert {sample.code for sample in seen.samples} == {"UNIMPLEMENTED"}


async def test_target_drains_by_its_health():
    async with serving() as (port, handlers), grpc.aio.insecure_channel(f"127.0.0.1:{port}") as ch:
        check = ch.unary_unary(HEALTH_METHOD, unary.raw, unary.raw)
        assert await check(b"") == b"\x08\x01"
        handlers.is_draining = True
        assert await check(b"") == b"\x08\x02"
        assert await ch.unary_unary(METHOD, unary.raw, unary.raw)(b"x") == b"x"


async def test_nobody_to_call_is_said(capsys):
    words = ["open", "--rate", "1", "--seconds", "1", "--seed", "1", "--connect-seconds", "0.2"]
    # A port that was just given back.
    async with serving() as (port, _):
        pass
    options = [*words, "--target", f"127.0.0.1:{port}", "--method", METHOD]
    code = await asyncio.to_thread(unary.main, options)
    assert code == 1
    assert json.dumps(port) in capsys.readouterr().err
