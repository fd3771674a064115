"""
The read API, /livez, /readyz and /metrics.

Everything here reads; nobody changes what was recorded. Liveness says that the
event loop turns, by answering at all; readiness that the gRPC port is open.
"""

import time
from collections.abc import Callable
from typing import Any

from aiohttp import web
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from hailstorm_operator.recorder import answers
from hailstorm_operator.recorder.lines import ATTEMPTS, CALLS
from hailstorm_operator.recorder.store import Store

Json = dict[str, Any]


class Figures(Collector):
    """The recorder's own figures, read when somebody asks."""

    def __init__(self, store: Store, journal_failures: Callable[[], int]) -> None:
        self._store = store
        self._journal_failures = journal_failures

    def collect(self) -> list[Metric]:
        """Every figure once."""
        store, now = self._store, time.time()
        counts, envoys = store.counts, store.presence.envoys()
        prefix = "hailstorm_recorder_"
        return [
            CounterMetricFamily(prefix + "messages", "Messages of Envoys.", counts.messages),
            CounterMetricFamily(prefix + "lines", "Lines of access logs.", counts.lines),
            CounterMetricFamily(
                prefix + "misdated", "Lines dated by a wrong clock.", counts.misdated
            ),
            CounterMetricFamily(
                prefix + "unknown_logs", "Messages of logs with other names.", counts.unknown_logs
            ),
            CounterMetricFamily(
                prefix + "folded_keys", "Counts without pod and method.", store.tallies.folded
            ),
            CounterMetricFamily(
                prefix + "journal_failures",
                "Writes of the journal that failed.",
                self._journal_failures(),
            ),
            GaugeMetricFamily(prefix + "envoys", "Envoys that are known.", len(envoys)),
            GaugeMetricFamily(
                prefix + "envoys_in_gap",
                "Envoys that are not being heard.",
                sum(one.gap is not None for one in envoys),
            ),
            GaugeMetricFamily(
                prefix + "kept_seconds", "How far back the record goes.", now - store.since
            ),
        ]


async def serve_http(
    host: str, port: int, store: Store, journal_failures: Callable[[], int]
) -> tuple[web.AppRunner, int]:
    """Serve until the returned runner is cleaned up. Returns the port, too."""
    registry = CollectorRegistry()
    registry.register(Figures(store, journal_failures))
    ProcessCollector(registry=registry)

    def stretch(request: web.Request) -> tuple[int, int]:
        return answers.parse_stretch(request.query, time.time(), store.keep_seconds)

    def narrowed(request: web.Request) -> Json:
        kind = request.query.get("kind") or None
        if kind not in (None, CALLS, ATTEMPTS):
            raise answers.QuestionError(f"`kind` is {kind!r}; write {CALLS} or {ATTEMPTS}")
        return {"kind": kind, "cluster": request.query.get("cluster")}

    async def tallies(request: web.Request) -> web.Response:
        by = request.query.get("by", "")
        if by not in ("", "second"):
            raise answers.QuestionError(f"`by` is {by!r}; write second or leave it out")
        return web.json_response(
            answers.tallies(store, *stretch(request), **narrowed(request), by_second=by == "second")
        )

    async def failures(request: web.Request) -> web.Response:
        return web.json_response(answers.failures(store, *stretch(request), **narrowed(request)))

    async def gaps(request: web.Request) -> web.Response:
        return web.json_response(answers.gaps(store, *stretch(request)))

    async def alive(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def show_metrics(_: web.Request) -> web.Response:
        body = generate_latest(registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    application = web.Application(middlewares=[_refuse_nonsense])
    application.add_routes(
        [
            web.get("/tallies", tallies),
            web.get("/failures", failures),
            web.get("/gaps", gaps),
            web.get("/livez", alive),
            web.get("/readyz", alive),
            web.get("/metrics", show_metrics),
        ]
    )
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner, int(runner.addresses[0][1])


@web.middleware
async def _refuse_nonsense(request: web.Request, handler: Any) -> Any:
    try:
        return await handler(request)
    except answers.QuestionError as error:
        return web.json_response({"error": str(error)}, status=400)
