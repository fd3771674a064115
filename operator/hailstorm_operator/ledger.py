"""
The ledger: opens, advances and closes the RolloutRecords of every recorded Deployment.

A worker for each Deployment sleeps until something happened to it, then brings
the record up to date from the newest state. It is level-triggered: however many
events came in between, and whether the operator was alive for them, the record
ends the same, only its stamps are less exact. Listings repair what a silent
watch has missed.
"""

import asyncio
import contextlib
import logging
from datetime import datetime
from typing import Any, Final

from hailstorm_operator import api, metrics, records, triggers
from hailstorm_operator.archive import Archive, Clock, status_of, utc_now
from hailstorm_operator.cluster import Cluster, ClusterError, ConflictError, NotFoundError
from hailstorm_operator.replicasets import Revision, owned_revisions
from hailstorm_operator.targets import Json, Key, Sighting, Target, deployment_of_pod
from hailstorm_operator.templates import template_digest
from hailstorm_operator.timestamps import with_milliseconds

logger = logging.getLogger(__name__)

# An open record is watched closely; a closed one only for what a watch missed.
OPEN_RESYNC_SECONDS: Final = 10.0
CLOSED_RESYNC_SECONDS: Final = 60.0
# Pods change several times a second in a rollout; a write for each is no use.
WRITE_INTERVAL_SECONDS: Final = 0.5
RETRY_SECONDS: Final = 2.0
CONFLICT_SECONDS: Final = 0.1
# What a listing shows and no event has told by then was missed, not just late.
EVENT_DELAY_SECONDS: Final = 1.0


