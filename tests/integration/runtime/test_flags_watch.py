"""A watch of the ConfigMap, over TLS, with an API server that misbehaves on demand."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from eventually import eventually
from hailstorm.runtime.clock import SystemClock
from hailstorm.runtime.flags import config_map
from hailstorm.runtime.flags.config_map import ConfigMapSource, Place
from hailstorm.runtime.flags.feed import Feed
from hailstorm.runtime.flags.live import LiveFlags
from integration.runtime.api_server import ApiServer, make_certificate

# What flags promise.
FLIP_SECONDS = 5


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("api-server")
    make_certificate(folder)
    (folder / "namespace").write_text("hailstorm")
    return folder


@pytest.fixture
def credentials(certificate: Path) -> Path:
    (certificate / "token").write_text("a-token\n")
    return certificate


@pytest.fixture
async def server(credentials: Path) -> AsyncIterator[ApiServer]:
    server = ApiServer(credentials)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
def flags() -> LiveFlags:
    return LiveFlags({"surge": bool}, CollectorRegistry())


@contextlib.asynccontextmanager
async def watching(server: ApiServer, flags: LiveFlags) -> AsyncIterator[None]:
    place = Place(server.address, "flags", server.credentials)
    source = ConfigMapSource(place, Feed(flags, CollectorRegistry()), SystemClock())
    task = asyncio.create_task(source.follow())
    try:
        yield
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        await asyncio.wait([task])


async def becomes(flags: LiveFlags, value: bool) -> None:
    await eventually(lambda: flags.boolean("surge", not value) is value, FLIP_SECONDS)


async def test_flip_is_heard(server: ApiServer, flags: LiveFlags) -> None:
    server.data = {"surge": "false"}
    async with watching(server, flags):
        await becomes(flags, False)
        server.put({"surge": "true"})
        await becomes(flags, True)
        server.put({})
        await eventually(lambda: flags.get("surge") is None, FLIP_SECONDS)
    (head,) = server.requests
    assert head.startswith("GET /api/v1/namespaces/hailstorm/configmaps?watch=true&timeoutSeconds=")
    assert "&fieldSelector=metadata.name%3Dflags HTTP/1.1\r\n" in head
    assert "Authorization: Bearer a-token\r\n" in head


async def test_chunks_may_end_anywhere(server: ApiServer, flags: LiveFlags) -> None:
    server.chunk_bytes = 7
    rules = ",".join(f'{{"cell": "{i}", "value": false}}' for i in range(2000))
    server.data = {"surge": f'{{"value": true, "rules": [{rules}]}}'}
    async with watching(server, flags):
        await becomes(flags, True)
        assert flags.boolean("surge", True, cell="1999") is False


async def test_broken_watch_keeps_the_values_and_is_taken_up_with_a_new_token(
    server: ApiServer, flags: LiveFlags, caplog: pytest.LogCaptureFixture
) -> None:
    server.data = {"surge": "false"}
    async with watching(server, flags):
        await becomes(flags, False)
        await server.stop()
        await eventually(lambda: "ConnectionRefused" in caplog.text, 10)
        assert flags.boolean("surge", True) is False
        # The kubelet replaces tokens while the process runs.
        (server.credentials / "token").write_text("another-token")
        server.data = {"surge": "true"}
        await server.start()
        await becomes(flags, True)
    assert "Bearer another-token\r\n" in server.requests[-1]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("403 Forbidden", "needs a Role that may watch configmaps/flags"),
        ("401 Unauthorized", "is not valid"),
        ("503 Service Unavailable", "answers 503"),
    ],
)
async def test_refusal_says_the_cure_and_heals(
    server: ApiServer,
    flags: LiveFlags,
    caplog: pytest.LogCaptureFixture,
    status: str,
    words: str,
) -> None:
    server.status = status
    server.data = {"surge": "false"}
    async with watching(server, flags):
        await eventually(lambda: words in caplog.text, 10)
        server.status = "200 OK"
        await becomes(flags, False)


async def test_deleted_config_map_keeps_its_values(
    server: ApiServer, flags: LiveFlags, caplog: pytest.LogCaptureFixture
) -> None:
    server.data = {"surge": "false"}
    async with watching(server, flags):
        await becomes(flags, False)
        server.put(None)
        await eventually(lambda: "was deleted" in caplog.text, 10)
        assert flags.boolean("surge", True) is False
        # Nor does a new watch of nothing say anything else.
        server.end_watches()
        await eventually(lambda: server.watchers, 10)
        assert flags.boolean("surge", True) is False
        server.put({"surge": "true"})
        await becomes(flags, True)


async def test_missing_config_map_is_waited_for(server: ApiServer, flags: LiveFlags) -> None:
    server.data = None
    async with watching(server, flags):
        await eventually(lambda: server.watchers, 10)
        server.put({"surge": "false"})
        await becomes(flags, False)


async def test_watch_whose_time_is_over_is_renewed(server: ApiServer, flags: LiveFlags) -> None:
    server.data = {"surge": "true"}
    async with watching(server, flags):
        await becomes(flags, True)
        server.end_watches()
        server.data = {"surge": "false"}
        await becomes(flags, False)


async def test_events_that_mean_nothing_keep_the_values(
    server: ApiServer, flags: LiveFlags, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    server.data = {"surge": "false"}
    async with watching(server, flags):
        for kind, subject, words in (
            ("ERROR", {"code": 410, "message": "too old resource version"}, "too old resource"),
            ("MODIFIED", {"data": ["no", "mapping"]}, "an event that is none"),
        ):
            await eventually(lambda: server.watchers, 10)
            await becomes(flags, False)
            server.send(kind, subject)
            await eventually(lambda words=words: words in caplog.text, 10)
            assert flags.boolean("surge", True) is False
        await eventually(lambda: server.watchers, 10)
        server.put({"surge": "true"})
        await becomes(flags, True)


async def test_server_that_says_nothing_is_left(
    server: ApiServer, flags: LiveFlags, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config_map, "ANSWER_SECONDS", 0.3)
    server.is_stuck = True
    server.data = {"surge": "false"}
    async with watching(server, flags):
        await eventually(lambda: len(server.requests) > 1, 10)
        server.is_stuck = False
        await becomes(flags, False)


async def test_watch_that_dies_in_silence_is_left_when_it_is_due(
    server: ApiServer, flags: LiveFlags, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config_map, "WATCH_SECONDS", 1)
    monkeypatch.setattr(config_map, "WATCH_SPREAD_SECONDS", 0)
    monkeypatch.setattr(config_map, "OVERDUE_SECONDS", 0.2)
    server.data = {"surge": "true"}
    async with watching(server, flags):
        await becomes(flags, True)
        # The watcher is not told, as over a connection that leads nowhere any more.
        server.data = {"surge": "false"}
        await becomes(flags, False)


async def test_token_is_not_given_to_somebody_else(
    server: ApiServer, flags: LiveFlags, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever answers at the address without a certificate of the cluster's CA."""
    make_certificate(tmp_path)
    for name in ("token", "namespace"):
        (tmp_path / name).write_text("x")
    place = Place(server.address, "flags", tmp_path)
    source = ConfigMapSource(place, Feed(flags, CollectorRegistry()), SystemClock())
    task = asyncio.create_task(source.follow())
    await eventually(lambda: "CERTIFICATE_VERIFY_FAILED" in caplog.text, 10)
    task.cancel()
    await asyncio.wait([task])
    assert server.requests == []
