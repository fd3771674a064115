"""
/livez, /readyz and /metrics.

Liveness follows the pulse and nothing else. Nobody sends traffic here, but a roll
waits for readiness: it says that the first stamp came back, or that this process
stands by while another one leads. Standing by is what it is there for then, and
`helm upgrade --wait` must end.
"""

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from hailstorm_operator.leadership import Leadership
from hailstorm_operator.pulse import Pulse


def describe_readiness(pulse: Pulse, leadership: Leadership) -> tuple[bool, str]:
    """Whether this process does what it is there for, and what that is, for people."""
    if leadership.problem:
        return False, f"cannot ask who leads: {leadership.problem}"
    if leadership.waits_for:
        return True, f"standing by: {leadership.waits_for} leads"
    if not pulse.is_ready:
        return False, "no watch event has arrived yet"
    return True, "ok" if leadership.may_write() else "ok, but does not write: the Lease is stale"


async def serve_http(port: int, pulse: Pulse, leadership: Leadership) -> web.AppRunner:
    """Serve until the returned runner is cleaned up."""

    async def livez(_: web.Request) -> web.Response:
        wrong = pulse.verdict()
        return web.Response(text=wrong or "ok", status=503 if wrong else 200)

    async def readyz(_: web.Request) -> web.Response:
        ready, text = describe_readiness(pulse, leadership)
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
