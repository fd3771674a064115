"""
Where records are written, closed, tidied and let go.

Every write is conditional on the version that was read, so a second writer is
noticed. What an operator that was killed between two writes has left undone is
finished here by the next one.
"""

from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import Any

from hailstorm_operator import api, metrics, records, triggers
from hailstorm_operator.cluster import Cluster, ConflictError, NotFoundError
from hailstorm_operator.replicasets import Revision
from hailstorm_operator.timelines import Timeline
from hailstorm_operator.timestamps import whole_seconds

Json = records.Json
Record = dict[str, Any]
Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


def status_of(record: Json) -> dict[str, Any]:
    """Status of a record; one that was just created has none."""
    status: dict[str, Any] = record.get("status") or {}
    return status


class Archive:
    """RolloutRecords in the API. Methods raise ClusterError; all may be repeated."""

    def __init__(
        self,
        cluster: Cluster,
        history_limit: int,
        namespaces: Sequence[str] = (),
        clock: Clock = utc_now,
    ) -> None:
        self._cluster = cluster
        self._history_limit = history_limit
        # No name stands for all of them.
        self._namespaces: Sequence[str | None] = namespaces or (None,)
        self._clock = clock

    async def create(self, body: Record) -> Record:
        """Create a record, or find the one that an earlier try has created."""
        metadata = body["metadata"]
        try:
            return await self._cluster.create_record(metadata["namespace"], body)
        except ConflictError:
            return await self._cluster.get_record(metadata["namespace"], metadata["name"])

    async def write(self, record: Json, status: dict[str, Any]) -> Record:
        """Write a status; label the record when that closes it. Returns it as it is now."""
        metadata = record["metadata"]
        written = await self._cluster.set_record_status(
            metadata["namespace"], metadata["name"], status, metadata["resourceVersion"]
        )
        if records.is_closed(status) and api.OUTCOME_LABEL not in metadata.get("labels", {}):
            labels: dict[str, str | None] = {api.OUTCOME_LABEL: status["outcome"]}
            if status["outcome"] != api.OUTCOME_UNKNOWN:
                # One that nobody watched has no beginning and no end to look between.
                labels[api.TRAFFIC_LABEL] = api.TRAFFIC_PENDING
            written = await self._cluster.label_record(
                metadata["namespace"], metadata["name"], labels
            )
        if records.is_closed(status) and not records.is_closed(status_of(record)):
            _count(record, status)
        return written

    async def awaiting_traffic(self) -> list[Record]:
        """Closed records whose traffic is not written yet."""
        found: list[Record] = []
        for namespace in self._namespaces:
            found += await self._cluster.list_records(
                namespace, {api.TRAFFIC_LABEL: api.TRAFFIC_PENDING}
            )
        return found

    async def of_target(self, record: Json) -> list[Record]:
        """Every record of the same Deployment object."""
        uid = record["spec"]["targetRef"]["uid"]
        return await self._cluster.list_records(
            record["metadata"]["namespace"], {api.TARGET_UID_LABEL: uid}
        )

    async def mark_settled(self, record: Json) -> None:
        """The record's traffic is written."""
        metadata = record["metadata"]
        await self._cluster.label_record(
            metadata["namespace"], metadata["name"], {api.TRAFFIC_LABEL: None}
        )

    async def newest(self, namespace: str, target_uid: str) -> Record | None:
        """The last attempt's record of a Deployment; older ones left open are closed."""
        found = await self._cluster.list_records(namespace, {api.TARGET_UID_LABEL: target_uid})
        newest = records.newest_record(found, target_uid)
        if newest is None:
            return None
        for record in found:
            if record is newest or api.OUTCOME_LABEL in record["metadata"].get("labels", {}):
                continue
            at = whole_seconds(self._clock())
            await self.supersede(record, newest["metadata"]["name"], at, (), late=True)
        is_labelled = api.OUTCOME_LABEL in newest["metadata"].get("labels", {})
        if records.is_closed(status_of(newest)) and not is_labelled:
            # The operator died between closing it and labelling it.
            return await self.write(newest, status_of(newest))
        return dict(newest)

    async def supersede(
        self,
        record: Json,
        successor: str,
        at: str,
        pods: Collection[Timeline],
        *,
        late: bool = False,
    ) -> None:
        """
        Close a record because a newer template took over.

        One that a policy took back has its outcome; it learns what became of its pods so
        far, since no later record is about those that are gone by now.
        """
        try:
            await self._supersede(record, successor, at, pods, late=late)
        except ConflictError:
            # The gate has written its verdict meanwhile: that is what counts.
            metadata = record["metadata"]
            newest = await self._cluster.get_record(metadata["namespace"], metadata["name"])
            await self._supersede(newest, successor, at, pods, late=late)

    async def _supersede(
        self, record: Json, successor: str, at: str, pods: Collection[Timeline], *, late: bool
    ) -> None:
        before = status_of(record)
        lines = {line["name"]: line for line in before.get("pods", [])}
        lines |= {
            line["name"]: records.keep_served(lines.get(line["name"], {}), line) for line in pods
        }
        status = {"startedAt": at, **before, "pods": list(lines.values())[-records.MAX_PODS :]}
        if records.is_rolled_back(status):
            closed = records.close_rolled_back(status)
            await self.write(record, {**closed, "supersededBy": successor})
            return
        closed = records.close_record(
            status,
            api.OUTCOME_SUPERSEDED,
            api.REASON_ROLLOUT_SUPERSEDED,
            f"a newer template took its place, see {successor}",
            at,
            late=late,
        )
        await self.write(record, {**closed, "supersededBy": successor})

    async def add_missed(
        self, deployment: Json, after: Json, revisions: list[Revision], current_digest: str
    ) -> None:
        """Attempts that came and went while nobody watched: that they were, not how."""
        last = int(status_of(after).get("revision", after["spec"]["revision"]))
        for missed in triggers.missed_revisions(last, revisions, current_digest):
            past = _as_it_was(deployment, missed)
            known = [one for one in revisions if one.number <= missed.number]
            attempt = triggers.identify_attempt(past, known)
            created = await self.create(records.new_record(past, attempt, None))
            now = self._clock()
            closed = records.close_record(
                status_of(created) or records.first_status(past, attempt, now, live=False),
                api.OUTCOME_UNKNOWN,
                api.REASON_NOT_WATCHED,
                "rolled while the operator was away; only its ReplicaSet tells of it",
                whole_seconds(now),
                late=True,
            )
            await self.write(created, closed)

    async def expire(self, namespace: str, target: str) -> None:
        """Delete the oldest closed records beyond the limit."""
        found = await self._cluster.list_records(namespace, {api.TARGET_LABEL: target[:63]})
        # The label is cut; another Deployment's records are not counted.
        own = [one for one in found if one["spec"]["targetRef"]["name"] == target]
        for record in records.expired_records(own, self._history_limit):
            try:
                await self._cluster.delete_record(namespace, record["metadata"]["name"])
            except NotFoundError:
                continue

    async def close_orphans(self, watched_uids: set[str]) -> None:
        """Close open records whose Deployment went away while nobody watched."""
        for namespace in self._namespaces:
            for record in await self._cluster.list_records(namespace, f"!{api.OUTCOME_LABEL}"):
                if record["spec"]["targetRef"]["uid"] not in watched_uids:
                    await self._close_orphan(record)

    async def _close_orphan(self, record: Json) -> None:
        ref = record["spec"]["targetRef"]
        try:
            found = await self._cluster.get_deployment(record["metadata"]["namespace"], ref["name"])
            if found["metadata"]["uid"] == ref["uid"]:
                return
        except NotFoundError:
            pass
        at = whole_seconds(self._clock())
        closed = records.close_record(
            {"startedAt": at, **status_of(record)},
            api.OUTCOME_DELETED,
            api.REASON_TARGET_DELETED,
            "the Deployment was deleted while nobody watched",
            at,
            late=True,
        )
        await self.write(record, closed)


def _as_it_was(deployment: Json, revision: Revision) -> Record:
    """The Deployment with an earlier template; what else it was then, nobody knows."""
    return {
        **deployment,
        "metadata": {
            **deployment["metadata"],
            "generation": 0,
            "annotations": {},
            "managedFields": [],
        },
        "spec": {**deployment["spec"], "template": revision.template},
    }


def _count(record: Json, status: Json) -> None:
    namespace, target = record["metadata"]["namespace"], record["spec"]["targetRef"]["name"]
    kind, outcome = record["spec"]["trigger"]["kind"], status["outcome"]
    metrics.ROLLOUTS.labels(namespace, target, kind, outcome).inc()
    if "durationSeconds" in status:
        metrics.ROLLOUT_SECONDS.labels(namespace, target, outcome).observe(
            status["durationSeconds"]
        )
