"""
Calls in flight on each pod, as the edge's Envoys count them.

Asked only when somebody has to go, since it is a line for each pod of each Envoy.
Envoy keeps these figures where a cluster has `track_cluster_stats.per_endpoint_stats`.
An Envoy that says nothing leaves the figures of all of them incomplete, and then
they are no ground to choose a pod by.
"""

import asyncio
import re
from collections.abc import Iterable, Mapping
from typing import Final

import aiohttp

from hailstorm_operator.inventory import EdgePod

# An answer in time is as good as the poll's own; a later one would hold up the scaler.
TIMEOUT_SECONDS: Final = 1.0


def pod_loads_filter(cluster: str) -> str:
    """The regular expression that makes /stats answer with a line for each endpoint."""
    escaped = cluster.replace("\\", "\\\\").replace(".", "\\.")
    return rf"^cluster\.{escaped}\.endpoint\..*\.rq_active$"


def parse_pod_loads(text: str, cluster: str, addresses: Iterable[str]) -> dict[str, float]:
    """
    In-flight calls by pod address, out of a text answer of /stats.

    Envoy writes an endpoint as address_port, with every colon turned into a line;
    so what is looked for is what each known address would be written as. Endpoints
    on several ports of one pod add up.
    """
    by_text = {_as_written(address): address for address in addresses}
    line = re.compile(rf"^cluster\.{re.escape(cluster)}\.endpoint\.(.+)_\d+\.rq_active: (\d+)$")
    loads: dict[str, float] = {}
    for found in map(line.match, text.splitlines()):
        address = by_text.get(found.group(1)) if found else None
        if found and address:
            loads[address] = loads.get(address, 0.0) + float(found.group(2))
    return loads


def add_loads(
    answers: Iterable[Mapping[str, float] | None], addresses: Iterable[str]
) -> dict[str, float]:
    """
    Sum what the Envoys said; {} when one of them, or all of them, said nothing.

    A pod that no Envoy names is left out: it is not known to be idle.
    """
    known = list(answers)
    if not known or any(not one for one in known):
        return {}
    total: dict[str, float] = {}
    for address in addresses:
        named = [one[address] for one in known if one and address in one]
        if named:
            total[address] = sum(named)
    return total


async def read_pod_loads(
    session: aiohttp.ClientSession,
    envoys: Iterable[EdgePod],
    port: int,
    cluster: str,
    addresses: Iterable[str],
) -> dict[str, float]:
    """Ask every ready Envoy at once; {} where the figures would not be whole."""
    wanted = list(addresses)

    async def ask(envoy: EdgePod) -> dict[str, float] | None:
        host = f"[{envoy.address}]" if ":" in envoy.address else envoy.address
        try:
            async with session.get(
                f"http://{host}:{port}/stats",
                params={"filter": pod_loads_filter(cluster)},
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS),
            ) as response:
                response.raise_for_status()
                return parse_pod_loads(await response.text(), cluster, wanted)
        except (TimeoutError, aiohttp.ClientError, OSError):
            return None

    answers = await asyncio.gather(*(ask(envoy) for envoy in envoys if envoy.ready))
    return add_loads(answers, wanted)


def _as_written(address: str) -> str:
    return f"[{address.replace(':', '_')}]" if ":" in address else address
