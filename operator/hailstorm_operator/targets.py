"""
One recorded Deployment in memory: its latest object, its pods, its last record.

Memory is a cache of the API and of what the watches have shown since; losing
all of it loses no record. Watch events land here and return at once, the
ledger's worker for the target does the rest.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from hailstorm_operator import api
from hailstorm_operator.records import is_available
from hailstorm_operator.templates import template_digest
from hailstorm_operator.timelines import Timeline, end_pod, observe_pod

Json = Mapping[str, Any]
Key = tuple[str, str]


@dataclass(frozen=True)
class Sighting:
    """A Deployment's object, when it was first seen so, and whether by a watch."""

    deployment: Json
    at: datetime
    live: bool


@dataclass
class Target:
    """What is known of one Deployment. Not shared between threads."""

    namespace: str
    name: str
    latest: Sighting
    deleted: bool = False
    released: bool = False
    loaded: bool = False
    record: dict[str, Any] | None = None
    pod_template_hash: str | None = None
    pods: dict[str, Timeline] = field(default_factory=dict)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    templates: deque[Sighting] = field(default_factory=deque)
    _available: Sighting | None = None
    _digest: str = ""
    _suspects: dict[str, datetime] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._note(self.latest)

    @property
    def deployment(self) -> Json:
        """The newest object of the Deployment."""
        return self.latest.deployment

    @property
    def state_seen(self) -> Sighting:
        """When the present state was first seen: available since then, else just now."""
        return self._available or self.latest

    @property
    def uid(self) -> str:
        """Identity of the Deployment object; a new one may take its name."""
        return str(self.deployment["metadata"]["uid"])

    def show_deployment(self, sighting: Sighting) -> None:
        """Take the newest object, from a watch event or from a listing."""
        if sighting.deployment["metadata"]["uid"] != self.uid:
            # Deleted and made anew under the same name: nothing known holds.
            self.record, self.pod_template_hash, self.loaded = None, None, False
            self.pods.clear()
            self.templates.clear()
            self._digest = ""
        self._note(sighting)

    def _note(self, sighting: Sighting) -> None:
        before, self.latest = self.latest, sighting
        generation = sighting.deployment["metadata"].get("generation")
        if not self._digest or before.deployment["metadata"].get("generation") != generation:
            digest = template_digest(sighting.deployment["spec"]["template"])
            if digest != self._digest:
                # Each template is an attempt, even when the next one is already here.
                self.templates.append(sighting)
                self._digest, self._available = digest, None
                self.changed.set()
        if not is_available(sighting.deployment):
            self._available = None
        elif self._available is None:
            self._available = sighting
        self.wake.set()

    def show_pod(self, pod: Json, seen: datetime, *, deleted: bool, live: bool) -> None:
        """Take a watch event of a pod; `live` is False for the first listing of a watch."""
        name = pod["metadata"]["name"]
        before = self.pods.get(name)
        if before is not None and "gone" in before:
            return
        line = observe_pod(before, pod, seen if live else None)
        self.pods[name] = end_pod(line, seen, live=live) if deleted else line
        self._suspects.pop(name, None)
        self.wake.set()

    def list_pods(self, pods: Iterable[Json], asked_at: datetime) -> int:
        """
        Compare with a listing that was asked for at `asked_at`.

        Returns how many pods a watch should have told of and did not. One that is
        missing for the second time is gone: its DELETED event is not on its way.
        """
        listed = {pod["metadata"]["name"]: pod for pod in pods}
        unreported = 0
        for name, pod in listed.items():
            self.pods[name] = observe_pod(self.pods.get(name), pod, None)
        for name, line in self.pods.items():
            if name in listed or "gone" in line:
                self._suspects.pop(name, None)
            elif name in self._suspects:
                self.pods[name] = end_pod(line, self._suspects.pop(name), live=False)
                unreported += 1
            else:
                self._suspects[name] = asked_at
        return unreported

    def resume_pods(self, lines: Iterable[Timeline], pods: Iterable[Json], now: datetime) -> None:
        """Take up the timelines of an open record after a restart; who is missing is gone."""
        listed = {pod["metadata"]["name"]: pod for pod in pods}
        for line in lines:
            name = line["name"]
            merged = {**self.pods.get(name, {}), **line}
            if name not in listed and "gone" not in merged:
                merged = end_pod(merged, now, live=False)
            self.pods[name] = merged
        for name, pod in listed.items():
            self.pods[name] = observe_pod(self.pods.get(name), pod, None)

    def forget_gone_pods(self) -> None:
        """Drop the pods that no later record is about."""
        self.pods = {name: line for name, line in self.pods.items() if "gone" not in line}


def deployment_of_pod(pod: Json) -> str | None:
    """
    Name of the Deployment a pod belongs to, from the names Kubernetes gives.

    A ReplicaSet is called <deployment>-<pod-template-hash>; following the owners
    through the API would cost a call for each pod.
    """
    metadata = pod["metadata"]
    template_hash = (metadata.get("labels") or {}).get(api.POD_TEMPLATE_HASH_LABEL)
    for owner in metadata.get("ownerReferences") or []:
        suffix = f"-{template_hash}"
        if owner.get("kind") == "ReplicaSet" and owner["name"].endswith(suffix):
            return str(owner["name"].removesuffix(suffix))
    return None
