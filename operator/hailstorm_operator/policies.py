"""
Which RolloutPolicies are at work: one gate each, started, replaced and ended here.

Plain tasks and no finalizers, as with the ServiceScalers: a policy can always be
deleted. A hold that has no gate any more, because its policy is gone, makes no sense or
names another target, is found by its mark on the Deployment and lifted.
"""

import asyncio
import logging
from datetime import UTC, datetime
from typing import Any

from hailstorm_operator import holds
from hailstorm_operator.cluster import Cluster, ClusterError, ConflictError, NotFoundError
from hailstorm_operator.conditions import refused_status
from hailstorm_operator.gate import Gate
from hailstorm_operator.inventory import Inventory, Json, Key
from hailstorm_operator.looks import TRUST_SECONDS
from hailstorm_operator.policy_specs import parse_policy_spec
from hailstorm_operator.specs import SpecError
from hailstorm_operator.tallies import TalliesReader
from hailstorm_operator.targets import deployment_of_pod
from hailstorm_operator.timestamps import whole_seconds

logger = logging.getLogger(__name__)


class Policies:
    """Gates by (namespace, name of the policy)."""

    def __init__(self, cluster: Cluster, inventory: Inventory, tallies: TalliesReader) -> None:
        self._cluster = cluster
        self._inventory = inventory
        self._tallies = tallies
        self._gates: dict[Key, tuple[Gate | None, int, str, asyncio.Task[None]]] = {}
        self._claims: dict[Key, tuple[str, str]] = {}
        self._turns: dict[Key, asyncio.Lock] = {}

    async def show_policy(self, body: dict[str, Any], *, deleted: bool = False) -> None:
        """Take the newest state of a RolloutPolicy. Status changes change nothing."""
        key = (body["metadata"]["namespace"], body["metadata"]["name"])
        # The watch and the resync may show one object at once; two that end its old
        # gate together would each start a new one.
        async with self._turns.setdefault(key, asyncio.Lock()):
            await self._take(key, body, deleted=deleted)

    async def _take(self, key: Key, body: dict[str, Any], *, deleted: bool) -> None:
        metadata = body["metadata"]
        if deleted:
            await self._end(key, for_good=True)
            return
        generation, uid = int(metadata.get("generation", 0)), str(metadata["uid"])
        known = self._gates.get(key)
        # An answer that was on its way is older than what the watch has told meanwhile.
        if known is None or known[2] != uid or known[1] < generation:
            await self._end(key)
            gate: Gate | None = None
            problem = ""
            try:
                spec = parse_policy_spec(body.get("spec") or {})
            except SpecError as error:
                problem = str(error)
            else:
                gate = Gate(body, spec, self._cluster, self._tallies, trust_seconds=TRUST_SECONDS)
            former = known[0] if known else None
            # One that makes no sense gates nothing, so it must keep no other from doing so.
            self._claims.pop(key, None)
            if gate is not None:
                created = str(metadata.get("creationTimestamp", ""))
                self._claims[key] = (created, gate.spec.target)
            if former and (gate is None or gate.spec.target != former.spec.target):
                await self._let_go(key, former)
            work = gate.run() if gate else self._refuse(body, problem)
            task = asyncio.create_task(work, name=f"gate {key}")
            self._gates[key] = (gate, generation, uid, task)
        self._settle_claims()

    def show_deployment(self, body: Json) -> None:
        """A Deployment changed: its gate looks at once."""
        metadata = body["metadata"]
        for gate in self._gates_of(metadata["namespace"], metadata["name"]):
            gate.wake()

    def show_pod(self, body: Json) -> None:
        """A pod changed: the gate of its Deployment is to see it with its next look."""
        target = deployment_of_pod(body)
        if target is not None:
            for gate in self._gates_of(body["metadata"]["namespace"], target):
                gate.show_pod()

    async def resync(self) -> None:
        """Read policies again, since a watch can die silently, and lift holds left behind."""
        for key in list(self._gates):
            try:
                body = await self._cluster.get_policy(*key)
            except NotFoundError:
                gone = {"metadata": {"namespace": key[0], "name": key[1]}}
                self._inventory.show_policy(gone, deleted=True)
                await self.show_policy(gone, deleted=True)
                continue
            self._inventory.show_policy(body)
            await self.show_policy(body)
        for (namespace, name), view in list(self._inventory.deployments.items()):
            if view.held_by and await self._is_stray(namespace, name, view.held_by):
                await self._lift(namespace, name, view.held_by)

    async def stop(self) -> None:
        """End every gate. Holds stay on: the next operator takes them up."""
        for key in list(self._gates):
            await self._end(key)

    def _gates_of(self, namespace: str, target: str) -> list[Gate]:
        return [
            gate
            for (place, _), (gate, *_rest) in self._gates.items()
            if gate is not None and (place, gate.spec.target) == (namespace, target)
        ]

    async def _is_stray(self, namespace: str, name: str, policy: str) -> bool:
        """Whether a Deployment's hold has no gate that will lift it."""
        known = self._gates.get((namespace, policy))
        if known is not None:
            return known[0] is None or known[0].spec.target != name
        try:
            # The watch may only be late in showing the policy.
            await self._cluster.get_policy(namespace, policy)
        except NotFoundError:
            return True
        return False

    async def _lift(self, namespace: str, name: str, policy: str) -> None:
        deployment = await self._cluster.get_deployment(namespace, name)
        if holds.held_by(deployment) == policy:
            patch = holds.release_patch(deployment)
            await self._cluster.patch_deployment(namespace, name, patch)
            logger.info("lifted the hold of RolloutPolicy %s, which has no gate for it", policy)

    async def _end(self, key: Key, *, for_good: bool = False) -> None:
        known = self._gates.pop(key, None)
        if known is not None:
            known[3].cancel()
            await asyncio.gather(known[3], return_exceptions=True)
        if not for_good:
            return
        self._claims.pop(key, None)
        self._settle_claims()
        if known is not None and known[0] is not None:
            await self._let_go(key, known[0])

    async def _let_go(self, key: Key, gate: Gate) -> None:
        for _ in range(3):
            try:
                await gate.let_go()
            except ConflictError:
                continue
            except ClusterError as error:
                # The next resync finds the mark that is left.
                logger.warning("policy %s/%s: %s", *key, error)
            return

    def _settle_claims(self) -> None:
        """Of two policies for one target the older one gates."""
        for key, (gate, *_rest) in self._gates.items():
            if gate is None:
                continue
            mine = (*self._claims[key], key[1])
            older = [
                name
                for (namespace, name), (created, target) in self._claims.items()
                if namespace == key[0]
                and target == gate.spec.target
                and (created, name) < (mine[0], mine[2])
            ]
            gate.conflict = min(older, default="")

    async def _refuse(self, body: Json, problem: str) -> None:
        """Say in the status why an object does nothing. Once: its next generation asks again."""
        metadata = body["metadata"]
        status = refused_status(body, problem, whole_seconds(datetime.now(UTC)))
        try:
            await self._cluster.set_policy_status(metadata["namespace"], metadata["name"], status)
        except ClusterError as error:
            logger.warning("policy %s/%s: %s", metadata["namespace"], metadata["name"], error)
