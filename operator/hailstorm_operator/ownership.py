"""
Who else owns the replicas of a target: what the watches say, once a listing stands behind it.

A watch tells of the objects one after the other, so an operator that has just come
cannot tell "nobody" from "not told yet"; and its first decision may write, since the
bounds of a spec need no signal. So the autoscalers and ServiceScalers of a namespace
are listed before anything is decided in it.

    Unknown ── both listings answered ──► Known (the watches go on from there)
       └──── refused: asked again after RETRY_SECONDS; nothing is written ────┘
"""

import asyncio
import time
from typing import Final

from hailstorm_operator import api
from hailstorm_operator.cluster import Cluster, ClusterError
from hailstorm_operator.inventory import Inventory

# As for a status that was refused: soon, but not with every poll.
RETRY_SECONDS: Final = 2.0


class Ownership:
    """One for all scalers: a namespace is listed once, however many of them it has."""

    def __init__(self, cluster: Cluster, inventory: Inventory) -> None:
        self._cluster = cluster
        self._inventory = inventory
        self._known: set[str] = set()
        self._listing: dict[str, asyncio.Lock] = {}
        # By namespace: what was said last, and when to ask again (monotonic seconds).
        self._refusals: dict[str, tuple[str, float]] = {}

    async def conflict(self, namespace: str, scaler: str, target: str) -> tuple[str, str] | None:
        """
        Who else owns the target's replicas: (reason, message), or None for nobody.

        Until it is known, that is the reason. Never raises ClusterError.
        """
        if namespace not in self._known:
            problem = await self._learn(namespace)
            if problem:
                text = f"it is not known yet who else scales {target}: {problem}"
                return api.REASON_OWNERS_UNKNOWN, f"{text}; replicas stay as they are"
        return self._inventory.conflict(namespace, scaler, target)

    async def resync(self, namespace: str) -> None:
        """List the owners of a namespace, since a watch can die without a sound. ClusterError."""
        autoscalers = await self._cluster.list_autoscalers(namespace)
        scalers = await self._cluster.list_scalers(namespace)
        self._inventory.replace_autoscalers(namespace, autoscalers)
        self._inventory.replace_scalers(namespace, scalers)
        self._known.add(namespace)
        self._refusals.pop(namespace, None)

    async def _learn(self, namespace: str) -> str:
        """Why the owners are not known, "" when they are."""
        # Loops begin together; one of them asks and the others take its answer.
        async with self._listing.setdefault(namespace, asyncio.Lock()):
            if namespace in self._known:
                return ""
            problem, retry_at = self._refusals.get(namespace, ("", 0.0))
            if time.monotonic() < retry_at:
                return problem
            try:
                await self.resync(namespace)
            except ClusterError as error:
                problem = str(error)[:300]
                self._refusals[namespace] = (problem, time.monotonic() + RETRY_SECONDS)
                return problem
            return ""
