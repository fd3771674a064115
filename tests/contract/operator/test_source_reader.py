"""The readers of signals against HTTP servers that answer well, badly, late, or not at all."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from eventually import eventually
from hailstorm_operator import api
from hailstorm_operator.cluster import ClusterError
from hailstorm_operator.edge_stats import EdgeStats, stats_filter
from hailstorm_operator.inventory import EdgePod, Inventory
from hailstorm_operator.signal_reader import SignalReader
from hailstorm_operator.signals import MAX_AGE_SECONDS
from hailstorm_operator.sources import (
    TIMEOUT_SECONDS,
    SourceReader,
    open_session,
    question_of,
)
from hailstorm_operator.specs import EdgeSignal, PodsSignal, parse_scaler_spec
from unit.operator.objects import pod

POD = "127.0.0.1"
# A reader whose sources are known asks no API server.
NO_CLUSTER: Any = None
Answer = Callable[[web.Request], Awaitable[web.Response]]
# An answer, and the addresses it is given on.
Serve = Callable[..., Awaitable[int]]


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with open_session() as opened:
        yield opened


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    runners = []

    async def start(answer: Answer, first: str = POD, *more: str) -> int:
        application = web.Application()
        application.router.add_get("/stats", answer)
        application.router.add_get("/metrics", answer)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, first, 0).start()
        port = int(runner.addresses[0][1])
        for address in more:
            await web.TCPSite(runner, address, port).start()
        return port

    yield start
    for runner in runners:
        await runner.cleanup()


async def read(session: aiohttp.ClientSession, port: int) -> SourceReader:
    reader = SourceReader(session, question_of(EdgeSignal("dispatch", "edge", None, port)))
    await reader.poll([POD])
    return reader


async def test_gauge_is_asked_for_by_name(session: aiohttp.ClientSession, serve: Serve) -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.query["filter"])
        return web.Response(text="cluster.dispatch.upstream_rq_active: 9\n")

    reader = await read(session, await serve(answer))
    assert reader.samples["127.0.0.1"].value == 9
    assert reader.samples["127.0.0.1"].stats == EdgeStats(9.0)
    assert asked == [stats_filter("dispatch")]


async def test_pods_are_asked_for_their_metrics(
    session: aiohttp.ClientSession, serve: Serve
) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="# TYPE calls gauge\ncalls 4\n")

    signal = PodsSignal("calls", await serve(answer))
    reader = SourceReader(session, question_of(signal))
    await reader.poll([POD])
    assert reader.samples["127.0.0.1"].value == 4


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


SPEC = {
    "targetRef": {"name": "app"},
    "minReplicas": 1,
    "maxReplicas": 9,
    "targetInFlight": 8,
}


def target_pod(name: str, address: str, *, ready: bool = True) -> dict[str, Any]:
    condition = {"type": "Ready", "status": "True" if ready else "False"}
    body = pod(name, status={"podIP": address, "conditions": [condition]})
    body["metadata"]["namespace"] = "place"
    return body


async def test_scaler_reads_the_pods_of_its_target_and_names_who_is_silent(
    session: aiohttp.ClientSession, serve: Serve
) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="calls 4\n")

    signal = {"pods": {"metric": "calls", "port": await serve(answer)}}
    inventory = Inventory()
    for body in (
        # Nobody listens there: 127.0.0.0/8 is this machine, the server only on .1.
        target_pod("app-h1-2", "127.0.0.2"),
        target_pod("app-h1-1", "127.0.0.1"),
        target_pod("app-h1-3", "127.0.0.3", ready=False),
        target_pod("app-h1-4", "", ready=False),
    ):
        inventory.show_pod(body)
    spec = parse_scaler_spec({**SPEC, "signal": signal})
    reader = SignalReader("place", spec, NO_CLUSTER, inventory, session)
    reading = reader.read(await reader.ask(), time.time())
    await reader.close()
    assert (reading.kind, reading.state) == ("pods", "partial")
    assert reading.answered == {"app-h1-1": 4.0}
    assert len(reading.missing) == 1
    assert reading.missing[0].startswith("app-h1-2 (")


def spare_pod(name: str, address: str) -> dict[str, Any]:
    body = target_pod(name, address)
    body["metadata"]["labels"][api.SPARE_OF_LABEL] = "app"
    body["metadata"]["ownerReferences"] = [{"kind": "ReplicaSet", "name": "app-spare-h1"}]
    return body


async def test_spares_that_wait_neither_thin_the_estimate_nor_have_to_answer(
    session: aiohttp.ClientSession, serve: Serve
) -> None:
    answers = {"127.0.0.1": "calls 8\n", "127.0.0.2": "calls 0\n"}

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=answers[request.host.partition(":")[0]])

    port = await serve(answer, *answers)
    signal = {"pods": {"metric": "calls", "port": port}}
    inventory = Inventory()
    for body in (
        target_pod("app-h1-1", "127.0.0.1"),
        spare_pod("app-spare-h1-1", "127.0.0.2"),
        # Nobody listens on these.
        spare_pod("app-spare-h1-2", "127.0.0.3"),
        target_pod("app-h1-2", "127.0.0.4"),
    ):
        inventory.show_pod(body)
    spec = parse_scaler_spec({**SPEC, "signal": signal, "spares": {"count": 2}})
    reader = SignalReader("place", spec, NO_CLUSTER, inventory, session)
    pods, idle = await reader.ask(), {"app-spare-h1-1", "app-spare-h1-2"}
    reading = reader.read(pods, time.time(), idle)
    assert (reading.state, reading.in_flight) == ("partial", 16.0)
    assert [one.split(" ")[0] for one in reading.missing] == ["app-h1-2"]
    # In service the silent one is missed like any other.
    reading = reader.read(pods, time.time(), {"app-spare-h1-1"})
    assert (reading.in_flight, len(reading.missing)) == (24.0, 2)
    inventory.show_pod(target_pod("app-h1-2", "127.0.0.4"), deleted=True)
    whole = reader.read(await reader.ask(), time.time(), idle)
    assert (whole.state, whole.missing) == ("fresh", ())
    await reader.close()


async def test_pod_that_falls_silent_with_its_readiness_is_missed(
    session: aiohttp.ClientSession, serve: Serve
) -> None:
    """Overloaded, a pod fails its probe and answers nobody; it once counted as idle then."""
    answers = iter(["calls 4\n"])

    async def answer(_: web.Request) -> web.Response:
        text = next(answers, None)
        return web.Response(status=503) if text is None else web.Response(text=text)

    signal = {"pods": {"metric": "calls", "port": await serve(answer)}}
    inventory = Inventory()
    reader = SignalReader(
        "place", parse_scaler_spec({**SPEC, "signal": signal}), NO_CLUSTER, inventory, session
    )
    busy = target_pod("app-h1-1", "127.0.0.1")
    inventory.show_pod(busy)
    # Nobody listens there: it has never answered, and may yet start.
    inventory.show_pod(target_pod("app-h1-2", "127.0.0.2", ready=False))
    await reader.ask()
    inventory.show_pod(target_pod("app-h1-1", "127.0.0.1", ready=False))
    pods, later = await reader.ask(), time.time() + MAX_AGE_SECONDS + 1
    (missing,) = reader.read(pods, later).missing
    assert missing.startswith("app-h1-1 (")
    busy["metadata"]["deletionTimestamp"] = "2026-11-27T00:00:00Z"
    inventory.show_pod(busy)
    assert reader.read(await reader.ask(), later).missing == ()
    await reader.close()


async def test_scaler_adds_what_the_edge_refused(
    session: aiohttp.ClientSession, serve: Serve
) -> None:
    refused = 0

    async def answer(_: web.Request) -> web.Response:
        nonlocal refused
        refused += 30
        return web.Response(
            text=f"""cluster.app.upstream_rq_active: 6
