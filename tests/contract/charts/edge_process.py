"""
The chart's own Envoy configuration, run on this machine.

The rendered bootstrap is used as it is; only addresses change: listeners move
to free ports, and each cluster gets the addresses of processes that stand for
pods. So what a test sees is what the chart does.
"""

import base64
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import yaml

from contract.charts.chart_rendering import find_tool, pick, render

# Envoy starts in 0.3 s here; a loaded machine may need twenty times that.
START_SECONDS = 20


def free_port() -> int:
    """A TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_port(port: int, process: "subprocess.Popen[Any]", log: Path) -> None:
    """Return when something listens; AssertionError with the log when it never does."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError(f"nothing listens on {port}:\n{log.read_text()[-4000:]}")


@dataclass
class Pod:
    """A process that stands for a pod of every service."""

    port: int
    process: "subprocess.Popen[bytes]"
    log: Path

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


def start_pods(folder: Path, count: int, *, refuses_pings: bool = False) -> list[Pod]:
    """
    Start some at the same time, and return once all listen.

    `refuses_pings`: with the defaults of gRPC's servers, which take a caller that
    pings them for a nuisance.
    """
    pods = []
    for _ in range(count):
        port = free_port()
        log = folder / f"pod-{port}.log"
        command = [sys.executable, str(Path(__file__).parent / "fake_pod.py"), str(port)]
        environment = {
            **os.environ,
            "FAKE_POD_SHARED": str(folder),
            "FAKE_POD_REFUSES_PINGS": "yes" if refuses_pings else "",
        }
        with log.open("wb") as out:
            process = subprocess.Popen(command, stdout=out, stderr=out, env=environment)
        pods.append(Pod(port, process, log))
    try:
        for pod in pods:
            wait_for_port(pod.port, pod.process, pod.log)
    except BaseException:
        for pod in pods:
            pod.end()
        raise
    return pods


@dataclass
class Edge:
    """A running Envoy under the chart's start script."""

    public: int
    internal: int
    stats: int
    admin: int
    process: "subprocess.Popen[bytes]"
    log: Path
    channels: list[grpc.Channel] = field(default_factory=list)
    # What it calls itself towards the recorder: in a cluster, its pod's name.
    node: str = ""

    def channel(self, *, internal: bool = False) -> grpc.Channel:
        """A gRPC channel to the public listener, or to the internal one."""
        port = self.internal if internal else self.public
        channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        self.channels.append(channel)
        return channel

    def http(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        port: int | None = None,
    ) -> tuple[int, dict[str, str], bytes]:
        """One HTTP request: status, headers in lower case, body."""
        connection = http.client.HTTPConnection("127.0.0.1", port or self.public, timeout=20)
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        sent = {"content-type": "application/json"} if data is not None else {}
        try:
            connection.request(method, path, data, {**sent, **(headers or {})})
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def stat(self, name: str) -> int:
        """One counter or gauge, read as the operator reads it."""
        status, _, body = self.http("GET", f"/stats?filter=^{name}$&format=json", port=self.stats)
        assert status == 200, body
        (found,) = [s for s in json.loads(body)["stats"] if s.get("name") == name]
        value: int = found["value"]
        return value

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def end(self) -> None:
        for channel in self.channels:
            channel.close()
        # The script is a group leader, so that Envoy goes with it whatever happened.
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def local_bootstrap(
    bootstrap: dict[str, Any], pods: dict[str, Sequence[Pod]], ports: dict[str, int], folder: Path
) -> dict[str, Any]:
    """The chart's bootstrap with addresses of this machine, and nothing else changed."""
    resources = bootstrap["static_resources"]
    for listener in resources["listeners"]:
        listener["address"]["socket_address"] = _address(ports[listener["name"]])
    bootstrap["admin"]["address"]["socket_address"] = _address(ports["admin"])
    for cluster in resources["clusters"]:
        name = cluster["name"]
        targets = [ports[name]] if name in ports else [pod.port for pod in pods[name]]
        # One locality, or Envoy would weigh pods by place.
        cluster["load_assignment"]["endpoints"] = [
            {
                "lb_endpoints": [
                    {"endpoint": {"address": {"socket_address": _address(port)}}}
                    for port in targets
                ]
            }
        ]
    text = json.dumps(bootstrap).replace("/etc/envoy/hailstorm.pb", str(folder / "hailstorm.pb"))
    moved: dict[str, Any] = json.loads(text)
    return moved


def start_edge(
    folder: Path,
    pods: Sequence[Pod] | dict[str, Sequence[Pod]],
    *helm_arguments: str,
    recorder: int | None = None,
) -> Edge:
    """
    Render the chart, run its edge over `pods`, and return once it is ready.

    The same pods stand for all upstreams, unless each has its own. The edge
    finds all of them healthy when this returns. `recorder` is the port of
    a recorder; without one its place is a port where nobody listens.
    """
    config_map = pick(render(*helm_arguments), "ConfigMap", "edge")
    rendered = yaml.safe_load(config_map["data"]["envoy.yaml"])
    ports = {name: free_port() for name in ("public", "internal", "stats", "admin")}
    ports["recorder"] = recorder or free_port()
    names = [c["name"] for c in rendered["static_resources"]["clusters"] if c["name"] not in ports]
    pods_of = pods if isinstance(pods, dict) else dict.fromkeys(names, pods)
    (folder / "hailstorm.pb").write_bytes(
        base64.b64decode(config_map["binaryData"]["hailstorm.pb"])
    )
    bootstrap = local_bootstrap(rendered, pods_of, ports, folder)
    config = folder / f"envoy-{ports['public']}.yaml"
    config.write_text(json.dumps(bootstrap))
    script = folder / "start.sh"
    script.write_text(config_map["data"]["start.sh"])
    log = folder / f"envoy-{ports['public']}.log"
    container = pick(render(*helm_arguments), "Deployment", "edge")["spec"]["template"]["spec"][
        "containers"
    ][0]
    node = f"edge-{ports['public']}"
    environment = {e["name"]: e["value"] for e in container["env"] if "value" in e} | {
        "ADMIN_PORT": str(ports["admin"]),
        "PATH": f"{Path(find_tool('envoy')).parent}:{os.environ['PATH']}",
    }
    arguments = [
        # Kubernetes puts the pod's name there.
        a.replace("/etc/envoy/envoy.yaml", str(config)).replace("$(POD_NAME)", node)
        for a in container["command"][2:]
    ]
    with log.open("wb") as out:
        process = subprocess.Popen(
            ["bash", str(script), *arguments],
            env={**os.environ, **environment},
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    edge = Edge(
        ports["public"], ports["internal"], ports["stats"], ports["admin"], process, log, node=node
    )
    try:
        wait_for_port(edge.stats, process, log)
        end = time.monotonic() + START_SECONDS
        while any(
            edge.stat(f"cluster.{name}.membership_healthy") < len(pods_of[name]) for name in names
        ):
            assert time.monotonic() < end, f"pods are not healthy:\n{log.read_text()[-4000:]}"
            time.sleep(0.02)
    except BaseException:
        edge.end()
        raise
    return edge


def _address(port: int) -> dict[str, Any]:
    return {"address": "127.0.0.1", "port_value": port}
