"""
What is fetched from the cluster once the load is over.

Each of these is one artifact; failing to get one is a problem of the drill,
and never an empty artifact.
"""

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from hailstorm_drills.cluster import Cluster, CommandError
from hailstorm_drills.database import Postgres, read_facts
from hailstorm_drills.edge_log import parse
from hailstorm_drills.plan import Parameters
from hailstorm_drills.pods import COMPONENT_LABEL
from hailstorm_drills.rollouts import component_of
from hailstorm_operator import api

# A twin's failures can fill tens of thousands of lines.
LOG_SECONDS: Final = 60.0


def collect_facts(
    cluster: Cluster, parameters: Parameters, load: Mapping[str, Any]
) -> dict[str, Any]:
    """Postgres' rows of the run; raises CommandError when the run has no name."""
    if not load.get("run_id"):
        raise CommandError("the load never said which run it was")
    return read_facts(cluster, Postgres(parameters.namespace), load["run_id"])


def collect_edge_log(cluster: Cluster, parameters: Parameters, since: float) -> list[Any]:
    """The edge's lines about failed and retried calls since the drill began."""
    pods = cluster.get("pods", parameters.namespace, "--selector", f"{COMPONENT_LABEL}=edge")[
        "items"
    ]
    if not pods:
        raise CommandError("there is no edge pod to ask for its log")
    stamp = dt.datetime.fromtimestamp(since, dt.UTC).isoformat(timespec="seconds")
    lines = []
    for pod in pods:
        name = pod["metadata"]["name"]
        text = cluster.kubectl(
            *("logs", name, "--namespace", parameters.namespace),
            *("--since-time", stamp.replace("+00:00", "Z")),
            timeout=LOG_SECONDS,
        )
        found, damaged = parse(text.splitlines())
        if damaged:
            raise CommandError(f"{damaged} lines of {name}'s access log cannot be read")
        lines += found
    return [line.as_json() for line in sorted(lines, key=lambda line: line.at)]


def collect_events(cluster: Cluster, parameters: Parameters) -> list[Any]:
    """Kubernetes' own Events of the namespace."""
    items = cluster.get("events", parameters.namespace)["items"]
    for item in items:
        item.get("metadata", {}).pop("managedFields", None)
    return list(items)


def collect_records(cluster: Cluster, parameters: Parameters) -> list[Any]:
    """The operator's RolloutRecords of the namespace; raises CommandError without the CRD."""
    resource = f"{api.RECORD_PLURAL}.{api.GROUP}"
    items = cluster.get(resource, parameters.namespace)["items"]
    for item in items:
        item["metadata"].pop("managedFields", None)
    return list(items)


def read_versions(
    cluster: Cluster, deployments: Iterable[dict[str, Any]], suffix: str
) -> dict[str, str]:
    """{component_from: image, ..., kubernetes: version}."""
    versions = {}
    for deployment in deployments:
        containers = deployment["spec"]["template"]["spec"]["containers"]
        versions[f"{component_of(deployment)}_{suffix}"] = containers[0]["image"]
    server = json.loads(cluster.kubectl("version", "-o", "json")).get("serverVersion", {})
    versions["kubernetes"] = server.get("gitVersion", "unknown")
    return dict(sorted(versions.items()))
