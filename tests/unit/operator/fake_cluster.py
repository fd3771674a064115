"""
A cluster of one Deployment, as far as the gate can tell, and a clock that is moved by hand.

The deployment controller is played by its documented rules (a surge of one, nobody
unavailable): while `spec.paused` stands it makes no new ReplicaSet and replaces
nothing; a pod is available once it has been ready for minReadySeconds.
"""

import copy
import itertools
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from hailstorm_operator import api
from hailstorm_operator.cluster import ConflictError, NotFoundError, UnreachableError
from hailstorm_operator.observations import Second, Tally
from hailstorm_operator.replicasets import owned_revisions
from hailstorm_operator.tallies import Window
from hailstorm_operator.templates import template_digest
from hailstorm_operator.triggers import identify_attempt
from unit.operator.objects import template

Json = dict[str, Any]

EPOCH = 1_800_000_000.0
STARTS_AFTER = 2.0
WRITES = (
    "patch_deployment",
    "set_deployment_status",
    "set_policy_status",
    "note_policy",
    # Of a world whose ledger is the real one.
    "create_record",
    "set_record_status",
    "label_record",
    "delete_record",
)


READS = ("get_deployment", "list_replica_sets", "list_pods")


class KilledError(BaseException):
    """The operator's process ends here; nothing of it may catch this."""


def stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def merge(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


class World:
    """The API server, the deployment controller, the ledger, the recorder and the clock."""

    def __init__(self, replicas: int = 4, **spec: Any) -> None:
        self.now = EPOCH
        self.replica_sets: list[Json] = []
        self.pods: list[Json] = []
        self.records: list[Json] = []
        self.policy: Json = {}
        self.events: list[str] = []
        self.calls: list[str] = []
        # Looks at the target: its Deployment, ReplicaSets and pods.
        self.reads = 0
        self.kill_before: int | None = None
        self.kill_after: int | None = None
        self.unreachable_until = 0.0
        self.served: dict[int, list[tuple[str, Tally]]] = {}
        self.questions: list[tuple[int, int]] = []
        # Until then the ledger's watch is silent.
        self.unrecorded_until = 0.0
        self._addresses = itertools.count(1)
        # Failures a second on a pod of this template, latency of one.
        self.behaviour: Callable[[str, int], Tally] = lambda digest, at: Tally(30, 0)
        self.no_data: Callable[[float], str] = lambda now: ""
        self.gaps: Callable[[int], bool] = lambda at: False
        self.broken: set[str] = set()
        self.deployment: Json = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {
                "name": "app",
                "namespace": "place",
                "uid": "uid-1",
                "generation": 1,
                "resourceVersion": "1",
                "labels": {api.RECORD_LABEL: "true"},
                "annotations": {},
            },
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": {"app": "app"}},
                "strategy": {"type": "RollingUpdate"},
                "minReadySeconds": 1,
                "progressDeadlineSeconds": 300,
                "template": template(),
                **spec,
            },
            "status": {},
        }

    # What people do.

    def change(self, **spec: Any) -> None:
        """A user writes to the Deployment."""
        self.deployment["spec"] = merge(self.deployment["spec"], spec)
        self._touch(generation=True)

    def roll(self, version: str) -> str:
        """A user changes the template. Returns its digest."""
        self.change(template=template(version))
        return template_digest(self.deployment["spec"]["template"])

    def make_anew(self, version: str) -> str:
        """kubectl delete, and apply of a manifest with another template. Returns its digest."""
        self.replica_sets, self.pods = [], []
        metadata = self.deployment["metadata"]
        metadata |= {"uid": f"{metadata['uid']}-anew", "annotations": {}, "generation": 0}
        self.deployment["spec"] |= {"minReadySeconds": 1, "paused": False}
        self.deployment["status"] = {}
        return self.roll(version)

    def resume(self) -> None:
        """kubectl rollout resume."""
        self.change(paused=None)

    @property
    def digest(self) -> str:
        return template_digest(self.deployment["spec"]["template"])

    @property
    def paused(self) -> bool:
        return bool(self.deployment["spec"].get("paused"))

    def pods_of(self, digest: str) -> list[Json]:
        return [pod for pod in self.pods if pod["digest"] == digest]

    def versions(self) -> set[str]:
        """Templates of the pods there are."""
        return {pod["digest"] for pod in self.pods}

    def policy_block(self, digest: str) -> Json:
        """`status.policy` of the newest record of a template."""
        found = [one for one in self.records if one["spec"]["templateHash"] == digest]
        block: Json = found[-1].get("status", {}).get("policy", {})
        return block

    # The deployment controller, and the ledger.

    def settle(self) -> None:
        """A turn of every controller that is not ours."""
        self._record()
        spec, status = self.deployment["spec"], self.deployment["status"]
        before = copy.deepcopy(self.deployment["status"])
        current = self._replica_set()
        if not spec.get("paused"):
            if current is None:
                current = self._new_replica_set()
            elif int(current["metadata"]["annotations"][api.REVISION_ANNOTATION]) < self._highest():
                self._renumber(current)
            current["spec"]["minReadySeconds"] = spec.get("minReadySeconds", 0)
            self.deployment["metadata"]["annotations"][api.REVISION_ANNOTATION] = current[
                "metadata"
            ]["annotations"][api.REVISION_ANNOTATION]
            self._replace(current)
            cause = self.deployment["metadata"]["annotations"].get(api.CHANGE_CAUSE_ANNOTATION)
            if cause:
                current["metadata"]["annotations"][api.CHANGE_CAUSE_ANNOTATION] = cause
        self._start_pods()
        mine = [pod for pod in self.pods if current and pod["owner"] == current["metadata"]["name"]]
        status |= {
            "observedGeneration": self.deployment["metadata"]["generation"],
            "replicas": len(self.pods),
            "updatedReplicas": len(mine),
            "readyReplicas": sum(_is_ready(pod) for pod in self.pods),
            "availableReplicas": sum(self._is_available(pod) for pod in self.pods),
        }
        if status != before:
            self._touch()
        self._serve()

    def _record(self) -> None:
        """The ledger's part: a record for each new template."""
        if self.now < self.unrecorded_until or (
            self.records and self.records[-1]["spec"]["templateHash"] == self.digest
        ):
            return
        generation = self.deployment["metadata"]["generation"]
        uid = self.deployment["metadata"]["uid"]
        attempt = identify_attempt(self.deployment, owned_revisions(self.replica_sets, uid))
        self.records.append(
            {
                "metadata": {"name": f"app-{generation}", "namespace": "place"},
                "spec": {
                    "targetRef": {"name": "app", "uid": uid},
                    "revision": attempt.revision,
                    "generation": generation,
                    "templateHash": self.digest,
                },
            }
        )

    def _replica_set(self) -> Json | None:
        return next((one for one in self.replica_sets if one["digest"] == self.digest), None)

    def _highest(self) -> int:
        return max(
            (int(one["metadata"]["annotations"][api.REVISION_ANNOTATION]))
            for one in self.replica_sets
        )

    def _new_replica_set(self) -> Json:
        number = self._highest() + 1 if self.replica_sets else 1
        pods = copy.deepcopy(self.deployment["spec"]["template"])
        pods["metadata"]["labels"][api.POD_TEMPLATE_HASH_LABEL] = f"h{number}"
        made = {
            "digest": self.digest,
            "metadata": {
                "name": f"app-h{number}",
                "creationTimestamp": stamp(self.now),
                "ownerReferences": [{"uid": self.deployment["metadata"]["uid"]}],
                "labels": {api.POD_TEMPLATE_HASH_LABEL: f"h{number}"},
                "annotations": {api.REVISION_ANNOTATION: str(number)},
            },
            "spec": {"template": pods, "minReadySeconds": 0},
        }
        self.replica_sets.append(made)
        return made

    def _renumber(self, replica_set: Json) -> None:
        notes = replica_set["metadata"]["annotations"]
        former = notes.get(api.REVISION_HISTORY_ANNOTATION, "")
        notes[api.REVISION_HISTORY_ANNOTATION] = ",".join(
            filter(None, [former, notes[api.REVISION_ANNOTATION]])
        )
        notes[api.REVISION_ANNOTATION] = str(self._highest() + 1)

    def _replace(self, current: Json) -> None:
        wanted = self.deployment["spec"]["replicas"]
        old = [pod for pod in self.pods if pod["owner"] != current["metadata"]["name"]]
        mine = [pod for pod in self.pods if pod["owner"] == current["metadata"]["name"]]
        # reconcileOldReplicaSets: who is not available goes first, and nobody goes
        # while a new pod that is not available yet would have to stand in for them.
        missing = sum(not self._is_available(pod) for pod in mine)
        spare = len(self.pods) - wanted - missing
        useless = [pod for pod in old if not self._is_available(pod)]
        available = sum(self._is_available(pod) for pod in self.pods)
        if spare > 0 and useless:
            self.pods.remove(useless[0])
        elif old and available > wanted:
            self.pods.remove(old[0])
        elif not old and len(mine) > wanted:
            self.pods.remove(mine[-1])
        elif len(mine) < wanted and len(self.pods) < wanted + 1:
            self._new_pod(current)

    def _new_pod(self, replica_set: Json) -> None:
        number = next(self._addresses)
        labels = {api.POD_TEMPLATE_HASH_LABEL: replica_set["metadata"]["name"].split("-")[1]}
        self.pods.append(
            {
                "digest": replica_set["digest"],
                "owner": replica_set["metadata"]["name"],
                "made": self.now,
                "metadata": {
                    "name": f"{replica_set['metadata']['name']}-{number}",
                    "namespace": "place",
                    "creationTimestamp": stamp(self.now),
                    "labels": labels,
                    "ownerReferences": [
                        {"kind": "ReplicaSet", "name": replica_set["metadata"]["name"]}
                    ],
                },
                "status": {"podIP": f"10.0.0.{number}"},
            }
        )

    def _start_pods(self) -> None:
        for pod in self.pods:
            age = self.now - pod["made"]
            if pod["digest"] in self.broken:
                waiting = {"reason": "ImagePullBackOff", "message": "image: not found"}
                pod["status"]["containerStatuses"] = [{"state": {"waiting": waiting}}]
            elif age >= STARTS_AFTER and not _is_ready(pod):
                pod["ready_at"] = self.now
                pod["status"]["conditions"] = [
                    {
                        "type": "Ready",
                        "status": "True",
                        "lastTransitionTime": stamp(self.now),
                    }
                ]

    def _is_available(self, pod: Json) -> bool:
        if not _is_ready(pod):
            return False
        owner = next(one for one in self.replica_sets if one["metadata"]["name"] == pod["owner"])
        return bool(self.now - pod["ready_at"] >= owner["spec"]["minReadySeconds"])

    def _touch(self, *, generation: bool = False) -> None:
        metadata = self.deployment["metadata"]
        metadata["resourceVersion"] = str(int(metadata["resourceVersion"]) + 1)
        metadata["generation"] += int(generation)

    # What the operator's cluster module offers.

    def _enter(self, call: str) -> None:
        if self.now < self.unreachable_until:
            raise UnreachableError(call)
        self.reads += call in READS
        if call in WRITES:
            if len(self.calls) == self.kill_before:
                self.kill_before = None
                raise KilledError
            self.calls.append(call)

    def _leave(self) -> None:
        if len(self.calls) == self.kill_after:
            self.kill_after = None
            raise KilledError

    async def get_deployment(self, namespace: str, name: str) -> Json:
        self._enter("get_deployment")
        if (namespace, name) != ("place", "app"):
            raise NotFoundError(name, 404)
        return copy.deepcopy(self.deployment)

    async def list_replica_sets(self, namespace: str, selector: Mapping[str, str]) -> list[Json]:
        self._enter("list_replica_sets")
        return copy.deepcopy(self.replica_sets)

    async def list_pods(self, namespace: str, selector: Mapping[str, str]) -> list[Json]:
        self._enter("list_pods")
        return copy.deepcopy(self.pods)

    async def list_records(self, namespace: str, selector: Mapping[str, str]) -> list[Json]:
        self._enter("list_records")
        return copy.deepcopy(self.records)

    async def get_policy(self, namespace: str, name: str) -> Json:
        self._enter("get_policy")
        return copy.deepcopy(self.policy)

    async def patch_deployment(self, namespace: str, name: str, patch: Json) -> Json:
        self._enter("patch_deployment")
        metadata = self.deployment["metadata"]
        if patch["metadata"]["resourceVersion"] != metadata["resourceVersion"]:
            raise ConflictError("changed meanwhile", 409)
        before = copy.deepcopy(self.deployment["spec"])
        self.deployment = merge(self.deployment, patch)
        self._touch(generation=before != self.deployment["spec"])
        self._leave()
        return copy.deepcopy(self.deployment)

    async def set_deployment_status(self, namespace: str, name: str, patch: Json) -> None:
        self._enter("set_deployment_status")
        self.deployment = merge(self.deployment, {"status": patch["status"]})
        self._touch()
        self._leave()

    async def set_policy_status(self, namespace: str, name: str, status: Json) -> None:
        self._enter("set_policy_status")
        self.policy = merge(self.policy, {"status": status})
        self._leave()

    async def note_policy(self, namespace: str, name: str, block: Json) -> None:
        self._enter("note_policy")
        for record in self.records:
            if record["metadata"]["name"] == name:
                record["status"] = merge(record.get("status", {}), {"policy": block})
        self._leave()

    async def post_event(self, about: Json, reason: str, message: str, **_: Any) -> None:
        self.events.append(reason)

    # What the recorder offers.

    async def read(self, cluster: str, first: int, last: int, canary: Collection[str]) -> Window:
        self.questions.append((first, last))
        reason = self.no_data(self.now)
        if reason:
            return Window(no_data=reason)
        return Window({at: self._second(at, canary) for at in range(first, last)})

    def _serve(self) -> None:
        """What every ready pod did in the second that is now beginning; it stays so."""
        at = int(self.now)
        if at not in self.served:
            self.served[at] = [
                (pod["status"]["podIP"], self.behaviour(pod["digest"], at))
                for pod in self.pods
                if _is_ready(pod)
            ]

    def _second(self, at: int, canary: Collection[str]) -> Second:
        if self.gaps(at):
            return Second(at, gap=True)
        sides = {True: Tally(), False: Tally()}
        for address, tally in self.served.get(at, []):
            sides[address in canary] += tally
        return Second(at, sides[True], sides[False])


def _is_ready(pod: Json) -> bool:
    return "ready_at" in pod
