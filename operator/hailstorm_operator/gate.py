"""
The loop of one RolloutPolicy: read, take the next step, write down, act.

What it knows lies in the policy's status and on the Deployment; tallies are asked
for again after a restart. So the loop keeps only what it can lose, and a tick that
fails is made again.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from hailstorm_operator import api, holds, metrics, policy_status, records, stages
from hailstorm_operator.cluster import Cluster, ClusterError, ConflictError, NotFoundError
from hailstorm_operator.conditions import Condition
from hailstorm_operator.gate_inputs import Inputs, known_seconds
from hailstorm_operator.gate_memory import Memory, Rollout, Template
from hailstorm_operator.holds import Patch
from hailstorm_operator.looks import Looks
from hailstorm_operator.observations import Second, Trouble
from hailstorm_operator.policy_specs import HOLD_MIN_READY, HOLD_PAUSED, PolicySpec
from hailstorm_operator.replicasets import Revision, owned_revisions
from hailstorm_operator.rollouts import FINAL_TROUBLES, PATIENCE_TROUBLES, Decision, decide_rollout
from hailstorm_operator.stages import Facts, next_step
from hailstorm_operator.tallies import EDGES, SETTLED_SECONDS, TalliesReader
from hailstorm_operator.targets import deployment_of_pod
from hailstorm_operator.templates import template_digest
from hailstorm_operator.timestamps import parse_time, whole_seconds, with_milliseconds
from hailstorm_operator.triggers import identify_attempt

logger = logging.getLogger(__name__)

Json = Mapping[str, Any]

# Twice in the time of a tally; a look asks the API server for what has changed.
LOOK_SECONDS: Final = 0.5
# Without a rollout only a lost watch event is to be made up for.
IDLE_SECONDS: Final = 10.0
# Each step leads to another; more in a row than a rollout has is a defect.
MAX_STEPS: Final = 12
# What the old template showed before; a minute is what a person would look at.
BEFORE_SECONDS: Final = 60
# An hour of looking; the CRD bounds a hold and a watch to ten minutes each, and a
# roll between them ends by its own deadline.
MAX_SECONDS: Final = 1500
# Asked for again with each look: late lines may still change them.
OVERLAP_SECONDS: Final = 5
STATUS_SECONDS: Final = 5.0
# A record is written within milliseconds of the rollout; a bad release does not wait
# for one that does not come.
RECORD_PATIENCE_SECONDS: Final = 5.0


@dataclass(frozen=True)
class Reading:
    """A Deployment and what belongs to it, read at one moment."""

    deployment: Json
    revisions: list[Revision]
    pods: Sequence[Json]
    facts: Facts
    current_hash: str


class Gate:
    """One RolloutPolicy at work. `run` until cancelled; `wake` when its target changed."""

    def __init__(
        self,
        body: Json,
        spec: PolicySpec,
        cluster: Cluster,
        tallies: TalliesReader,
        clock: Callable[[], float] = time.time,
        trust_seconds: float = 0.0,
    ) -> None:
        """`trust_seconds` as for Looks: 0 where nobody calls `wake` and `show_pod`."""
        self.body = body
        self.spec = spec
        self.namespace: str = body["metadata"]["namespace"]
        self.name: str = body["metadata"]["name"]
        self.conflict = ""
        self._cluster = cluster
        self._tallies = tallies
        self._clock = clock
        self._status: dict[str, Any] = dict(body.get("status") or {})
        self._memory: Memory | None = None
        self._seconds: dict[int, Second] = {}
        self._told_of: str = ""
        self._told_with: set[str] = set()
        self._written_at = 0.0
        self._wake = asyncio.Event()
        self._looks = Looks(cluster, self.namespace, spec.target, trust_seconds)

    def wake(self) -> None:
        """The target changed: look now."""
        self._looks.deployment_changed()
        self._wake.set()

    def show_pod(self) -> None:
        """A pod of the target changed: the next look is to see it."""
        self._looks.pods_changed()

    async def run(self) -> None:
        """Tick until cancelled."""
        while True:
            self._wake.clear()
            busy = True
            try:
                busy = await self.tick()
            except ConflictError:
                # Somebody wrote in between: look again, at once.
                self._looks.forget()
                self._wake.set()
                await asyncio.sleep(0.05)
            except ClusterError as error:
                self._looks.forget()
                metrics.API_ERRORS.labels("gate").inc()
                logger.warning("policy %s/%s: %s", self.namespace, self.name, error)
                await asyncio.sleep(LOOK_SECONDS)
            except Exception:
                logger.exception("policy %s/%s", self.namespace, self.name)
                await asyncio.sleep(LOOK_SECONDS)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), LOOK_SECONDS if busy else IDLE_SECONDS)

    async def tick(self) -> bool:
        """Take every step that can be taken now. Returns whether a rollout is under way."""
        memory = self._memory
        if memory is None:
            # What was last written is the truth, not what the watch showed.
            self._status = dict(
                (await self._cluster.get_policy(self.namespace, self.name)).get("status") or {}
            )
            memory = self._memory = policy_status.memory_of(self._status)
        for _ in range(MAX_STEPS):
            reading = await self._read(self._memory or memory)
            if reading is None:
                return False
            if not await self._step(reading):
                break
        return self._memory is not None and self._memory.rollout is not None

    async def let_go(self) -> None:
        """Lift our hold because the policy is gone; what was held goes on."""
        with suppress(NotFoundError):
            deployment = await self._cluster.get_deployment(self.namespace, self.spec.target)
            if holds.held_by(deployment) == self.name:
                await self._patch(holds.release_patch(deployment))

    async def _read(self, memory: Memory) -> Reading | None:
        try:
            deployment = await self._looks.deployment()
        except NotFoundError:
            text = f"there is no Deployment {self.spec.target} in namespace {self.namespace}"
            await self._refuse(memory, api.REASON_TARGET_MISSING, text)
            return None
        problem = policy_status.find_problem(deployment, self.spec, self.conflict)
        if problem is not None:
            await self._refuse(memory, *problem)
            if holds.held_by(deployment) == self.name:
                # Nobody would ever lift it.
                await self._patch(holds.release_patch(deployment))
            return None
        found = await self._looks.replica_sets(deployment)
        revisions = owned_revisions(found, deployment["metadata"]["uid"])
        attempt = identify_attempt(deployment, revisions)
        current_hash = attempt.current.pod_template_hash if attempt.current else ""
        pods = [
            pod
            for pod in await self._looks.pods(deployment)
            if deployment_of_pod(pod) == self.spec.target
        ]
        # One that leaves is of an earlier attempt with this template, and no canary of this one.
        surged = [
            pod
            for pod in pods
            if current_hash and _hash(pod) == current_hash and not _is_leaving(pod)
        ]
        before, rollout = attempt.previous, memory.rollout
        facts = Facts(
            target_uid=deployment["metadata"]["uid"],
            digest=attempt.digest,
            revision=attempt.revision,
            kind=attempt.kind,
            replicas=int(deployment["spec"].get("replicas", 1)),
            surged=len(surged),
            arrived=records.is_available(deployment),
            through=records.is_through(deployment),
            hold=holds.hold_state(deployment, self.name, attempt.digest),
            previous=Template(before.digest, before.number) if before else None,
            short_held=holds.is_short_held(deployment, self.spec.hold_max_seconds),
            by_min_ready=holds.is_held_by_min_ready(deployment),
            min_ready_before=holds.min_ready_before(deployment),
            min_ready_held=holds.min_ready_held(deployment),
            paused_by_user=holds.is_paused_by_user(deployment),
            has_lost_its_marks=rollout is not None
            and holds.has_lost_its_marks(
                deployment,
                self.spec.hold_max_seconds,
                rollout.min_ready_before,
                rollout.min_ready_held,
            ),
            has_own_cause=holds.has_own_cause(deployment),
        )
        return Reading(deployment, revisions, pods, facts, current_hash)

    async def _step(self, reading: Reading) -> bool:
        """One step; True when there may be another one at once."""
        memory, now = self._memory, self._clock()
        assert memory is not None  # tick has loaded it.
        early = self.spec.hold_by == HOLD_MIN_READY
        step = next_step(memory, reading.facts, now, enforce=self.spec.enforce, early=early)
        if step.kind == "rest":
            await self._remember(memory, "")
            return False
        if step.kind == "remember":
            if step.memory.rollout and step.memory.rollout.rule == api.RULE_RESUMED:
                await self._note_resumed(reading, step.memory.rollout)
            await self._remember(step.memory, "")
            return True
        if step.kind == "supersede":
            assert memory.rollout is not None  # Only a rollout is superseded.
            decision = stages.superseded_decision(reading.facts.revision)
            await self._note(reading, memory.rollout, decision, None, now)
            await self._remember(step.memory, "")
            return True
        if step.kind == "judge":
            return await self._judge(reading, memory, now)
        if step.kind == "hold":
            assert memory.rollout is not None  # Only a rollout is held.
            by = HOLD_PAUSED if memory.rollout.stage == "Held" else self.spec.hold_by
            await self._patch(
                holds.hold_patch(
                    reading.deployment,
                    self.name,
                    reading.facts.digest,
                    by,
                    self.spec.hold_max_seconds,
                ),
            )
            return True
        if step.kind == "restore":
            assert memory.rollout is not None  # Only a rollout is held.
            assert memory.rollout.min_ready_before is not None  # Asked for by the step.
            before = memory.rollout.min_ready_before
            await self._patch(holds.restore_patch(reading.deployment, before))
            return True
        if step.kind == "release":
            await self._patch(holds.release_patch(reading.deployment))
            return True
        return await self._roll_back(reading, memory)

    async def _judge(self, reading: Reading, memory: Memory, now: float) -> bool:
        memory = self._observe(reading, memory, now)
        rollout = memory.rollout
        assert rollout is not None  # Only a rollout is judged.
        inputs = await self._inputs(reading, rollout, now)
        decision = decide_rollout(inputs)
        if not decision.verdict:
            await self._remember(memory, decision.explanation)
            return False
        if stages.must_wait(reading.facts, decision):
            await self._remember(memory, f"paused by a user; {decision.explanation}")
            return False
        decision = await self._note(reading, rollout, decision, inputs, now)
        await self._announce(reading, decision)
        after = stages.after_decision(memory, decision, now, enforce=self.spec.enforce)
        await self._remember(after, decision.explanation, decision)
        return True

    def _observe(self, reading: Reading, memory: Memory, now: float) -> Memory:
        """Addresses, the first readiness and troubles of the new pods, as of now."""
        rollout = memory.rollout
        assert rollout is not None  # Only a rollout is observed.
        pods = [pod for pod in reading.pods if _hash(pod) == reading.current_hash]
        addresses = dict.fromkeys(rollout.addresses)
        ready = [] if rollout.canary_since is None else [rollout.canary_since]
        known, troubles = dict(rollout.trouble_since), {}
        for pod in pods:
            status = pod.get("status") or {}
            addresses |= dict.fromkeys(_addresses(pod))
            for condition in status.get("conditions") or []:
                is_ready = condition["type"] == "Ready" and condition["status"] == "True"
                if is_ready and not _is_leaving(pod):
                    ready.append(parse_time(condition["lastTransitionTime"]).timestamp())
            if _trouble(pod) is not None:
                name = pod["metadata"]["name"]
                troubles[name] = known.get(name, now)
        changed = replace(
            rollout,
            addresses=tuple(addresses)[-stages.MAX_ADDRESSES :],
            canary_since=min(ready, default=None),
            trouble_since=tuple(troubles.items()),
        )
        return replace(memory, rollout=changed)

    async def _inputs(self, reading: Reading, rollout: Rollout, now: float) -> Inputs:
        since = dict(rollout.trouble_since)
        troubles = []
        for pod in reading.pods:
            name, trouble = pod["metadata"]["name"], _trouble(pod)
            if trouble is not None and name in since:
                troubles.append(Trouble(name, *trouble, since[name]))
        seconds: tuple[Second, ...] = ()
        before: tuple[Second, ...] = ()
        no_data = ""
        if self.spec.cluster and rollout.canary_since is not None:
            start = rollout.canary_since
            no_data = await self._fetch(reading, rollout, start, now)
            settled = now - SETTLED_SECONDS
            oldest = max(start, now - MAX_SECONDS)
            seconds = known_seconds(self._seconds, oldest, now, settled)[-MAX_SECONDS:]
            before = known_seconds(self._seconds, start - BEFORE_SECONDS, start - 1, start)
        return Inputs(
            now=now,
            stage="watch" if rollout.stage == "Watching" else "canary",
            rules=self.spec.rules(holds.progress_seconds(reading.deployment)),
            started_at=rollout.counted_from(now),
            canary_since=rollout.canary_since,
            promoted_at=rollout.decided_at,
            arrived_at=rollout.arrived_at,
            troubles=tuple(troubles),
            missed_deadline=policy_status.missed_deadline(
                reading.deployment, rollout.counted_from(now)
            ),
            seconds=seconds,
            before=before,
            edges=EDGES if self.spec.latency else (),
            no_data=no_data,
        )

    async def _fetch(self, reading: Reading, rollout: Rollout, start: float, now: float) -> str:
        """Bring the seconds up to now; what is known already is not asked for again."""
        mark = f"{rollout.digest}/{rollout.started_at}"
        if mark != self._told_of:
            self._seconds, self._told_of, self._told_with = {}, mark, set()
        added = set(rollout.addresses) - self._told_with
        if added:
            # Their calls have counted for the others, and the first came after they were made.
            since = _made(reading.pods, added, start) - OVERLAP_SECONDS
            self._seconds = {at: one for at, one in self._seconds.items() if at < since}
            self._told_with |= added
        # A pod may have been ready for days before its release is looked at.
        first = max(int(start) - BEFORE_SECONDS, int(now) - MAX_SECONDS)
        if self._seconds:
            first = max(first, max(self._seconds) - OVERLAP_SECONDS)
        window = await self._tallies.read(
            self.spec.cluster, first, int(now) + 1, set(rollout.addresses)
        )
        self._seconds |= window.seconds
        return window.no_data

    async def _roll_back(self, reading: Reading, memory: Memory) -> bool:
        rollout, stable = memory.rollout, memory.stable
        assert rollout is not None  # Only a rollout is rolled back.
        target = next(
            (one for one in reading.revisions if stable and one.digest == stable.digest), None
        )
        if target is None:
            text = "the stable template's ReplicaSet is gone (spec.revisionHistoryLimit)"
            await self._post(reading, api.REASON_NO_WAY_BACK, text, warning=True)
            await self._remember(
                replace(memory, rollout=replace(rollout, stage="Held", explanation=text)), text
            )
            return True
        reason = f"RolloutPolicy {self.name}: {rollout.explanation}"
        now = whole_seconds(datetime.fromtimestamp(self._clock(), UTC))
        try:
            await self._cluster.set_deployment_status(
                self.namespace,
                self.spec.target,
                holds.failed_status_patch(reading.deployment, reason, now),
            )
        except (ConflictError, NotFoundError):
            raise
        except ClusterError as error:
            # For those who wait with kubectl; the rollback itself matters more.
            logger.warning("policy %s/%s: %s", self.namespace, self.name, error)
        deployment = await self._cluster.get_deployment(self.namespace, self.spec.target)
        if template_digest(deployment["spec"]["template"]) != rollout.digest:
            # A newer template arrived in between; it is not ours to undo.
            self._looks.forget()
            return True
        cause = holds.rollback_cause(target.number, reason)
        await self._patch(holds.rollback_patch(deployment, target.template, cause))
        metrics.ROLLBACK_SECONDS.observe(max(0.0, self._clock() - (rollout.decided_at or 0)))
        await self._post(reading, api.REASON_ROLLED_BACK, cause, warning=True)
        await self._remember(stages.after_rollback(memory), rollout.explanation)
        return True

    async def _note_resumed(self, reading: Reading, rollout: Rollout) -> None:
        decision = Decision(rollout.verdict, "promote", rollout.rule, rollout.explanation)
        await self._note(reading, rollout, decision, None, self._clock())

    async def _note(
        self,
        reading: Reading,
        rollout: Rollout,
        decision: Decision,
        inputs: Inputs | None,
        now: float,
    ) -> Decision:
        """
        Write a verdict into the rollout's record, before anything is done about it.

        Returns the verdict to follow: one that an operator wrote before it died stands.
        """
        record = await self._record(reading, rollout, now)
        if record is None:
            return decision
        block = (record.get("status") or {}).get("policy") or {}
        stage = "watch" if rollout.stage == "Watching" else "canary"
        decided = policy_status.find_decision(block, stage, rollout.started_at)
        if decided is not None:
            return policy_status.decision_of(decided)
        entry = policy_status.decision_entry(
            stage, decision, inputs, with_milliseconds(datetime.fromtimestamp(now, UTC))
        )
        metadata = record["metadata"]
        await self._cluster.note_policy(
            self.namespace,
            metadata["name"],
            policy_status.record_block(
                self.name, enforced=self.spec.enforce, before=block, entry=entry
            ),
        )
        metrics.VERDICTS.labels(
            self.namespace, self.spec.target, decision.verdict, decision.rule
        ).inc()
        return decision

    async def _record(self, reading: Reading, rollout: Rollout, now: float) -> Json | None:
        """
        The record of this attempt; None when the ledger has none in good time.

        Raises ConflictError, as for anything that is to be looked at again, while it
        may still come.
        """
        uid = reading.deployment["metadata"]["uid"]
        found = await self._cluster.list_records(self.namespace, {api.TARGET_UID_LABEL: uid})
        newest = records.record_of(found, uid, rollout.digest, rollout.revision)
        if newest is None and now - rollout.started_at < RECORD_PATIENCE_SECONDS:
            raise ConflictError(f"{self.spec.target} has no record of this attempt yet")
        return newest

    async def _announce(self, reading: Reading, decision: Decision) -> None:
        if decision.action == "finish":
            return
        reason = {
            api.VERDICT_PROMOTED: api.REASON_PROMOTED,
            api.VERDICT_ABORTED: api.REASON_ABORTED,
        }.get(decision.verdict, api.REASON_INSUFFICIENT)
        text = f"{decision.rule}: {decision.explanation}"
        if not self.spec.enforce:
            text += " (observed only)"
        await self._post(reading, reason, text, warning=decision.verdict != api.VERDICT_PROMOTED)

    async def _remember(
        self, memory: Memory, looking: str, decision: Decision | None = None
    ) -> None:
        """Write the memory when it changed; what is only being looked at, now and then."""
        generation = int(self.body["metadata"].get("generation", 0))
        status = policy_status.describe(
            memory, self._status, looking, decision, generation, enforce=self.spec.enforce
        )
        before = self._memory
        self._memory = memory
        if status == self._status:
            return
        told = status["conditions"] != self._status.get("conditions")
        due = time.monotonic() - self._written_at >= STATUS_SECONDS
        if memory == before and decision is None and not told and not due:
            return
        try:
            await self._cluster.set_policy_status(self.namespace, self.name, status)
        except ClusterError:
            # What is not written is not so: the next tick starts from the API again.
            self._memory = None
            raise
        self._status = status
        self._written_at = time.monotonic()

    async def _refuse(self, memory: Memory, reason: str, text: str) -> None:
        """Say why nothing is gated, and forget the rollout: what becomes of it nobody sees."""
        memory = stages.after_refusal(memory)
        generation = int(self.body["metadata"].get("generation", 0))
        status = policy_status.describe(
            memory, self._status, "", None, generation, enforce=self.spec.enforce
        )
        status["conditions"] = policy_status.with_condition(
            self._status, Condition(api.CONDITION_ACTIVE, False, reason, text)
        )
        if status == self._status:
            return
        await self._cluster.set_policy_status(self.namespace, self.name, status)
        self._status, self._memory = status, memory

    async def _patch(self, patch: Patch) -> None:
        try:
            await self._cluster.patch_deployment(self.namespace, self.spec.target, patch)
        finally:
            # Refused or not, what was read is not what stands there now.
            self._looks.forget()

    async def _post(
        self, reading: Reading, reason: str, message: str, *, warning: bool = False
    ) -> None:
        logger.info("%s %s/%s: %s", reason, self.namespace, self.spec.target, message)
        about = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": reading.deployment["metadata"],
        }
        try:
            await self._cluster.post_event(about, reason, message, warning=warning)
        except ClusterError as error:
            # An Event is a courtesy; the record is what counts.
            logger.warning("event %s: %s", reason, error)


def _is_leaving(pod: Json) -> bool:
    return bool(pod["metadata"].get("deletionTimestamp"))


def _hash(pod: Json) -> str:
    return str((pod["metadata"].get("labels") or {}).get(api.POD_TEMPLATE_HASH_LABEL, ""))


def _addresses(pod: Json) -> list[str]:
    status = pod.get("status") or {}
    found = [one["ip"] for one in status.get("podIPs") or []]
    return [*found, status["podIP"]] if status.get("podIP") else found


def _made(pods: Sequence[Json], addresses: set[str], start: float) -> float:
    """When the first of the pods with these addresses was made; `start` when none is there."""
    made = [
        parse_time(pod["metadata"]["creationTimestamp"]).timestamp()
        for pod in pods
        if addresses.intersection(_addresses(pod))
    ]
    return min(made, default=start)


def _trouble(pod: Json) -> tuple[str, str] | None:
    """Why a pod cannot run, in the kubelet's words; None when it may yet."""
    if pod["metadata"].get("deletionTimestamp"):
        return None
    status = pod.get("status") or {}
    for one in [
        *(status.get("initContainerStatuses") or []),
        *(status.get("containerStatuses") or []),
    ]:
        waiting = (one.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") in FINAL_TROUBLES | PATIENCE_TROUBLES:
            return str(waiting["reason"]), str(waiting.get("message", ""))[:200]
    return None
