"""The edge reader against HTTP servers that answer well, badly, late, or not at all."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest
from aiohttp import web

from eventually import eventually
from hailstorm_operator.edge import TIMEOUT_SECONDS, EdgeReader, open_session
from hailstorm_operator.inventory import EdgePod

POD = EdgePod("edge-0", "127.0.0.1", ready=True)
Answer = Callable[[web.Request], Awaitable[web.Response]]
Serve = Callable[[Answer], Awaitable[int]]


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with open_session() as opened:
        yield opened


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    runners = []

    async def start(answer: Answer) -> int:
        application = web.Application()
        application.router.add_get("/stats", answer)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return int(runner.addresses[0][1])

    yield start
    for runner in runners:
        await runner.cleanup()


async def read(session: aiohttp.ClientSession, port: int) -> EdgeReader:
    reader = EdgeReader(session, "dispatch", port)
    await reader.poll([POD])
    return reader


async def test_gauge_is_asked_for_by_name(session: aiohttp.ClientSession, serve: Serve) -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.query["filter"])
        return web.Response(text="cluster.dispatch.upstream_rq_active: 9\n")

    reader = await read(session, await serve(answer))
    assert reader.samples["127.0.0.1"].value == 9
    assert asked == [r"^cluster\.dispatch\.upstream_rq_active$"]


@pytest.mark.parametrize("status", [404, 500, 503])
async def test_error_answer_is_no_sample(
    session: aiohttp.ClientSession, serve: Serve, status: int
) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status)

    reader = await read(session, await serve(answer))
    assert not reader.samples
    assert str(status) in reader.errors["127.0.0.1"]


async def test_slow_answer_counts_when_it_comes_and_is_asked_for_once(
    session: aiohttp.ClientSession, serve: Serve
) -> None:
    release, asked = asyncio.Event(), []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request)
        await release.wait()
        return web.Response(text="cluster.dispatch.upstream_rq_active: 9\n")

    reader = await read(session, await serve(answer))
    assert not reader.samples
    await reader.poll([POD])
    assert len(asked) == 1
    release.set()
    await eventually(lambda: reader.samples, deadline=2)


async def test_answer_that_never_comes_is_an_error(
    session: aiohttp.ClientSession, serve: Serve
) -> None:
    async def answer(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError("never released")

    reader = await read(session, await serve(answer))
    await eventually(lambda: reader.errors, deadline=TIMEOUT_SECONDS + 2)
    assert not reader.samples
    await reader.close()


async def test_refused_connection_is_no_sample(
    session: aiohttp.ClientSession, unused_tcp_port: int
) -> None:
    reader = await read(session, unused_tcp_port)
    assert not reader.samples
    assert "127.0.0.1" in reader.errors


async def test_failed_question_keeps_the_last_answer(
    session: aiohttp.ClientSession, serve: Serve
) -> None:
    answers = iter([web.Response(text="cluster.dispatch.upstream_rq_active: 9\n")])

    async def answer(_: web.Request) -> web.Response:
        return next(answers, None) or web.Response(status=503)

    reader = await read(session, await serve(answer))
    await reader.poll([POD])
    assert reader.samples["127.0.0.1"].value == 9
    assert reader.errors


async def test_pod_that_left_is_forgotten(session: aiohttp.ClientSession, serve: Serve) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="cluster.dispatch.upstream_rq_active: 9\n")

    reader = await read(session, await serve(answer))
    await reader.poll([])
    assert not reader.samples
