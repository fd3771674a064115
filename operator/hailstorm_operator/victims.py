"""
Which pods of a target go when it shrinks: the ones with the fewest calls.

Left to itself, Kubernetes takes the youngest. A pod that carries many calls, or
a stream for an hour, costs its callers a retry or a resumption; one that is idle
costs nobody anything.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from hailstorm_operator.pod_views import PodView


def choose_victims(
    pods: Sequence[PodView], loads: Mapping[str, float], count: int
) -> tuple[str, ...]:
    """
    Names of `count` pods to lose; () when their loads (by address) are not known.

    Pods that are not ready go first, as the ReplicaSet would have it anyway. Among
    equals goes one of the fullest node, then the youngest.
    """
    staying = [pod for pod in pods if not pod.leaving]
    if count <= 0 or count >= len(staying):
        return ()
    if any(pod.ready and pod.address not in loads for pod in staying):
        # A pod without a figure may be the busiest.
        return ()
    nodes = Counter(pod.node for pod in staying)
    # Sorting is stable: the last order decides among equals.
    ordered = sorted(staying, key=lambda pod: (pod.created, pod.name), reverse=True)
    ordered.sort(key=lambda pod: (pod.ready, loads.get(pod.address, 0.0), -nodes[pod.node]))
    return tuple(pod.name for pod in ordered[:count])
