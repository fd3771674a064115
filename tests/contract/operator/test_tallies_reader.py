"""The tallies' reader against HTTP servers that answer well, badly, late, or not at all."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from hailstorm_operator.recorder.http_server import serve_http
from hailstorm_operator.recorder.store import Store
from hailstorm_operator.recorder.tallies import Key
from hailstorm_operator.sources import open_session
from hailstorm_operator.tallies import PIECE_SECONDS, TIMEOUT_SECONDS, TalliesReader, Window

Answer = Callable[[web.Request], Awaitable[web.Response]]
Ask = Callable[..., Awaitable[Window]]

QUIET: dict[str, Any] = {"since": "2026-11-25T22:00:00Z", "gaps": [], "seconds": []}
# 2026-11-25T22:30:00Z.
START = 1_795_645_800


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with open_session() as opened:
        yield opened


@pytest.fixture
async def ask(session: aiohttp.ClientSession) -> AsyncIterator[Ask]:
    runners = []

    async def start(answer: Answer, seconds: int = 2) -> Window:
        application = web.Application()
        application.router.add_get("/tallies", answer)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        reader = TalliesReader(session, f"http://127.0.0.1:{runner.addresses[0][1]}/")
        return await reader.read("dispatch", START, START + seconds, {"10.0.0.9"})

    yield start
    for runner in runners:
        await runner.cleanup()


async def test_attempts_of_one_service_are_asked_for_by_second(ask: Ask) -> None:
    asked: list[dict[str, str]] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(dict(request.query))
        return web.json_response(QUIET)

    window = await ask(answer)
    assert asked == [
        {
            "kind": "attempts",
            "cluster": "dispatch",
            "by": "second",
            "from": str(START),
            "to": str(START + 2),
        }
    ]
    assert (window.no_data, [one.gap for one in window.seconds.values()]) == ("", [False, False])


async def _refuses(_: web.Request) -> web.Response:
    return web.json_response({"error": "`from` makes no sense"}, status=400)


async def _babbles(_: web.Request) -> web.Response:
    return web.Response(text="<html>")


async def _forgets(_: web.Request) -> web.Response:
    return web.json_response({"seconds": []})


async def _sleeps(_: web.Request) -> web.Response:
    await asyncio.sleep(TIMEOUT_SECONDS + 1)
    return web.json_response(QUIET)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (_refuses, "answered 400"),
        (_babbles, "makes no sense"),
        (_forgets, "makes no sense"),
        (_sleeps, "does not answer"),
    ],
)
async def test_no_answer_is_no_data_and_never_a_quiet_second(
    ask: Ask, answer: Answer, reason: str
) -> None:
    window = await ask(answer)
    assert reason in window.no_data
    assert window.seconds == {}


@pytest.mark.parametrize("url", ["", "http://127.0.0.1:1"])
async def test_recorder_that_is_not_there_is_no_data(
    session: aiohttp.ClientSession, url: str
) -> None:
    window = await TalliesReader(session, url).read("dispatch", START, START + 2, set())
    assert window.no_data
    assert window.seconds == {}


async def test_longer_than_the_recorder_gives_at_once_is_asked_in_pieces(
    session: aiohttp.ClientSession,
) -> None:
    """Twenty minutes at once: what an operator asks that was restarted late in a release."""
    store = Store(1800, START - 60)
    for at in range(START, START + 1200):
        store.tallies.add(
            Key("attempts", "public", "app", "10.0.0.9:1", "S/Get", 0, "", "ok", False, False),
            at,
            3,
        )
    runner, port = await serve_http("127.0.0.1", 0, store, lambda: 0)
    reader = TalliesReader(session, f"http://127.0.0.1:{port}")
    window = await reader.read("app", START, START + 1200, {"10.0.0.9"})
    await runner.cleanup()
    assert window.no_data == ""
    assert list(window.seconds) == list(range(START, START + 1200))
    assert [one.canary.calls for one in window.seconds.values()] == [1] * 1200


async def test_piece_that_fails_ends_it_and_what_was_told_stands(ask: Ask) -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.query["from"])
        if len(asked) > 1:
            return web.json_response({"error": "no"}, status=500)
        return web.json_response(QUIET)

    window = await ask(answer, 3 * PIECE_SECONDS)
    assert asked == [str(START), str(START + PIECE_SECONDS)]
    assert list(window.seconds) == list(range(START, START + PIECE_SECONDS))
    assert "answered 500" in window.no_data
