"""
One operator at a time: leadership by a Lease, which is its heartbeat too.

    waiting ── nobody leads, or the one who did is proven gone ──► leading
    leading ── a renewal finds another holder, or no Lease ──► lost, for good: the process ends
    leading ── no renewal within BEATS_TO_HOLD beats ──► fenced ── renewed ──► leading

Who is not leading writes nothing: `Cluster` asks `may_write` before every write. A
leader that cannot reach the API server is fenced and not ended: nobody else can
have reached it either, and a restart would lose what memory holds.

No two clocks are compared. `renewTime` is for people; a candidate counts, by its own
monotonic clock, how long the Lease has not changed before its eyes. It need not wait
that long for a holder whose pod no longer exists or has ended: Kubernetes lets one
StatefulSet pod follow another on the same ground.
"""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from hailstorm_operator import metrics
from hailstorm_operator.cluster import (
    IN_CLUSTER_VARIABLE,
    Cluster,
    ClusterError,
    ConflictError,
    NotFoundError,
)

logger = logging.getLogger(__name__)

Json = Mapping[str, Any]

# The operator's own Lease: heartbeat and leadership. Its watch is narrowed to this name.
LEASE_NAME: Final = "hailstorm-operator"
COMPONENT_LABEL: Final = "app.kubernetes.io/component"
COMPONENT: Final = "operator"
# client-go's proportions (15 s, 10 s, 2 s), counted in heartbeats: a Lease lapses after
# three, and its holder stops writing one beat earlier, which is more than the longest
# request takes (cluster.REQUEST_TIMEOUT_SECONDS; hence settings.LEAST_HEARTBEAT_SECONDS).
BEATS_TO_LAPSE: Final = 3
BEATS_TO_HOLD: Final = 2
RETRY_SECONDS: Final = 2.0


class LostError(Exception):
    """Another operator leads now, or nobody does any more; this one must end."""


@dataclass(frozen=True)
class Sight:
    """A Lease as a candidate saw it, and since when it has looked so (monotonic, s)."""

    marks: tuple[str, str, str]
    since: float


def marks_of(lease: Json) -> tuple[str, str, str]:
    """What changes when a Lease is renewed or taken; not its version: anybody may label it."""
    spec = lease.get("spec") or {}
    return (
        holder_of(lease),
        str(spec.get("renewTime", "")),
        str(spec.get("leaseTransitions", 0)),
    )


def holder_of(lease: Json) -> str:
    """Who leads; empty when nobody does."""
    return str((lease.get("spec") or {}).get("holderIdentity") or "")


def look_at(lease: Json, before: Sight | None, now: float) -> Sight:
    """The sight of a Lease: since when it has stood as it stands now."""
    marks = marks_of(lease)
    return before if before is not None and before.marks == marks else Sight(marks, now)


def has_lapsed(lease: Json, sight: Sight, now: float) -> bool:
    """Whether its holder has not renewed it for as long as it promised to."""
    promised = float((lease.get("spec") or {}).get("leaseDurationSeconds") or 0)
    return now - sight.since >= promised


def is_proven_gone(holder: str, me: str, pods: list[Json]) -> bool:
    """
    Whether the pod called `holder` is not among `pods` of the operator, or has ended.

    Never true for a process that runs outside the cluster, and not to be told by one.
    """
    phases = {pod["metadata"]["name"]: (pod.get("status") or {}).get("phase") for pod in pods}
    if me not in phases or not holder.startswith(f"{LEASE_NAME}-"):
        return False
    return phases.get(holder, "Failed") in ("Failed", "Succeeded")


def own_identity(environment: Mapping[str, str]) -> str:
    """The pod's name; outside a cluster something that no pod is called."""
    name = environment.get("HOSTNAME") or socket.gethostname()
    return name if IN_CLUSTER_VARIABLE in environment else f"outside/{name}/{os.getpid()}"


