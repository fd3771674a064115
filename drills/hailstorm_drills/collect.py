"""
What is fetched from the cluster once the load is over.

Each of these is one artifact; failing to get one is a problem of the drill,
and never an empty artifact.
"""

import datetime as dt
import json
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from hailstorm_drills.cluster import Cluster, CommandError
from hailstorm_drills.database import Postgres, read_facts
from hailstorm_drills.edge_log import parse
from hailstorm_drills.phases import Interval
from hailstorm_drills.plan import Parameters
from hailstorm_drills.pods import COMPONENT_LABEL
from hailstorm_drills.recorder import collect_recorder, epoch
from hailstorm_drills.rollouts import component_of
from hailstorm_operator import api

# A twin's failures can fill tens of thousands of lines.
LOG_SECONDS: Final = 60.0
# Half a minute after the end of a rollout, its look-back, and the settler's own turn.
RECORDS_SECONDS: Final = 90.0
RECORDS_LOOK_SECONDS: Final = 2.0


def collectors(
    cluster: Cluster, p: Parameters, load: Mapping[str, Any], since: float, span: Interval
) -> list[tuple[str, Callable[[], Any]]]:
    """
    (artifact, how it is had) of each; `since` is the drill's start, `span` its phases under load.

    Each raises CommandError when it cannot be had.
    """
    return [
        ("facts", lambda: collect_facts(cluster, p, load)),
        ("edge-log", lambda: collect_edge_log(cluster, p, since)),
        ("events", lambda: collect_events(cluster, p)),
        ("records", lambda: collect_records(cluster, p, since)),
        ("recorder", lambda: collect_recorder(cluster, p, span)),
    ]


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


def collect_records(cluster: Cluster, parameters: Parameters, since: float) -> list[Any]:
    """
    The operator's RolloutRecords of the namespace; raises CommandError without the CRD.

    Those of the drill are waited for: a record gets its traffic half a minute
    after its end. One that is still open then is taken as it is.
    """
    resource = f"{api.RECORD_PLURAL}.{api.GROUP}"
    end = time.monotonic() + RECORDS_SECONDS
    while True:
        items = cluster.get(resource, parameters.namespace)["items"]
        if not any(map(is_open, since_then(items, since))) or time.monotonic() >= end:
            break
        time.sleep(RECORDS_LOOK_SECONDS)
    for item in items:
        item["metadata"].pop("managedFields", None)
    return list(items)


def is_open(record: Mapping[str, Any]) -> bool:
    """Whether the record still lacks its end or its traffic."""
    outcome = record.get("status", {}).get("outcome", api.OUTCOME_PROGRESSING)
    traffic = record["metadata"].get("labels", {}).get(api.TRAFFIC_LABEL)
    return bool(outcome == api.OUTCOME_PROGRESSING or traffic == api.TRAFFIC_PENDING)


def since_then(records: Iterable[Mapping[str, Any]], since: float) -> list[Mapping[str, Any]]:
    """Records that were created at or after the moment."""
    # Creation stamps are whole seconds, rounded down.
    return [
        record for record in records if epoch(record["metadata"]["creationTimestamp"]) >= since - 1
    ]


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
