"""
What 200 ServiceScalers with 5,000 pods cost the operator, and how fast one decides.

The loops, the decider, the HTTP client and the Kubernetes client are the operator's
own; the Envoys and the API server are stubs in another process, which takes the time
between giving away a higher figure and being sent a higher count. Asked (issue 6): a
round of all of them in a second of one core, 300 MiB, and a decision within 50 ms of
the sample.
"""

import argparse
import asyncio
import resource
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

import aiohttp
import uvloop
from kubernetes.aio import client

from hailstorm_benchmarks.figures import Asked, Figure, Spread
from hailstorm_benchmarks.report import ROOT, arguments, finish, say
from hailstorm_operator import api
from hailstorm_operator.cluster import Cluster
from hailstorm_operator.inventory import EdgePod, Inventory
from hailstorm_operator.ownership import Ownership
from hailstorm_operator.scaler import ScalerLoop
from hailstorm_operator.sources import open_session
from hailstorm_operator.specs import parse_scaler_spec

SCALERS: Final = 200
PODS_EACH: Final = 25
# Dispatch, location and trip.
FEW: Final = 3
# The operator's default (HAILSTORM_OPERATOR_POLL_MILLISECONDS).
POLL_SECONDS: Final = 0.5
# The first polls write every status once; they are not a round like the others.
SETTLE_SECONDS: Final = 15.0
NAMESPACE: Final = "fleet"
STEP_WAIT_SECONDS: Final = 20.0
# The fast window and a poll.
FORGET_SECONDS: Final = 3.0
# A step asks for more than may be created at once (maxPodsInCreation).
CREATION: Final = 4


def scaler(number: int, port: int) -> dict[str, Any]:
    """A ServiceScaler of 25 pods, whose 10 calls in flight ask for no other number."""
    return {
        "metadata": {
            "name": f"app-{number}",
            "namespace": NAMESPACE,
            "uid": f"uid-{number}",
            "generation": 1,
        },
        "spec": {
            "targetRef": {"name": f"app-{number}"},
            "minReplicas": PODS_EACH,
            "maxReplicas": 4 * PODS_EACH,
            "signal": {"edge": {"cluster": f"app-{number}", "service": "edge", "port": port}},
            "targetInFlight": 8,
        },
    }


def deployment(number: int, replicas: int = PODS_EACH) -> dict[str, Any]:
    """Its target, as a watch shows it: all ready, last scaled by the operator."""
    return {
        "metadata": {
            "name": f"app-{number}",
            "namespace": NAMESPACE,
            "uid": f"deployment-{number}",
            "generation": 1,
            "resourceVersion": "1",
            "managedFields": [
                {
                    "manager": api.FIELD_MANAGER,
                    "time": "2026-11-26T05:00:00Z",
                    "fieldsV1": {"f:spec": {"f:replicas": {}}},
                }
            ],
        },
        "spec": {"replicas": replicas, "template": {"spec": {}}, "selector": {}},
        "status": {
            "replicas": replicas,
            "readyReplicas": replicas,
            "updatedReplicas": replicas,
            "availableReplicas": replicas,
        },
    }


