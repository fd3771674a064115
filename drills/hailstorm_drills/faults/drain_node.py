"""
`kubectl drain` of one worker, as before its kernel is updated.

Every pod on it is evicted, as disruption budgets allow, and comes up elsewhere.
The node is uncordoned whatever happens; a cordoned node left behind would be a
cluster that the next drill finds too small. A store has one pod and its volume on
one node, and the drill is about what has replicas: a worker without one is chosen
where there is one, and a store is left where it is. A worker that holds the load is
never chosen: the drill must not remove its own witness.
"""

import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from hailstorm_drills.cluster import CommandError
from hailstorm_drills.faults.base import FaultError
from hailstorm_drills.faults.stage import Stage
from hailstorm_drills.pod_spec import CONTROL_PLANE_LABEL
from hailstorm_drills.pods import COMPONENT_LABEL
from hailstorm_drills.rollouts import component_of, unsettled

DRAIN: Final = "drain"
STORES: Final = ("postgres", "redis")
# With no pod of such a label it selects every pod, as kubectl drain does by itself.
NO_STORES: Final = f"{COMPONENT_LABEL} notin ({','.join(STORES)})"
# Before a kubectl that was told to end is ended.
END_SECONDS: Final = 5.0


def choose_node(
    nodes: Iterable[Mapping[str, Any]],
    pods: Iterable[Mapping[str, Any]],
    witnesses: Iterable[Mapping[str, Any]],
    components: Sequence[str],
) -> str:
    """
    The worker with most pods of the components among those without the load.

    One without a store comes first. Raises FaultError when there is none, or when it
    is the only one that could take what it holds.
    """
    workers = [
        node["metadata"]["name"]
        for node in nodes
        if CONTROL_PLANE_LABEL not in node["metadata"].get("labels", {})
        and not node.get("spec", {}).get("unschedulable")
    ]
    pods = list(pods)
    kept = {pod.get("spec", {}).get("nodeName") for pod in witnesses}
    stores = {pod["spec"].get("nodeName") for pod in pods if component_of(pod) in STORES}
    free = [name for name in workers if name not in kept]
    if len(workers) < 2 or not free:
        raise FaultError(
            f"no worker can be drained: of {', '.join(sorted(workers)) or 'none'}, those with "
            f"the load are {', '.join(sorted(kept & set(workers))) or 'none'}, and another one "
            "must take the pods"
        )
    held = Counter(pod["spec"].get("nodeName") for pod in pods if component_of(pod) in components)
    return str(max(sorted(free), key=lambda name: (name not in stores, held[name])))


@dataclass
class DrainNode:
    """The fault."""

    stage: Stage
    components: Sequence[str]
    node: str = ""
    _process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)
    _complaint: str = ""

    def set_up(self) -> None:
        """Choose the node."""
        told = unsettled(self.stage.deployments.objects(), self.stage.pods.objects())
        if told:
            raise FaultError(f"the release is not settled before the drain: {told}")
        cluster, p = self.stage.cluster, self.stage.parameters
        nodes = cluster.get("nodes", p.namespace)["items"]
        load = cluster.get("pods", p.load_namespace)["items"]
        self.node = choose_node(nodes, self.stage.pods.objects(), load, self.components)
        self.stage.say(f"   the node is {self.node}")

    def inject(self) -> None:
        """Begin to drain; kubectl goes on evicting until all are gone."""
        self.stage.marks.add(DRAIN, self.node)
        self._process = self.stage.cluster.start(
            *("drain", self.node, "--ignore-daemonsets", "--delete-emptydir-data"),
            f"--pod-selector={NO_STORES}",
            f"--timeout={self.stage.parameters.healed_seconds:.0f}s",
        )

    def took_hold(self) -> str | None:
        """A pod of the release is leaving the node."""
        here = self._here()
        going = [pod for pod in here if pod["metadata"].get("deletionTimestamp")]
        return None if going or not here else f"no pod on {self.node} is terminating"

    def hold(self) -> None:
        """Until the node is empty, and then for as long as the plan says."""
        p = self.stage.parameters
        self.stage.wait(self._drained, p.healed_seconds, f"{self.node} is drained")
        for mark in self.stage.marks.found:
            if mark.kind == DRAIN and mark.until is None:
                self.stage.marks.close(mark)
        self.stage.watch_load(p.fault_seconds)

    def recover(self) -> None:
        """The node takes pods again."""
        self._end()
        if self.node:
            self.stage.cluster.kubectl("uncordon", self.node)

    def healed(self) -> str | None:
        """All that was evicted serves again."""
        return unsettled(self.stage.deployments.objects(), self.stage.pods.objects())

    def clean_up(self) -> None:
        """Uncordoned already."""

    def _here(self) -> list[dict[str, Any]]:
        return [
            pod
            for pod in self.stage.pods.objects()
            if pod.get("spec", {}).get("nodeName") == self.node
            and component_of(pod) in self.components
        ]

    def _drained(self) -> str | None:
        assert self._process is not None, "inject comes first"
        code = self._process.poll()
        if code is None:
            return f"{len(self._here())} pods are still on {self.node}"
        if code != 0:
            _, complaint = self._process.communicate()
            told = complaint.decode(errors="replace").strip()[-300:]
            raise CommandError(f"kubectl drain {self.node} failed: {told}")
        return None

    def _end(self) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.communicate(timeout=END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        except ValueError:
            # Its output was read already.
            pass
        self._process = None
