"""
Which ServiceScalers are at work: one loop each, started, replaced and ended here.

Loops are plain tasks and not kopf daemons, because those put finalizers on the
objects, and an object with a finalizer cannot be deleted while the operator is
away.
"""

import asyncio
import logging
from datetime import UTC, datetime
from typing import Any

import aiohttp

from hailstorm_operator import api, metrics
from hailstorm_operator.cluster import Cluster, ClusterError, NotFoundError
from hailstorm_operator.conditions import refused_status
from hailstorm_operator.inventory import Inventory, Json, Key, view_endpoints
from hailstorm_operator.ownership import Ownership
from hailstorm_operator.recorder_client import RecorderClient
from hailstorm_operator.scaler import ScalerLoop
from hailstorm_operator.specs import SpecError, parse_scaler_spec
from hailstorm_operator.targets import deployment_of_pod
from hailstorm_operator.timestamps import whole_seconds

logger = logging.getLogger(__name__)


class Roster:
    """Loops by (namespace, name)."""

    def __init__(
        self,
        cluster: Cluster,
        inventory: Inventory,
        session: aiohttp.ClientSession,
        poll_seconds: float,
        recorder: RecorderClient | None = None,
    ) -> None:
        self._cluster = cluster
        self._inventory = inventory
        self._owners = Ownership(cluster, inventory)
        self._session = session
        self._poll_seconds = poll_seconds
        self._recorder = recorder
        self._loops: dict[Key, tuple[ScalerLoop | None, int, str, asyncio.Task[None]]] = {}
        self._turns: dict[Key, asyncio.Lock] = {}

    async def show_scaler(self, body: dict[str, Any], *, deleted: bool = False) -> None:
        """Take the newest state of a ServiceScaler. Status changes change nothing."""
        key = (body["metadata"]["namespace"], body["metadata"]["name"])
        # The watch and the resync may show one object at once; two that end its old
        # loop together would each start a new one.
        async with self._turns.setdefault(key, asyncio.Lock()):
            await self._take(key, body, deleted=deleted)

    def show_pod(self, pod: Json, *, deleted: bool = False) -> None:
        """Take a watch event of any pod; those of no target are ignored."""
        target, namespace = deployment_of_pod(pod), pod["metadata"]["namespace"]
        for loop, *_ in self._loops.values():
            if loop is not None and (loop.namespace, loop.spec.target.name) == (namespace, target):
                loop.show_pod(pod, deleted=deleted)

    def show_slice(self, body: Json) -> None:
        """Take a watch event of any EndpointSlice; who waits for nobody in it ignores it."""
        service = (body["metadata"].get("labels") or {}).get(api.SERVICE_NAME_LABEL, "")
        if not service:
            return
        endpoints = view_endpoints(body)
        for (namespace, _), (loop, *_) in self._loops.items():
            if loop is not None and namespace == body["metadata"]["namespace"]:
                loop.show_slice(service, endpoints)

    async def _take(self, key: Key, body: dict[str, Any], *, deleted: bool) -> None:
        metadata = body["metadata"]
        if deleted:
            await self._end(key)
            self._inventory.show_scaler(body, deleted=True)
            return
        self._inventory.show_scaler(body)
        generation, uid = int(metadata.get("generation", 0)), str(metadata["uid"])
        known = self._loops.get(key)
        if known is not None and known[2] == uid and known[1] >= generation:
            if known[0] is not None and known[1] == generation:
                # Annotations change without a new generation; a calibration lies in one.
                known[0].body = body
            return
        await self._end(key)
        try:
            spec = parse_scaler_spec(body.get("spec") or {})
        except SpecError as error:
            work = self._refuse(body, str(error))
            loop = None
        else:
            loop = ScalerLoop(
                body,
                spec,
                self._cluster,
                self._inventory,
                self._owners,
                self._session,
                self._poll_seconds,
                self._recorder,
            )
            work = loop.run()
        self._loops[key] = (loop, generation, uid, asyncio.create_task(work, name=f"scaler {key}"))

    async def resync(self) -> None:
        """Read again what the loops rest on, since a watch can die without a sound."""
        for namespace in sorted({namespace for namespace, _ in self._loops}):
            try:
                await self._owners.resync(namespace)
            except ClusterError as error:
                metrics.API_ERRORS.labels("scaler").inc()
                logger.warning("resync of who scales in %s: %s", namespace, error)
        for key, (loop, *_) in list(self._loops.items()):
            try:
                await self._resync(key, loop)
            except ClusterError as error:
                # What one of them may not read is no reason to leave the others out.
                metrics.API_ERRORS.labels("scaler").inc()
                logger.warning("resync of scaler %s/%s: %s", *key, error)

    async def stop(self) -> None:
        """End every loop; what serves goes on serving."""
        for key in list(self._loops):
            await self._end(key)

    async def _resync(self, key: Key, loop: ScalerLoop | None) -> None:
        try:
            body = await self._cluster.get_scaler(*key)
        except NotFoundError:
            gone = {"metadata": {"namespace": key[0], "name": key[1]}}
            await self.show_scaler(gone, deleted=True)
            return
        await self.show_scaler(body)
        if loop is not None:
            await loop.resync()

    async def _end(self, key: Key) -> None:
        known = self._loops.pop(key, None)
        if known is not None:
            known[3].cancel()
            await asyncio.gather(known[3], return_exceptions=True)

    async def _refuse(self, body: Json, problem: str) -> None:
        """Say in the status why an object does nothing. Once: its next generation asks again."""
        metadata = body["metadata"]
        status = refused_status(body, problem, whole_seconds(datetime.now(UTC)))
        try:
            await self._cluster.set_scaler_status(metadata["namespace"], metadata["name"], status)
        except ClusterError as error:
            logger.warning("scaler %s/%s: %s", metadata["namespace"], metadata["name"], error)
