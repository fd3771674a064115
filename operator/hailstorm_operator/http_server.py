"""
/livez, /readyz and /metrics.

Liveness follows the pulse and nothing else; readiness says only that the first
stamp came back, because nobody sends traffic here and a roll waits for it.
"""

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from hailstorm_operator.pulse import Pulse


async def serve_http(port: int, pulse: Pulse) -> web.AppRunner:
    """Serve until the returned runner is cleaned up."""

    async def livez(_: web.Request) -> web.Response:
        wrong = pulse.verdict()
        return web.Response(text=wrong or "ok", status=503 if wrong else 200)

    async def readyz(_: web.Request) -> web.Response:
        ready = pulse.is_ready
        text = "ok" if ready else "no watch event has arrived yet"
        return web.Response(text=text, status=200 if ready else 503)

    async def show_metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    application = web.Application()
    application.add_routes(
        [web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", show_metrics)]
    )
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, port=port).start()
    return runner