class Leadership:
    """This process as a candidate, leader, or neither any more."""

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        beat_seconds: float,
        me: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._me = me
        self._clock = clock
        self._lapse_seconds = int(beat_seconds * BEATS_TO_LAPSE)
        self._hold_seconds = beat_seconds * BEATS_TO_HOLD
        self._renewed_at: float | None = None
        self._lost = False
        self._sight: Sight | None = None
        # For /readyz: whom this one waits for, or what keeps it from asking.
        self.waits_for = ""
        self.problem = ""

    def may_write(self) -> bool:
        """Whether this process leads, as far as it can know without asking."""
        if self._lost or self._renewed_at is None:
            return False
        return self._clock() - self._renewed_at < self._hold_seconds

    async def acquire(self) -> None:
        """Wait until this process leads. Refusals of the API are logged and asked about again."""
        while True:
            try:
                if await self.attempt():
                    return
            except ConflictError:
                # Another candidate was faster, or the holder has just renewed.
                continue
            except ClusterError as error:
                metrics.API_ERRORS.labels("leadership").inc()
                if str(error) != self.problem:
                    logger.warning("the Lease %s: %s", LEASE_NAME, error)
                self.problem = str(error)
            await asyncio.sleep(RETRY_SECONDS)

    async def attempt(self) -> bool:
        """Look once, and take the Lease when that is allowed. Raises ClusterError."""
        asked_at = self._clock()
        try:
            lease = await self._cluster.get_lease(self._namespace, LEASE_NAME)
        except NotFoundError:
            await self._cluster.create_lease(
                self._namespace, LEASE_NAME, self._spec(transitions=0, acquired=True)
            )
            self._lead(asked_at)
            return True
        self.problem = ""
        holder = holder_of(lease)
        self._sight = look_at(lease, self._sight, asked_at)
        if holder not in ("", self._me):
            gone = has_lapsed(lease, self._sight, asked_at) or is_proven_gone(
                holder, self._me, await self._pods()
            )
            if not gone:
                if self.waits_for != holder:
                    logger.warning(
                        "%s leads; this operator stands by and writes nothing until that one ends",
                        holder,
                    )
                self.waits_for = holder
                return False
        taken = int((lease.get("spec") or {}).get("leaseTransitions") or 0)
        fields = self._spec(transitions=taken + int(holder != self._me), acquired=True)
        # 409 when it has changed since it was read.
        await self._write(fields, str(lease["metadata"]["resourceVersion"]))
        self._lead(asked_at)
        return True

    async def renew(self) -> None:
        """
        Stamp the Lease once. Raises LostError when it is another's or gone, else ClusterError.

        The hold counts from before the question, since the answer may have been slow.
        A Lease that was deleted is not made again here: whoever stands by may just be
        making it. The process ends, and its successor is a candidate like any other.
        """
        asked_at = self._clock()
        try:
            lease = await self._cluster.get_lease(self._namespace, LEASE_NAME)
            holder = holder_of(lease)
            if holder != self._me:
                raise self._lose(f"{holder or 'nobody'} leads now")
            await self._write(self._spec(), str(lease["metadata"]["resourceVersion"]))
        except NotFoundError as error:
            raise self._lose(f"the Lease {LEASE_NAME} was deleted") from error
        self._renewed_at = asked_at

    async def renew_at_last(self) -> None:
        """Renew, asking again until that succeeds. Raises LostError."""
        while True:
            try:
                return await self.renew()
            except ClusterError as error:
                metrics.API_ERRORS.labels("leadership").inc()
                logger.warning("the Lease %s is not renewed: %s", LEASE_NAME, error)
            finally:
                # Fenced is not leading: the hold runs out by the clock, without any event.
                metrics.LEADING.set(self.may_write())
            await asyncio.sleep(RETRY_SECONDS)

    async def release(self) -> None:
        """Let the next one lead at once. Not being able to costs it a wait, no more."""
        if self._lost or self._renewed_at is None:
            return
        self._lost = True
        metrics.LEADING.set(0)
        try:
            lease = await self._cluster.get_lease(self._namespace, LEASE_NAME)
            if holder_of(lease) == self._me:
                await self._write({"holderIdentity": ""}, str(lease["metadata"]["resourceVersion"]))
        except ClusterError as error:
            logger.warning("the Lease %s is not released: %s", LEASE_NAME, error)

    def _lose(self, why: str) -> LostError:
        self._lost = True
        metrics.LEADING.set(0)
        return LostError(why)

    async def _write(self, fields: Json, version: str) -> None:
        await self._cluster.patch_lease(self._namespace, LEASE_NAME, dict(fields), version)

    async def _pods(self) -> list[Json]:
        return list(await self._cluster.list_pods(self._namespace, {COMPONENT_LABEL: COMPONENT}))

    def _lead(self, asked_at: float) -> None:
        self._renewed_at = asked_at
        self.waits_for = self.problem = ""
        metrics.LEADING.set(1)
        logger.info("%s leads", self._me)

    def _spec(self, *, transitions: int | None = None, acquired: bool = False) -> dict[str, Any]:
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        fields: dict[str, Any] = {"renewTime": now}
        if acquired:
            fields |= {
                "holderIdentity": self._me,
                "leaseDurationSeconds": self._lapse_seconds,
                "acquireTime": now,
                "leaseTransitions": transitions,
            }
        return fields