class Ledger:
    """Records of all Deployments. `show_*` take events and return at once."""

    def __init__(self, cluster: Cluster, archive: Archive, clock: Clock = utc_now) -> None:
        self._cluster = cluster
        self._archive = archive
        self._clock = clock
        self._targets: dict[Key, Target] = {}
        self._workers: dict[Key, asyncio.Task[None]] = {}

    def show_deployment(self, deployment: Json, event: str | None) -> None:
        """Take a watch event; `event` is its type, None for the first listing."""
        metadata = deployment["metadata"]
        key = (metadata["namespace"], metadata["name"])
        wanted = (metadata.get("labels") or {}).get(api.RECORD_LABEL) == api.RECORD_LABEL_VALUE
        target = self._targets.get(key)
        sighting = Sighting(deployment, self._clock(), live=event is not None)
        if target is None:
            if not wanted or event == "DELETED":
                return
            target = Target(*key, sighting)
            self._targets[key] = target
            self._workers[key] = asyncio.create_task(self._work(target), name=f"record {key}")
            return
        target.show_deployment(sighting)
        target.deleted = event == "DELETED"
        target.released = not wanted

    def show_pod(self, pod: Json, event: str | None) -> None:
        """Take a watch event of any pod; those of other Deployments are ignored."""
        name = deployment_of_pod(pod)
        target = self._targets.get((pod["metadata"]["namespace"], name)) if name else None
        if target is not None:
            target.show_pod(pod, self._clock(), deleted=event == "DELETED", live=event is not None)

    async def close_orphans(self) -> None:
        """Close open records whose Deployment went away while nobody watched."""
        await self._archive.close_orphans({target.uid for target in self._targets.values()})

    async def stop(self) -> None:
        """End every worker; open records are picked up by the next operator."""
        for worker in self._workers.values():
            worker.cancel()
        await asyncio.gather(*self._workers.values(), return_exceptions=True)

    async def _work(self, target: Target) -> None:
        while True:
            try:
                if not await self._wait(target):
                    await self._resync(target)
                await self._reconcile(target)
                if target.deleted or target.released:
                    break
                await self._rest(target)
            except ConflictError:
                # The gate has written its verdict into the record: read it, go on at once.
                target.loaded = False
                target.wake.set()
                await asyncio.sleep(CONFLICT_SECONDS)
            except ClusterError as error:
                metrics.API_ERRORS.labels("ledger").inc()
                logger.warning("record of %s/%s: %s", target.namespace, target.name, error)
                # What is in the API is the truth, whoever wrote it.
                target.loaded = False
                if target.deleted and isinstance(error, NotFoundError):
                    break
                target.wake.set()
                await asyncio.sleep(RETRY_SECONDS)
            except Exception:
                logger.exception("record of %s/%s", target.namespace, target.name)
                await asyncio.sleep(RETRY_SECONDS)
        key = (target.namespace, target.name)
        del self._targets[key], self._workers[key]

    async def _wait(self, target: Target) -> bool:
        """Wait for news; False when only the time for a listing has come."""
        is_open = target.record is not None and not records.is_closed(status_of(target.record))
        timeout = OPEN_RESYNC_SECONDS if is_open else CLOSED_RESYNC_SECONDS
        try:
            await asyncio.wait_for(target.wake.wait(), timeout)
        except TimeoutError:
            return False
        target.wake.clear()
        return True

    async def _rest(self, target: Target) -> None:
        """Let changes gather before the next write; a new template does not wait."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(target.changed.wait(), WRITE_INTERVAL_SECONDS)

    async def _resync(self, target: Target) -> None:
        """Compare with the API, since a watch can die without a sound."""
        asked_at, known = self._clock(), target.deployment
        try:
            deployment = await self._cluster.get_deployment(target.namespace, target.name)
        except NotFoundError:
            metrics.WATCH_MISSED.labels("Deployment").inc()
            target.deleted = True
            return
        pods = await self._pods(target)
        if _version(deployment) != _version(known):
            await asyncio.sleep(EVENT_DELAY_SECONDS)
            if target.deployment is known:
                metrics.WATCH_MISSED.labels("Deployment").inc()
                target.show_deployment(Sighting(deployment, asked_at, live=False))
        missed = target.list_pods(pods, asked_at)
        if missed:
            metrics.WATCH_MISSED.labels("Pod").inc(missed)

    async def _reconcile(self, target: Target) -> None:
        if not target.loaded:
            await self._load(target)
        now = self._clock()
        if target.deleted or target.released:
            await self._end(target, now)
            return
        target.changed.clear()
        while target.templates:
            await self._open_if_new(target, target.templates[0])
            target.templates.popleft()
        await self._open_if_new(target, target.latest)
        await self._advance(target)

    async def _open_if_new(self, target: Target, sighting: Sighting) -> None:
        digest = template_digest(sighting.deployment["spec"]["template"])
        if target.record is None or not records.is_same_attempt(
            target.record, sighting.deployment, digest
        ):
            await self._open(target, sighting)

    async def _load(self, target: Target) -> None:
        """Take up what the API holds: the last record, and the pods there are."""
        target.record = await self._archive.newest(target.namespace, target.uid)
        status = status_of(target.record) if target.record else {}
        over = records.is_closed(status) and status["outcome"] != api.OUTCOME_FAILED
        lines = [] if over else status.get("pods", [])
        target.resume_pods(lines, await self._pods(target), self._clock())
        target.pod_template_hash = status.get("podTemplateHash")
        if target.record is not None and not status:
            # The operator died between creating the record and its first status.
            started = target.record["metadata"]["creationTimestamp"]
            target.record = await self._archive.write(
                target.record, records.resumed_status(started)
            )
        target.loaded = True

    async def _open(self, target: Target, sighting: Sighting) -> None:
        """Write the record of a new attempt before anything else is done about it."""
        deployment = sighting.deployment
        revisions = await self._revisions(target)
        attempt = triggers.identify_attempt(deployment, revisions)
        before = target.record
        # A start is only as exact as the event that told of it.
        live = sighting.live and (before is not None or attempt.revision == 1)
        created = await self._archive.create(
            records.new_record(deployment, attempt, sighting.at if live else None)
        )
        name = created["metadata"]["name"]
        status = status_of(created) or records.first_status(
            deployment, attempt, sighting.at, live=live
        )
        target.record = await self._archive.write(created, status)
        target.pod_template_hash = attempt.current.pod_template_hash if attempt.current else None
        if before is not None:
            ended = status_of(before)
            if not records.is_closed(ended) or records.is_rolled_back(ended):
                await self._archive.supersede(
                    before, name, status["startedAt"], list(target.pods.values())
                )
            await self._archive.add_missed(deployment, before, revisions, attempt.digest)
        target.forget_gone_pods()
        await self._post(target, api.REASON_ROLLOUT_STARTED, f"{attempt.kind}, see {name}")
        await self._archive.expire(target.namespace, target.name)

    async def _advance(self, target: Target) -> None:
        record = target.record
        assert record is not None  # _reconcile has just opened it.
        if target.pod_template_hash is None:
            wanted = record["spec"]["templateHash"]
            for revision in await self._revisions(target):
                if revision.digest == wanted:
                    target.pod_template_hash = revision.pod_template_hash
        before = status_of(record)
        after = records.advance_record(
            before,
            target.deployment,
            target.pods.values(),
            target.pod_template_hash,
            target.state_seen.at,
            live=target.state_seen.live,
        )
        if after == before:
            if records.is_closed(after) and (
                after["outcome"] != api.OUTCOME_FAILED or records.has_recovered(after)
            ):
                # Autoscaled for months without a release, they would gather here.
                target.forget_gone_pods()
            return
        target.record = await self._archive.write(record, after)
        if records.is_closed(after) and not records.is_closed(before):
            await self._announce(target, after)
            if after["outcome"] != api.OUTCOME_FAILED:
                target.forget_gone_pods()

    async def _end(self, target: Target, now: datetime) -> None:
        record = target.record
        if record is None or records.is_closed(status_of(record)):
            return
        status = {**status_of(record), **records.newest_pods(list(target.pods.values()))}
        at = with_milliseconds(now)
        if target.deleted:
            reason, text = api.REASON_TARGET_DELETED, "the Deployment was deleted"
            outcome = api.OUTCOME_DELETED
        else:
            reason, text = api.REASON_NOT_WATCHED, f"the label {api.RECORD_LABEL} was removed"
            outcome = api.OUTCOME_UNKNOWN
        closed = records.close_record(status, outcome, reason, text, at)
        target.record = await self._archive.write(record, closed)

    async def _announce(self, target: Target, status: dict[str, Any]) -> None:
        assert target.record is not None  # It has just been written.
        failed = status["outcome"] == api.OUTCOME_FAILED
        reason = api.REASON_ROLLOUT_FAILED if failed else api.REASON_ROLLOUT_COMPLETED
        text = (
            f"{status['message']} ({status['duration']}), see {target.record['metadata']['name']}"
        )
        await self._post(target, reason, text, warning=failed)

    async def _post(
        self, target: Target, reason: str, message: str, *, warning: bool = False
    ) -> None:
        about = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": target.deployment["metadata"],
        }
        logger.info("%s %s/%s: %s", reason, target.namespace, target.name, message)
        try:
            await self._cluster.post_event(dict(about), reason, message, warning=warning)
        except ClusterError as error:
            # An Event is a courtesy; the record is what counts.
            logger.warning("event %s: %s", reason, error)

    async def _pods(self, target: Target) -> list[Json]:
        found = await self._cluster.list_pods(target.namespace, _selector(target.deployment))
        return [pod for pod in found if deployment_of_pod(pod) == target.name]

    async def _revisions(self, target: Target) -> list[Revision]:
        found = await self._cluster.list_replica_sets(
            target.namespace, _selector(target.deployment)
        )
        return owned_revisions(found, target.uid)


def _version(deployment: Json) -> str:
    return str(deployment["metadata"].get("resourceVersion", ""))


def _selector(deployment: Json) -> dict[str, str]:
    # matchExpressions would need another syntax; matchLabels alone finds a
    # superset, and owners and names decide.
    return dict(deployment["spec"]["selector"].get("matchLabels") or {})
