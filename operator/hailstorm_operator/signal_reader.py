"""
The signal of one ServiceScaler: finds its sources, asks them, and judges the answers.

Which sources there are comes from the watches (the edge's EndpointSlices, or the
target's pods); what they say, from themselves.
"""

import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Protocol

import aiohttp

from hailstorm_operator import api
from hailstorm_operator.cluster import Cluster, ClusterError
from hailstorm_operator.inventory import Inventory, Json
from hailstorm_operator.pod_loads import read_pod_loads
from hailstorm_operator.shedding import Shedding
from hailstorm_operator.signals import MAX_AGE_SECONDS, Reading, Source, combine
from hailstorm_operator.sources import SourceReader, question_of
from hailstorm_operator.spare_template import spare_name
from hailstorm_operator.specs import EdgeSignal, ScalerSpec


class SourcePod(Protocol):
    """An Envoy or a pod of the target."""

    @property
    def name(self) -> str:
        """As people know it."""

    @property
    def address(self) -> str:
        """Where it is asked."""

    @property
    def ready(self) -> bool:
        """Whether it is called."""

    @property
    def leaving(self) -> bool:
        """Whether it is on its way out."""


class SignalReader:
    """Asks once a poll. `resync` and `pod_loads` raise ClusterError."""

    def __init__(
        self,
        namespace: str,
        spec: ScalerSpec,
        cluster: Cluster,
        inventory: Inventory,
        session: aiohttp.ClientSession,
    ) -> None:
        self._namespace = namespace
        self._target = spec.target.name
        self._signal = spec.signal
        self._cluster = cluster
        self._inventory = inventory
        self._session = session
        self._reader = SourceReader(session, question_of(spec.signal))
        self._shedding = Shedding(spec.behavior.fast_window_seconds)
        self._known: set[str] = set()
        self._problem = ""

    async def ask(self) -> list[SourcePod]:
        """Ask every source, and wait a moment; `read` then gives what has come."""
        pods = await self._pods()
        addresses = {pod.address for pod in pods}
        await self._reader.poll(addresses)
        self._shedding.forget(self._known - addresses)
        self._known = addresses
        return pods

    def read(self, pods: list[SourcePod], now: float, idle: Collection[str] = ()) -> Reading:
        """The signal as of now (epoch seconds). `idle` names the spares that wait."""
        names = {pod.address: pod.name for pod in pods}
        sources = [
            Source(pod.address, optional=pod.name in idle or self._may_be_silent(pod))
            for pod in pods
        ]
        reading = combine(sources, self._reader.samples, now)
        stats = {
            address: sample.stats
            for address in reading.answered
            if (sample := self._reader.samples[address]).stats is not None
        }
        if stats:
            self._shedding.add(now, {name: one for name, one in stats.items() if one is not None})
        return replace(
            reading,
            answered={names[address]: value for address, value in reading.answered.items()},
            missing=tuple(
                f"{names[address]} ({self._reader.errors.get(address, 'no answer yet')})"
                for address in reading.missing
            ),
            shed_per_second=self._shedding.per_second(),
            service_seconds=self._shedding.service_seconds(),
            kind="edge" if isinstance(self._signal, EdgeSignal) else "pods",
            problem=self._problem,
        )

    async def resync(self, deployment: Json | None) -> None:
        """List the sources again, since a watch can die without a sound."""
        signal = self._signal
        if isinstance(signal, EdgeSignal):
            place = signal.namespace or self._namespace
            found = await self._cluster.list_endpoint_slices(place, signal.service)
            self._inventory.replace_slices(place, signal.service, found)
        elif deployment is not None:
            labels: Mapping[str, str] = deployment["spec"]["selector"].get("matchLabels") or {}
            pods = await self._cluster.list_pods(self._namespace, labels)
            self._inventory.replace_pods(self._namespace, self._target, pods)

    async def pod_loads(self, addresses: list[str]) -> Mapping[str, float]:
        """Calls in flight by pod address; {} where they are not known."""
        signal = self._signal
        if isinstance(signal, EdgeSignal):
            place = signal.namespace or self._namespace
            envoys = self._inventory.edge_pods(place, signal.service) or []
            return await read_pod_loads(
                self._session, envoys, signal.port, signal.cluster, addresses
            )
        young = time.time() - MAX_AGE_SECONDS
        samples = self._reader.samples
        return {
            address: samples[address].value
            for address in addresses
            if address in samples and samples[address].at >= young
        }

    async def close(self) -> None:
        """Take back the questions that are open."""
        await self._reader.close()

    def _may_be_silent(self, pod: SourcePod) -> bool:
        # Not being ready is no excuse: under too much load a pod fails its probe first
        # and answers nobody then. One that has never answered is still starting.
        return pod.leaving or (not pod.ready and pod.address not in self._reader.samples)

    async def _pods(self) -> list[SourcePod]:
        signal = self._signal
        if not isinstance(signal, EdgeSignal):
            # Calls on a spare in service are demand like any other, and so are the last
            # ones on a spare that has just come out.
            spares = self._inventory.pods_of(self._namespace, spare_name(self._target))
            return [
                *self._inventory.pods_of(self._namespace, self._target),
                *(pod for pod in spares if pod.labels.get(api.SPARE_OF_LABEL) == self._target),
            ]
        place = signal.namespace or self._namespace
        pods = self._inventory.edge_pods(place, signal.service)
        self._problem = ""
        if pods is None:
            try:
                await self.resync(None)
            except ClusterError as error:
                # No signal, which is not the end of the tick: bounds and spares need none.
                self._problem = str(error)[:300]
            pods = self._inventory.edge_pods(place, signal.service) or []
        return list(pods)
