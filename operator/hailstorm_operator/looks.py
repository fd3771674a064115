"""
What a gate reads of its target: the API's own answers, asked for when something changed.

A decision rests on what the API server says and not on a watch, which may be late or
dead without a sound. But while a release is held next to nothing changes, and asking
for everything at each look was 36 % of all requests of a cluster that rolled three
Deployments (its apiserver_request_total). So a watch event says that an answer is
old, and one that no event has made old is asked for again after `trust_seconds`.

Whoever writes on the ground of an answer sends its resourceVersion along: too old a
Deployment is refused, and `forget` makes the next look a fresh one.
"""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar

from hailstorm_operator import api
from hailstorm_operator.cluster import Cluster

Json = Mapping[str, Any]
T = TypeVar("T")

# How much later a gate may be whose watch is dead: four of its looks (a guess).
TRUST_SECONDS: Final = 2.0


class _Kept(Generic[T]):
    """One answer, and until when it may be used again."""

    def __init__(self, trust_seconds: float, clock: Callable[[], float]) -> None:
        self._trust_seconds = trust_seconds
        self._clock = clock
        self._changes = 0
        self._kept: tuple[T, Any, float] | None = None

    def forget(self) -> None:
        """It is old, and so is one that has been asked for and has not come yet."""
        self._changes += 1
        self._kept = None

    async def get(self, ask: Callable[[], Awaitable[T]], of: Any = None) -> T:
        """The answer kept for `of`, or a new one."""
        kept, now = self._kept, self._clock()
        if kept is not None and kept[1] == of and now - kept[2] < self._trust_seconds:
            return kept[0]
        changes = self._changes
        answer = await ask()
        if changes == self._changes:
            self._kept = (answer, of, now)
        return answer


class Looks:
    """The Deployment, ReplicaSets and pods of one target. Raises what the cluster raises."""

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        name: str,
        trust_seconds: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`trust_seconds` is 0 where no watch tells of changes: then nothing is kept."""
        self._cluster = cluster
        self._namespace = namespace
        self._name = name
        self._deployment: _Kept[Json] = _Kept(trust_seconds, clock)
        self._replica_sets: _Kept[Sequence[Json]] = _Kept(trust_seconds, clock)
        self._pods: _Kept[Sequence[Json]] = _Kept(trust_seconds, clock)

    def deployment_changed(self) -> None:
        """A watch has shown the Deployment, or it was written."""
        self._deployment.forget()

    def pods_changed(self) -> None:
        """A watch has shown a pod of the target."""
        self._pods.forget()

    def forget(self) -> None:
        """Nothing is trusted: the next look asks for all."""
        for kept in (self._deployment, self._replica_sets, self._pods):
            kept.forget()

    async def deployment(self) -> Json:
        """The Deployment. Raises NotFoundError."""
        return await self._deployment.get(
            lambda: self._cluster.get_deployment(self._namespace, self._name)
        )

    async def replica_sets(self, deployment: Json) -> Sequence[Json]:
        """ReplicaSets that its selector finds; its controller writes the revision after them."""
        metadata, status = deployment["metadata"], deployment.get("status") or {}
        notes = metadata.get("annotations") or {}
        state = (
            metadata.get("uid"),
            metadata.get("generation"),
            status.get("observedGeneration"),
            notes.get(api.REVISION_ANNOTATION),
        )
        labels = _labels(deployment)
        return await self._replica_sets.get(
            lambda: self._cluster.list_replica_sets(self._namespace, labels), state
        )

    async def pods(self, deployment: Json) -> Sequence[Json]:
        """Pods that its selector finds, those of other owners among them."""
        labels = _labels(deployment)
        return await self._pods.get(
            lambda: self._cluster.list_pods(self._namespace, labels), tuple(sorted(labels.items()))
        )


def _labels(deployment: Json) -> dict[str, str]:
    return dict(deployment["spec"]["selector"].get("matchLabels") or {})