def pod(number: int, place: int) -> dict[str, Any]:
    """One of its pods."""
    return {
        "metadata": {
            "name": f"app-{number}-h1-{place}",
            "namespace": NAMESPACE,
            "creationTimestamp": "2026-11-26T05:00:00Z",
            "resourceVersion": str(number * PODS_EACH + place),
            "labels": {"app": f"app-{number}", api.POD_TEMPLATE_HASH_LABEL: "h1"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": f"app-{number}-h1"}],
        },
        "spec": {"nodeName": f"node-{place % 5}"},
        "status": {
            "podIP": f"10.{number}.0.{place}",
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


class Stub:
    """The process with the Envoys and the API server."""

    def __init__(self, session: aiohttp.ClientSession, port: int) -> None:
        self._session = session
        self.port = port

    async def get(self, path: str, **query: str) -> Any:
        """Ask it; JSON, or None for an empty answer."""
        url = f"http://127.0.0.1:{self.port}{path}"
        async with self._session.get(url, params=query) as response:
            response.raise_for_status()
            return await response.json() if response.content_type == "application/json" else None


async def fleet(
    stub: Stub, session: aiohttp.ClientSession, scalers: int, seconds: float, steps: int
) -> tuple[float, list[float | None]]:
    """Run so many loops; CPU seconds of a round of them, and milliseconds of each step."""
    settings = client.Configuration()
    settings.host = f"http://127.0.0.1:{stub.port}"
    cluster = Cluster(client.ApiClient(settings))
    inventory = Inventory()
    owners = Ownership(cluster, inventory)
    inventory.slices[(NAMESPACE, "edge")] = {
        "edge": [EdgePod("edge-0", "127.0.0.1", True), EdgePod("edge-1", "127.0.0.2", True)]
    }
    tasks = []
    for number in range(scalers):
        await stub.get("/set", cluster=f"app-{number}", value="10")
        inventory.show_deployment(deployment(number))
        for place in range(PODS_EACH):
            inventory.show_pod(pod(number, place))
        body = scaler(number, stub.port)
        spec = parse_scaler_spec(body["spec"])
        loop = ScalerLoop(body, spec, cluster, inventory, owners, session, POLL_SECONDS)
        tasks.append(asyncio.create_task(loop.run()))
        # As loops begin in life: one after the other, not all at one moment.
        await asyncio.sleep(POLL_SECONDS / scalers)
    try:
        await asyncio.sleep(SETTLE_SECONDS)
        cpu, before = time.process_time(), await stub.get("/counts")
        await asyncio.sleep(seconds)
        spent, after = time.process_time() - cpu, await stub.get("/counts")
        rounds = (after["stats"] - before["stats"]) / (2 * scalers)
        writes = (after["writes"] - before["writes"]) / rounds
        say(f"{scalers} scalers: {rounds:.1f} rounds in {seconds:g} s, {writes:.1f} writes in each")
        took = []
        for number in range(steps):
            grown = PODS_EACH + CREATION * (number // scalers)
            took.append(await step(stub, inventory, number % scalers, grown))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await cluster.close()
    return spent / rounds, took


def answered(took: Sequence[float | None]) -> Spread | None:
    """The spread of steps that were all answered: the quick ones alone are no figure."""
    values = tuple(one for one in took if one is not None)
    return Spread(values) if values and len(values) == len(took) else None


async def step(stub: Stub, inventory: Inventory, number: int, replicas: int) -> float | None:
    """Milliseconds from the first answer with a higher demand to the count; None without one."""
    name = f"app-{number}"
    # So high that the first sample of it decides: waiting for more is the window's part.
    await stub.get("/set", cluster=name, value="4000")
    end = time.monotonic() + STEP_WAIT_SECONDS
    while time.monotonic() < end:
        # Seldom, as this process is the one that is measured.
        await asyncio.sleep(0.1)
        found = await stub.get("/took", cluster=name)
        if found["written"]:
            # It would go on growing: the windows have to forget, then the pods are there.
            await stub.get("/set", cluster=name, value="10")
            await asyncio.sleep(FORGET_SECONDS)
            inventory.show_deployment(deployment(number, replicas + CREATION))
            return 1000 * float(found["written"] - found["answered"])
    return None


def in_process(work: Callable[[], Awaitable[Any]]) -> Any:
    """Run on the loop that the operator uses."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:

        async def run() -> Any:
            return await work()

        return runner.run(run())


def main() -> int:
    """Print the figures; the exit code is the worst verdict's."""
    parser: argparse.ArgumentParser = arguments(__doc__)
    options = parser.parse_args()
    seconds, steps = (5.0, 4) if options.quick else (30.0, 15)
    server = subprocess.Popen(
        [sys.executable, str(Path(__file__).parent / "hailstorm_benchmarks" / "stub_fleet.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    rounds: list[float] = []
    took: list[float | None] = []
    among_all: list[float | None] = []
    try:
        assert server.stdout is not None
        port = int(server.stdout.readline())

        async def work(scalers: int) -> tuple[float, list[float | None]]:
            async with open_session() as session:
                return await fleet(Stub(session, port), session, scalers, seconds, steps)

        for turn in range(options.runs or (1 if options.quick else 3)):
            few, each = in_process(lambda: work(FEW))
            spent, each_among_all = in_process(lambda: work(SCALERS))
            say(f"turn {turn + 1}: {spent:.3f} s of CPU a round, {few:.4f} s of {FEW} scalers")
            rounds.append(spent)
            took += each
            among_all += each_among_all
    finally:
        assert server.stdin is not None
        server.stdin.close()
        server.wait(10)
    # Linux counts it in KiB.
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    figures = [
        Figure(
            f"CPU of a round of {SCALERS} scalers, {SCALERS * PODS_EACH:,} pods",
            "s",
            Spread(tuple(rounds)),
            Asked(1.0, is_floor=False),
        ),
        Figure("memory of the process", "MiB", Spread((memory,)), Asked(300.0, is_floor=False)),
        Figure(
            f"from an Envoy's answer to the count at the API server, {FEW} scalers",
            "ms",
            answered(took),
            Asked(50.0, is_floor=False),
            why=f"{took.count(None)} of {len(took)} steps were not answered in time",
        ),
        Figure(
            f"the same among {SCALERS} scalers",
            "ms",
            answered(among_all),
        ),
    ]
    return finish("scaler_fleet", figures, options.output)


if __name__ == "__main__":
    sys.exit(main())
