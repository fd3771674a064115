"""
SIGKILL without warning: the processes of a pod's containers, killed in their node.

`kubectl delete --force` is no such thing: the kubelet asks with SIGTERM first
and gives two seconds, in which a server can drain. So the processes are found
by the container's id in their cgroup, inside the node, and killed there. With
kind a node is a container of the same name, which Docker can enter. The kubelet
starts the container again in the same pod, as after an out-of-memory kill.
"""

import random
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from hailstorm_drills.cluster import Cluster, CommandError
from hailstorm_drills.faults.base import FaultError
from hailstorm_drills.faults.stage import Stage
from hailstorm_drills.marks import KILL, Mark
from hailstorm_drills.rollouts import component_of, is_ready, unsettled

# Finds a container's processes by its id, says when, and kills them. One grep over
# all cgroups, since an image may have neither pgrep nor crictl. `kill` complains
# of those that died with their parent, so its code says nothing.
SCRIPT: Final = """
pids=$(grep -l -s -E '{ids}' /proc/[0-9]*/cgroup | cut -d/ -f3)
[ -n "$pids" ] || {{ echo 'no process of that container' >&2; exit 1; }}
date +%s.%N
kill -KILL $pids 2>/dev/null
echo $pids | wc -w
"""
# Another pod counts as a spare when it has been ready for so long: the edge looks
# each pod up every 0.5 s and checks it as often; ten times that.
SPARE_SECONDS: Final = 5.0
# A kill waits for a spare no longer than so many intervals.
MAX_WAIT_INTERVALS: Final = 6


def container_ids(pod: Mapping[str, Any]) -> list[str]:
    """Ids of the pod's running containers, without the runtime's name."""
    return [
        status["containerID"].rpartition("//")[2]
        for status in pod.get("status", {}).get("containerStatuses", [])
        if "running" in status.get("state", {}) and status.get("containerID")
    ]


def sigkill(cluster: Cluster, pod: Mapping[str, Any]) -> float:
    """Kill the pod's processes; returns the moment by the node's clock. Raises CommandError."""
    name, ids = pod["metadata"]["name"], container_ids(pod)
    if not ids:
        raise CommandError(f"{name} has no running container to kill")
    said = cluster.node(pod["spec"]["nodeName"], SCRIPT.format(ids="|".join(ids)))
    words = said.split()
    if len(words) != 2 or int(words[1]) < 1:
        raise CommandError(f"killing {name} said {said!r}")
    return float(words[0])


def choose_victim(
    pods: Iterable[Mapping[str, Any]],
    components: Sequence[str],
    ready_since: Mapping[str, float],
    kills: Mapping[str, int],
    now: float,
    rng: random.Random,
) -> Mapping[str, Any] | None:
    """
    A ready pod of a component that has another one, ready for a while; None for none.

    The least killed first, so that the kubelet's back-off, which grows with
    each restart, does not decide. Killing the last pod of a service would only
    show that a service without pods does not answer.
    """
    serving: dict[str, list[Mapping[str, Any]]] = {}
    for pod in pods:
        component = component_of(pod)
        if (
            component in components
            and is_ready(pod)
            and not pod["metadata"].get("deletionTimestamp")
            and container_ids(pod)
        ):
            serving.setdefault(component, []).append(pod)
    found = []
    for own in serving.values():
        for pod in own:
            others = [o for o in own if o is not pod]
            if any(
                now - ready_since.get(o["metadata"]["name"], now) >= SPARE_SECONDS for o in others
            ):
                found.append(pod)
    if not found:
        return None
    least = min(kills.get(pod["metadata"]["name"], 0) for pod in found)
    fewest = [pod for pod in found if kills.get(pod["metadata"]["name"], 0) == least]
    return rng.choice(sorted(fewest, key=lambda pod: str(pod["metadata"]["name"])))


