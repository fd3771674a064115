"""
What a fleet of ServiceScalers talks to: two Envoys and an API server, as one process.

A process of its own, so that its CPU is not the operator's. It listens on 127.0.0.1
and 127.0.0.2 (one for each Envoy), prints its port, and ends with its stdin. It keeps
the moment at which it first gave away a figure, and the one at which a count of
replicas came in: what lies between is the operator's.

    GET  /stats?filter=…              an Envoy's answer for one cluster
    *    /apis/…                      the API server: takes everything
    GET  /set?cluster=…&value=…       calls in flight of a cluster from now on
    GET  /took?cluster=…              {"answered": …, "written": …}, epoch seconds or null
    GET  /counts                      {"stats": …, "writes": …}
"""

import asyncio
import json
import re
import sys
import time
from typing import Any, Final

from aiohttp import web

CLUSTER: Final = re.compile(r"^\^cluster\\\.([a-z0-9-]+)\\\.")
SCALE: Final = re.compile(r"/deployments/([a-z0-9-]+)/scale$")


class Fleet:
    """Calls in flight by cluster, and when what was asked or written."""

    def __init__(self) -> None:
        self._started = time.time()
        self._calls: dict[str, float] = {}
        self._answered: dict[str, float] = {}
        self._written: dict[str, float] = {}
        self._counts = {"stats": 0, "writes": 0}

    async def stats(self, request: web.Request) -> web.Response:
        """As Envoy writes it, half of the calls on each of the two."""
        self._counts["stats"] += 1
        found = CLUSTER.match(request.query["filter"])
        assert found, request.query["filter"]
        name = found[1]
        calls = self._calls.get(name, 10.0)
        self._answered.setdefault(name, time.time())
        completed = int(400 * (time.time() - self._started))
        return web.Response(
            text=f"cluster.{name}.grpc.8: 0\n"
            f"cluster.{name}.upstream_rq_active: {calls / 2:g}\n"
            f"cluster.{name}.upstream_rq_completed: {completed}\n"
            f"cluster.{name}.upstream_rq_pending_overflow: 0\n"
            f"cluster.{name}.upstream_rq_time: P0(1,1) P50(24.5,25.1) P100(99,120)\n"
        )

    async def api(self, request: web.Request) -> web.Response:
        """Take a write and say nothing new."""
        await request.read()
        self._counts["writes"] += 1
        found = SCALE.search(request.path)
        if found:
            self._written.setdefault(found[1], time.time())
        return web.json_response({"items": []})

    async def set(self, request: web.Request) -> web.Response:
        """Change the demand of one cluster."""
        name = request.query["cluster"]
        self._calls[name] = float(request.query["value"])
        self._answered.pop(name, None)
        self._written.pop(name, None)
        return web.Response()

    async def took(self, request: web.Request) -> web.Response:
        """When the new demand was told, and when the new count came."""
        name = request.query["cluster"]
        return _json({"answered": self._answered.get(name), "written": self._written.get(name)})

    async def counts(self, _: web.Request) -> web.Response:
        """How much was asked and written so far."""
        return _json(self._counts)


def _json(value: Any) -> web.Response:
    return web.Response(text=json.dumps(value), content_type="application/json")


async def serve() -> None:
    """Until stdin ends."""
    fleet = Fleet()
    application = web.Application()
    application.router.add_get("/stats", fleet.stats)
    application.router.add_get("/set", fleet.set)
    application.router.add_get("/took", fleet.took)
    application.router.add_get("/counts", fleet.counts)
    application.router.add_route("*", "/apis/{rest:.*}", fleet.api)
    application.router.add_route("*", "/api/{rest:.*}", fleet.api)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = int(runner.addresses[0][1])
    await web.TCPSite(runner, "127.0.0.2", port).start()
    print(port, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(serve())
