"""
Scaling down in two phases: first say who goes, then that one fewer is wanted.

    (nobody) ── a step down is decided ──► Marked ── its cost is seen ──► (the count
        ▲                                     │        by everybody        is written)
        └────── the decision has changed ─────┘
                (costs are taken off again)

The ReplicaSet takes the pods of the lowest `pod-deletion-cost`. Its controller
reads pods from a watch, as we do, so a count that is written before the cost has
come round may hit any pod. Whatever cannot be written or learnt here never stops
a step: Kubernetes then chooses by its own rules, and the step says so.

Nothing is remembered that is not on the pods: an operator that died leaves a cost
behind, and the next one takes it off or goes on with it.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from hailstorm_operator import api, metrics
from hailstorm_operator.cluster import Cluster, ClusterError
from hailstorm_operator.pod_views import Key, PodView, PodViews
from hailstorm_operator.victims import choose_victims

logger = logging.getLogger(__name__)

# In-flight calls by pod address; {} where they are not known.
Loads = Callable[[list[str]], Awaitable[Mapping[str, float]]]

# A watch shows our own write within milliseconds; five seconds is a lost event.
OBSERVE_SECONDS: Final = 5.0
# How long a pod that was chosen may take to begin to leave, on a busy machine.
LEAVE_SECONDS: Final = 15.0


@dataclass(frozen=True)
class Plan:
    """Who goes when the target has `desired` replicas. Times are monotonic seconds."""

    desired: int
    victims: tuple[str, ...]
    marked_at: float
    written_at: float | None = None


class Shrinking:
    """The two phases for one target. Calls must not overlap."""

    def __init__(self, key: Key, cluster: Cluster, pods: PodViews, loads: Loads) -> None:
        self.plan: Plan | None = None
        self.note = ""
        self._key = key
        self._cluster = cluster
        self._pods = pods
        self._loads = loads
        self._retry_at = 0.0

    @property
    def told(self) -> str:
        """Who leaves, or why Kubernetes chooses, for the Event of a step."""
        if self.plan is not None and self.plan.victims:
            return f"least busy: {', '.join(self.plan.victims)}"
        return self.note or "Kubernetes chooses who leaves"

    async def prepare(self, replicas: int, desired: int) -> bool:
        """
        Whether the count may be written now. Never raises; ask again next tick.

        Marks the victims the first time, then waits until the watch shows the marks.
        """
        plan = self.plan
        if plan is None or plan.desired != desired or plan.written_at is not None:
            plan = self.plan = await self._mark(replicas, desired)
            return not plan.victims
        marked = {
            pod.name
            for pod in self._pods.of(self._key)
            if pod.deletion_cost == api.VICTIM_COST or pod.leaving
        }
        present = {pod.name for pod in self._pods.of(self._key)}
        if set(plan.victims) & present <= marked:
            return True
        if time.monotonic() - plan.marked_at >= OBSERVE_SECONDS:
            self.note = "the chosen pods' cost was not seen in time"
            return True
        return False

    def written(self) -> None:
        """The count was written: the victims are expected to leave."""
        if self.plan is not None:
            self.plan = Plan(
                self.plan.desired, self.plan.victims, self.plan.marked_at, time.monotonic()
            )

    async def tidy(self, *, is_shrinking: bool) -> None:
        """
        Take costs off pods that are no longer to go. Never raises; for every tick.

        They are stale when the decision has changed, when another operator left
        them, and when Kubernetes has taken somebody else.
        """
        plan, now = self.plan, time.monotonic()
        if plan is not None:
            expires = plan.written_at is not None and now - plan.written_at >= LEAVE_SECONDS
            dropped = plan.written_at is None and not is_shrinking
            if expires or dropped:
                plan = self.plan = None
        expected = plan.victims if plan is not None else ()
        stale = [
            pod
            for pod in self._pods.of(self._key)
            if pod.deletion_cost == api.VICTIM_COST and not pod.leaving and pod.name not in expected
        ]
        if not stale or now < self._retry_at:
            return
        # A refusal is tried again, but not twice a second.
        self._retry_at = now + OBSERVE_SECONDS
        await self._write_costs(stale, None)

    async def _mark(self, replicas: int, desired: int) -> Plan:
        self.note = ""
        nobody = Plan(desired, (), time.monotonic())
        try:
            # Listed, since a pod whose end the watch has missed would be chosen again and again.
            target = await self._cluster.get_deployment(*self._key)
            selector = target["spec"]["selector"].get("matchLabels") or {}
            listed = await self._cluster.list_pods(self._key[0], selector)
        except ClusterError as error:
            self.note = f"the pods could not be listed: {error}"
            return nobody
        self._pods.replace(self._key, listed)
        pods = self._pods.of(self._key)
        loads = await self._loads([pod.address for pod in pods if pod.address])
        names = choose_victims(pods, loads, replicas - desired)
        if not names:
            self.note = "nobody knows the calls of each pod, so Kubernetes chooses"
            return nobody
        chosen = [pod for pod in pods if pod.name in names]
        if not await self._write_costs(chosen, api.VICTIM_COST):
            self.note = "the chosen pods could not be marked, so Kubernetes chooses"
            return nobody
        logger.info("to leave %s/%s: %s", *self._key, ", ".join(names))
        return Plan(desired, names, time.monotonic())

    async def _write_costs(self, pods: list[PodView], cost: str | None) -> bool:
        patch = {"metadata": {"annotations": {api.DELETION_COST_ANNOTATION: cost}}}
        answers = await asyncio.gather(
            *(self._cluster.patch_pod(self._key[0], pod.name, patch) for pod in pods),
            return_exceptions=True,
        )
        done = True
        for pod, answer in zip(pods, answers, strict=True):
            if isinstance(answer, ClusterError):
                metrics.API_ERRORS.labels("shrinking").inc()
                logger.warning("cost of %s/%s: %s", self._key[0], pod.name, answer)
                done = False
            elif isinstance(answer, BaseException):
                raise answer
        return done
