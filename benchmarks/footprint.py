"""
What the whole system costs when nobody uses it.

Reads the node containers' cgroups through Docker's API twice, some time apart:
control plane, stores, edge, services and operator are all in there, and so is
what kind itself needs. Beside it, what each of our processes says of its own
memory and of the time it took to be ready.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hailstorm_benchmarks.docker import DockerError, ask, kind_nodes

# docs/capacity-plan.yaml and the first issue that was built: what idling may cost.
IDLE_CORES_LIMIT: Final = 0.4
IDLE_GIB_LIMIT: Final = 2.5
PROCESS_MIB_LIMIT: Final = 90.0
READY_SECONDS_LIMIT: Final = 2.0
GIB: Final = 1024**3
MIB: Final = 1024**2


@dataclass(frozen=True)
class NodeSample:
    """One node's counters: CPU nanoseconds so far, bytes in use without clean cache."""

    at: float
    cpu_ns: int
    memory_bytes: int


def sample_node(container: str) -> NodeSample:
    """Read a node's counters now."""
    stats = ask(f"/containers/{container}/stats?stream=false&one-shot=true")
    memory = stats["memory_stats"]
    detail = memory.get("stats", {})
    # What `docker stats` shows: cgroup v1 names the cache total_inactive_file, v2 inactive_file.
    cache = detail.get("total_inactive_file", detail.get("inactive_file", 0))
    return NodeSample(
        at=time.monotonic(),
        cpu_ns=stats["cpu_stats"]["cpu_usage"]["total_usage"],
        memory_bytes=memory["usage"] - cache,
    )


def kubectl(*arguments: str) -> str:
    """Output of kubectl; the caller's KUBECONFIG says which cluster."""
    return subprocess.run(
        ["kubectl", *arguments], check=True, capture_output=True, text=True, timeout=60
    ).stdout


METRIC: Final = re.compile(r"^(\w+(?:\{[^}]*\})?) ([0-9.eE+-]+)$", re.MULTILINE)
SERVING: Final = 'hailstorm_lifecycle_state_since_seconds{state="SERVING"}'


def process_figures(namespace: str, component: str, port: int) -> list[dict[str, Any]]:
    """Resident MiB and seconds to ready of each pod of a component, by its own metrics."""
    pods = json.loads(
        kubectl("get", "pods", "-n", namespace, "-l", f"app.kubernetes.io/component={component}",
                "-o", "json")
    )["items"]  # fmt: skip
    rows = []
    for pod in pods:
        name = pod["metadata"]["name"]
        text = kubectl(
            "get", "--raw", f"/api/v1/namespaces/{namespace}/pods/{name}:{port}/proxy/metrics"
        )
        values = {key: float(value) for key, value in METRIC.findall(text)}
        rows.append(
            {
                "pod": name,
                "component": component,
                "resident_mib": round(values["process_resident_memory_bytes"] / MIB, 1),
                "ready_seconds": round(values[SERVING] - values["process_start_time_seconds"], 2),
            }
        )
    return rows


def spread(values: list[float], limit: float) -> dict[str, Any]:
    """Median, least and most of several values, beside what they may be."""
    return {
        "median": round(statistics.median(values), 3),
        "min": round(min(values), 3),
        "max": round(max(values), 3),
        "n": len(values),
        "limit": limit,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cluster", default="hailstorm", help="name of the kind cluster")
    parser.add_argument("--namespace", default="hailstorm")
    parser.add_argument("--seconds", type=float, default=60, help="length of one measurement")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--output", type=Path, help="write the figures there as JSON")
    arguments = parser.parse_args()

    nodes = [node.name for node in kind_nodes(arguments.cluster)]
    if not nodes:
        raise SystemExit(f"no kind cluster called {arguments.cluster} runs; `make demo` makes one")

    cores, gib = [], []
    for run in range(arguments.runs):
        print(f"run {run + 1} of {arguments.runs}: watching {len(nodes)} nodes for "
              f"{arguments.seconds:.0f} s", flush=True)  # fmt: skip
        before = {node: sample_node(node) for node in nodes}
        time.sleep(arguments.seconds)
        after = {node: sample_node(node) for node in nodes}
        cores.append(
            sum(
                (after[n].cpu_ns - before[n].cpu_ns) / 1e9 / (after[n].at - before[n].at)
                for n in nodes
            )
        )
        gib.append(sum(after[n].memory_bytes for n in nodes) / GIB)

    processes = [
        row
        for component in ("location", "dispatch", "trip")
        for row in process_figures(arguments.namespace, component, 8081)
    ]
    if len(processes) < 2 * 3:
        raise SystemExit(f"{len(processes)} pods of the services run; the figure is for 2 of each")
    readies = [row["ready_seconds"] for row in processes]
    figures = {
        "command": "make footprint",
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": {"cores": os.cpu_count()},
        "idle_cores": spread(cores, IDLE_CORES_LIMIT),
        "idle_gib": spread(gib, IDLE_GIB_LIMIT),
        "resident_mib": spread([row["resident_mib"] for row in processes], PROCESS_MIB_LIMIT),
        "ready_seconds": spread(readies, READY_SECONDS_LIMIT),
        "processes": processes,
    }
    print(json.dumps(figures, indent=2))
    if arguments.output:
        arguments.output.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    held = (
        figures["idle_cores"]["median"] <= IDLE_CORES_LIMIT
        and figures["idle_gib"]["median"] <= IDLE_GIB_LIMIT
        and figures["resident_mib"]["max"] <= PROCESS_MIB_LIMIT
        and figures["ready_seconds"]["max"] <= READY_SECONDS_LIMIT
    )
    print("within its limits" if held else "over a limit")
    return 0 if held else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except DockerError as error:
        sys.exit(str(error))
