"""
As many pods at the knee as past it: ServiceScalers held where they are.

What happens past the knee is the services' doing. A scaler that gives them more pods
meanwhile answers another question, and on a core that is full already it only takes from
those that serve. Their bounds are set to the replicas of now; warm spares may still serve beside.

Run as a program it gives the bounds back when its stdin ends: whoever holds them may have been
killed, and helm does not: it patches a resource of ours by what changed in the chart alone.
"""

import contextlib
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from hailstorm_benchmarks import guards
from hailstorm_drills.cluster import Cluster, CommandError
from hailstorm_operator import api

NAMESPACE: Final = "hailstorm"
RESOURCE: Final = f"{api.SCALER_PLURAL}.{api.GROUP}"
BOUNDS: Final = ("minReplicas", "maxReplicas")

Bounds = Mapping[str, Mapping[str, int]]


class ScalersError(Exception):
    """The ServiceScalers cannot be held; the message says why."""


@contextlib.contextmanager
def held(cluster: Cluster) -> Iterator[str]:
    """
    Hold every ServiceScaler at the replicas of its target; in words how many these are.

    Raises ScalersError, after which none is held.
    """
    kept, now = _found(cluster)
    reached = (cluster.kubectl_program, str(cluster.kubeconfig))
    guard = guards.start(__file__, json.dumps(kept), *reached)
    try:
        give(cluster, now)
        yield ", ".join(f"{name} {bounds['maxReplicas']}" for name, bounds in sorted(now.items()))
    finally:
        # It ends when the bounds are given back.
        guard.communicate()


def _found(cluster: Cluster) -> tuple[Bounds, Bounds]:
    """The bounds that there are, and those that hold the replicas of now. Raises ScalersError."""
    try:
        items = cluster.get(f"{RESOURCE},deployments.apps", NAMESPACE)["items"]
        replicas = {
            one["metadata"]["name"]: one["spec"]["replicas"]
            for one in items
            if one["kind"] == "Deployment"
        }
        kept, now = {}, {}
        for one in items:
            # What is at 0 has no pods to hold, and 0 is no bound.
            count = replicas.get(one["spec"].get("targetRef", {}).get("name"))
            if one["kind"] == api.SCALER_KIND and count:
                kept[one["metadata"]["name"]] = {key: one["spec"][key] for key in BOUNDS}
                now[one["metadata"]["name"]] = dict.fromkeys(BOUNDS, count)
    except CommandError as error:
        raise ScalersError(str(error)) from error
    except (ValueError, KeyError, TypeError) as error:
        raise ScalersError(f"kubectl told something else: {error!r}") from error
    return kept, now


def give(cluster: Cluster, bounds: Bounds) -> None:
    """Set bounds, by ServiceScaler. Raises ScalersError after all have been tried."""
    refused = []
    for name, one in bounds.items():
        patch = ("--type", "merge", "--patch", json.dumps({"spec": one}))
        try:
            cluster.kubectl("patch", RESOURCE, name, "--namespace", NAMESPACE, *patch)
        except CommandError as error:
            refused.append(f"{name}: {error}")
    if refused:
        raise ScalersError("; ".join(refused))


def main(arguments: list[str]) -> int:
    """`BOUNDS KUBECTL KUBECONFIG`: wait until stdin ends, then give the bounds back."""
    text, program, kubeconfig = arguments
    bounds: dict[str, Any] = json.loads(text)
    guards.wait()
    try:
        give(Cluster(Path(kubeconfig), program), bounds)
    except ScalersError as error:
        told = f"{bounds}: {error}"
        print(f"ServiceScalers are still held; set them to {told}", file=sys.stderr, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
