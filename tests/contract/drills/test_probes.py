"""The drills' own small clients against real servers, and their way into a node."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer

from eventually import eventually
from hailstorm_drills import naive
from hailstorm_drills.cluster import Cluster, CommandError
from hailstorm_drills.drain_test import probe
from hailstorm_drills.naive import caller, deployment, service
from hailstorm_drills.naive_load import run

ROOT = Path(__file__).parents[3]
# The real server of every test here.
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture
async def server() -> AsyncIterator[tuple[str, HealthServicer, grpc.aio.Server]]:
    """(address, health, server): a gRPC server that answers for its health alone."""
    found = grpc.aio.server()
    health = HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health, found)
    await health.set("lb", SERVING)
    port = found.add_insecure_port("127.0.0.1:0")
    await found.start()
    yield f"127.0.0.1:{port}", health, found
    await found.stop(0)


async def test_naive_load_counts_what_became_of_each_call(server: Any) -> None:
    address, _, process = server
    stop, lines = asyncio.Event(), list[dict[str, Any]]()
    load = asyncio.create_task(
        run(address, 200.0, 7, stop, lambda line, **_: lines.append(json.loads(line)))
    )
    await eventually(lambda: lines and lines[-1]["ok"] > 50, 30)
    assert lines[-1]["failed"] == 0
    await process.stop(0)
    await eventually(lambda: lines[-1]["failed"] > 50, 30)
    stop.set()
    await asyncio.wait_for(load, 30)
    last = lines[-1]
    assert last["offered"] == last["ok"] + last["failed"] + last["unknown"]
    assert last["codes"]["UNAVAILABLE"] > 0


async def test_probe_tells_a_draining_server_by_its_answer(server: Any) -> None:
    address, health, process = server
    first = await probe.call("service", address, probe.HEALTH, probe.ASK_LB)
    assert (first["code"], first["not_serving"]) == ("OK", False)
    await health.set("lb", NOT_SERVING)
    second = await probe.call("service", address, probe.HEALTH, probe.ASK_LB)
    assert (second["code"], second["not_serving"]) == ("OK", True)
    await process.stop(0)
    third = await probe.call("service", address, probe.HEALTH, probe.ASK_LB)
    assert third["code"] == "UNAVAILABLE"


async def test_probe_reads_which_pod_the_edge_names() -> None:
    async def refuse(_: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        await context.send_initial_metadata([("x-hailstorm-upstream", "10.0.0.1:50051")])
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "empty")
        raise AssertionError

    edge = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(refuse)
    edge.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("x.X", {"Y": handler})])
    port = edge.add_insecure_port("127.0.0.1:0")
    await edge.start()
    found = await probe.call("edge", f"127.0.0.1:{port}", "/x.X/Y", b"")
    await edge.stop(0)
    assert (found["code"], found["pod"]) == ("INVALID_ARGUMENT", "10.0.0.1:50051")
    assert found["code"] in probe.ANSWERS


async def test_probe_shoots_every_way_for_as_long_as_it_is_told() -> None:
    lines = list[str]()

    async def answer() -> dict[str, Any]:
        return {"way": "direct"}

    await probe.shoot({"direct": answer, "edge": answer}, 0.2, 50.0, lines.append)
    assert lines[0] == probe.READY
    assert len(lines) == 1 + 2 * 10


def test_naive_arm_has_no_drain_and_satisfies_the_restricted_standard() -> None:
    made = deployment("ns", {"image": "services:1", "command": ["python3", "-m", "x"]})
    template = made["spec"]["template"]
    (container,) = template["spec"]["containers"]
    assert {"name": "HAILSTORM_LIFECYCLE_DRAIN_ENABLED", "value": "false"} in container["env"]
    pod = caller("ns", "drills:1", "Never", 7)
    for spec in (template["spec"], pod["spec"]):
        assert spec["securityContext"]["runAsNonRoot"]
        assert not spec["automountServiceAccountToken"]
        for each in spec["containers"]:
            assert each["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    # Swept by the label; selected by the Service and by nothing of the release.
    for thing in (made, pod, service("ns")):
        assert thing["metadata"]["labels"]["hailstorm.dev/load"] == "control"
    assert service("ns")["spec"]["selector"].items() <= template["metadata"]["labels"].items()
    assert "app.kubernetes.io/component" not in template["metadata"]["labels"]


Make = Callable[[str], Cluster]


@pytest.fixture
def cluster(tmp_path: Path) -> Make:
    """A cluster whose kubectl and docker are a shell script."""

    def make(script: str) -> Cluster:
        program = tmp_path / "program"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        return Cluster(tmp_path / "kubeconfig", *[str(program)] * 3)

    return make


def test_node_is_entered_by_docker_and_says_what_it_needs(cluster: Make) -> None:
    assert cluster('echo "$1 $2 $3 $4"').node("w1", "true").split() == ["exec", "w1", "sh", "-c"]
    with pytest.raises(CommandError, match="needs kind and its Docker daemon"):
        cluster("echo no daemon >&2; exit 1").node("w1", "true")


class FakeStage:
    """What a control needs of a stage."""

    def __init__(self, cluster: Cluster, *deployments: dict[str, Any]) -> None:
        self.cluster, self.said = cluster, list[str]()
        self.deployments = self
        self._deployments = list(deployments)
        self.parameters = self
        self.load_namespace, self.seed = "ns", 7

    def objects(self) -> list[dict[str, Any]]:
        return self._deployments

    def say(self, text: str) -> None:
        self.said.append(text)


MODEL = {
    "metadata": {"labels": {"app.kubernetes.io/component": naive.MODEL}},
    "spec": {
        "template": {"spec": {"containers": [{"image": "services:1", "command": ["python3"]}]}}
    },
}


def control_of(stage: FakeStage) -> naive.NaiveControl:
    return naive.NaiveControl(stage, "drills:1", "Never")  # type: ignore[arg-type]


def test_control_says_what_its_caller_counted(cluster: Make) -> None:
    said = '{"offered": 9, "ok": 8, "failed": 1, "unknown": 0}'
    control = control_of(FakeStage(cluster(f"cat > /dev/null; echo '{said}'"), MODEL))
    control.start()
    control.roll()
    found = control.finish()
    assert (found["offered"], found["failed"], found["rolls"]) == (9, 1, 1)


@pytest.mark.parametrize(
    ("script", "deployments", "why"),
    [
        ("exit 0", [], "no location to make it from"),
        ("cat > /dev/null; echo no quota >&2; exit 1", [MODEL], "did not start"),
        ("cat > /dev/null; echo nonsense", [MODEL], "its caller says nothing"),
        ("cat > /dev/null; echo '{\"offered\": 0}'", [MODEL], "it made no call"),
    ],
)
def test_control_that_cannot_work_says_so_and_raises_nothing(
    script: str, deployments: list[dict[str, Any]], why: str, cluster: Make
) -> None:
    control = control_of(FakeStage(cluster(script), *deployments))
    control.start()
    control.roll()
    assert why in control.finish()["problem"]
    control.sweep()


SCRIPT = """
import sys, time
from hailstorm_drills.__main__ import heal_when_told_to_end
from hailstorm_drills.faults.base import guarded

class Fault:
    def set_up(self): pass
    def inject(self): print("injected", flush=True)
    def took_hold(self): return "never"
    def hold(self): pass
    def recover(self):
        print("recovering", flush=True)
        time.sleep(0.5)
        print("recovered", flush=True)
    def healed(self): return None
    def clean_up(self): print("clean", flush=True)

heal_when_told_to_end()
try:
    with guarded(Fault(), 60.0) as guard:
        guard.set_up()
        guard.inject()
        guard.wait_took_hold(600.0)
except KeyboardInterrupt:
    print("told to end", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_drill_that_is_told_to_end_heals_first_and_only_once(number: int) -> None:
    paths = [str(ROOT / name) for name in ("services", "operator", "drills", "loadtests")]
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process:
        try:
            assert process.stdout.readline() == "injected\n"
            process.send_signal(number)
            assert process.stdout.readline() == "recovering\n"
            # An impatient second one does not cut the healing short.
            process.send_signal(number)
            assert process.stdout.read().split("\n")[:3] == ["recovered", "clean", "told to end"]
        finally:
            process.kill()