cluster.app.upstream_rq_completed: {refused + 60}
cluster.app.grpc.8: {refused}
cluster.app.upstream_rq_time: P50(20,20)
"""
        )

    signal = {"edge": {"cluster": "app", "service": "edge", "port": await serve(answer)}}
    inventory = Inventory()
    inventory.slices[("place", "edge")] = {"one": [EdgePod("edge-0", "127.0.0.1", ready=True)]}
    spec = parse_scaler_spec({**SPEC, "signal": signal})
    reader = SignalReader("place", spec, NO_CLUSTER, inventory, session)
    now = time.time()
    reader.read(await reader.ask(), now)
    reading = reader.read(await reader.ask(), now + 1.0)
    await reader.close()
    assert reading.shed_per_second == pytest.approx(30)
    assert (reading.in_flight, reading.kind) == (6.0, "edge")


async def test_silent_edge_names_the_envoy(
    session: aiohttp.ClientSession, unused_tcp_port: int
) -> None:
    signal = {"edge": {"cluster": "app", "service": "edge", "port": unused_tcp_port}}
    inventory = Inventory()
    inventory.slices[("place", "edge")] = {"one": [EdgePod("edge-0", "127.0.0.1", ready=True)]}
    spec = parse_scaler_spec({**SPEC, "signal": signal})
    reader = SignalReader("place", spec, NO_CLUSTER, inventory, session)
    reading = reader.read(await reader.ask(), time.time())
    await reader.close()
    assert (reading.state, reading.in_flight) == ("stale", None)
    assert reading.missing[0].startswith("edge-0 (")


async def test_sources_that_cannot_be_listed_are_no_signal_and_it_is_said(
    session: aiohttp.ClientSession,
) -> None:
    class Forbidding:
        async def list_endpoint_slices(self, *_: str) -> None:
            raise ClusterError("endpointslices is forbidden", 403)

    cluster: Any = Forbidding()
    inventory = Inventory()
    signal = {"edge": {"cluster": "app", "service": "edge", "port": 1}}
    spec = parse_scaler_spec({**SPEC, "signal": signal})
    reader = SignalReader("place", spec, cluster, inventory, session)
    reading = reader.read(await reader.ask(), time.time())
    assert (reading.state, reading.problem) == ("stale", "endpointslices is forbidden")
    inventory.slices[("place", "edge")] = {}
    assert reader.read(await reader.ask(), time.time()).problem == ""
    await reader.close()