@dataclass
class KillPods:
    """The fault: one kill now, and one every interval for as long as the plan says."""

    stage: Stage
    components: Sequence[str]
    _rng: random.Random = field(default_factory=random.Random)
    _kills: Counter[str] = field(default_factory=Counter)
    _since: dict[str, float] = field(default_factory=dict)
    _mark: Mark | None = None
    _restarts: int = 0
    _began: float = 0.0

    def set_up(self) -> None:
        """Everything must be whole, and the nodes must let themselves be entered."""
        told = unsettled(self.stage.deployments.objects(), self.stage.pods.objects())
        if told:
            raise FaultError(f"the release is not settled before the first kill: {told}")
        self._rng = random.Random(self.stage.parameters.seed)
        for node in sorted({pod["spec"]["nodeName"] for pod in self._own()}):
            self.stage.cluster.node(node, "true")
        # All of them have been ready for the length of the baseline.
        self._since = {pod["metadata"]["name"]: 0.0 for pod in self._own()}

    def inject(self) -> None:
        """The first kill."""
        self._began = time.time()
        self._kill(self._began)

    def took_hold(self) -> str | None:
        """The pod that was killed is seen to be down, or to have been started again."""
        assert self._mark is not None, "inject comes first"
        name = self._mark.what
        for pod in self._own():
            if pod["metadata"]["name"] == name:
                if is_ready(pod) and restarts_of(pod) <= self._restarts:
                    return f"{name} still counts as ready"
                return None
        return None

    def hold(self) -> None:
        """The other kills, each when it is due and a spare is there."""
        p = self.stage.parameters
        number = 1
        while (number * p.interval_seconds) < p.fault_seconds:
            due = self._began + number * p.interval_seconds
            self._until(due)
            self._kill(due)
            number += 1
        self._until(self._began + p.fault_seconds)

    def recover(self) -> None:
        """The kubelet starts what was killed."""
        if self._mark is not None and self._mark.until is None:
            self.stage.marks.close(self._mark)

    def healed(self) -> str | None:
        """Every pod serves again."""
        return unsettled(self.stage.deployments.objects(), self.stage.pods.objects())

    def clean_up(self) -> None:
        """Nothing is left behind."""

    def _own(self) -> list[dict[str, Any]]:
        pods = self.stage.pods.objects()
        return [pod for pod in pods if component_of(pod) in self.components]

    def _until(self, moment: float) -> None:
        while (left := moment - time.time()) > 0:
            # Short, so that it is known since when each pod is ready again.
            self.stage.watch_load(min(1.0, left))
            self._note_ready()

    def _note_ready(self) -> None:
        ready = {pod["metadata"]["name"] for pod in self._own() if is_ready(pod)}
        for name in set(self._since) - ready:
            del self._since[name]
        for name in ready - set(self._since):
            self._since[name] = time.time()

    def _kill(self, due: float) -> None:
        p = self.stage.parameters
        until = due + max(1.0, MAX_WAIT_INTERVALS * p.interval_seconds)
        while True:
            self._note_ready()
            victim = choose_victim(
                self._own(), self.components, self._since, self._kills, time.time(), self._rng
            )
            if victim is not None:
                break
            if time.time() >= until:
                raise FaultError(f"no pod of {', '.join(self.components)} had a ready spare")
            time.sleep(0.2)
        name = str(victim["metadata"]["name"])
        self._restarts = restarts_of(victim)
        at = sigkill(self.stage.cluster, victim)
        if self._mark is not None and self._mark.until is None:
            self._mark.until = at
        self._mark = self.stage.marks.add(
            KILL, name, component=component_of(victim), late_seconds=round(at - due, 1)
        )
        self._mark.at = at
        self._kills[name] += 1
        self._since.pop(name, None)
        self.stage.say(f"   killed {name} ({sum(self._kills.values())})")


def restarts_of(pod: Mapping[str, Any]) -> int:
    """How often the pod's containers were started again."""
    statuses = pod.get("status", {}).get("containerStatuses", [])
    return sum(int(status.get("restartCount", 0)) for status in statuses)
