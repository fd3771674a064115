"""
The life of every pod during a drill, from raw watch events; pure.

    pending -> starting -> ready <-> unready -> draining -> gone

Draining begins with the deletion, when the process gets its SIGTERM, and ends
with the last container or with the object, whichever is seen first.
"""

import bisect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from hailstorm_operator import api

PENDING: Final = "pending"
STARTING: Final = "starting"
READY: Final = "ready"
UNREADY: Final = "unready"
DRAINING: Final = "draining"
GONE: Final = "gone"
PHASES: Final = (PENDING, STARTING, READY, UNREADY, DRAINING, GONE)
# Before the first event of the pod, or of no pod at all.
UNATTRIBUTED: Final = "unattributed"

COMPONENT_LABEL: Final = "app.kubernetes.io/component"
VERSION_LABEL: Final = "app.kubernetes.io/version"
HASH_LABEL: Final = "pod-template-hash"
# Warm spares are a component of their own, whose labels they have while they serve:
# they come and go beside the replicas, by another template.
SPARE_SUFFIX: Final = "-spare"


@dataclass(frozen=True)
class PodLife:
    """One pod: who it was, and when it entered which phase (epoch seconds)."""

    name: str
    component: str
    version: str
    template_hash: str
    node: str
    ip: str
    changes: tuple[tuple[float, str], ...]

    def phase_at(self, moment: float) -> str | None:
        """The phase at that moment; None before the pod was first seen."""
        index = bisect.bisect_right([at for at, _ in self.changes], moment) - 1
        return self.changes[index][1] if index >= 0 else None

    def first(self, phase: str) -> float | None:
        """When the pod first entered the phase."""
        return next((at for at, name in self.changes if name == phase), None)

    @property
    def is_gone(self) -> bool:
        """Whether it went away while it was watched."""
        return self.changes[-1][1] == GONE

    def spans(self, end: float) -> list[tuple[float, float, str]]:
        """(from, to, phase) of each stretch up to `end`; gone is no stretch."""
        edges = [*(at for at, _ in self.changes[1:]), end]
        return [
            (at, until, phase)
            for (at, phase), until in zip(self.changes, edges, strict=True)
            if phase != GONE and until > at
        ]


def phase_of(event_type: str, pod: Mapping[str, Any], was: str | None) -> str:
    """The phase that an event puts the pod in, given the one before."""
    if event_type == "DELETED" or was == GONE:
        return GONE
    metadata, status = pod["metadata"], pod.get("status", {})
    containers = status.get("containerStatuses", [])
    if metadata.get("deletionTimestamp"):
        ended = bool(containers) and all("terminated" in c.get("state", {}) for c in containers)
        return GONE if ended else DRAINING
    conditions = {c["type"]: c["status"] for c in status.get("conditions", [])}
    if conditions.get("Ready") == "True":
        return READY
    if was in (READY, UNREADY):
        return UNREADY
    if any("running" in c.get("state", {}) for c in containers):
        return STARTING
    return PENDING


def read_lives(events: Iterable[Mapping[str, Any]]) -> list[PodLife]:
    """The lives of all pods of a watch's events, in order of appearance."""
    known: dict[str, dict[str, Any]] = {}
    for event in events:
        if event["type"] not in ("ADDED", "MODIFIED", "DELETED"):
            continue
        pod = event["object"]
        metadata, status = pod["metadata"], pod.get("status", {})
        # A StatefulSet's pod comes back under its old name; the uid is its own.
        life = known.setdefault(
            metadata["uid"], {"changes": [], "name": metadata["name"], "ip": "", "node": ""}
        )
        labels = metadata.get("labels", {})
        life["component"] = component_of_labels(labels)
        life["version"] = labels.get(VERSION_LABEL, "")
        life["hash"] = labels.get(HASH_LABEL, "")
        life["ip"] = status.get("podIP") or life["ip"]
        life["node"] = pod.get("spec", {}).get("nodeName") or life["node"]
        changes = life["changes"]
        was = changes[-1][1] if changes else None
        phase = phase_of(event["type"], pod, was)
        if phase != was:
            changes.append((event["at"], phase))
    return [
        PodLife(
            life["name"],
            life["component"],
            life["version"],
            life["hash"],
            life["node"],
            life["ip"],
            tuple(life["changes"]),
        )
        for life in known.values()
    ]


def component_of_labels(labels: Mapping[str, str]) -> str:
    """The component of a pod with these labels; of a spare, serving or not, the spares'."""
    spare_of = labels.get(api.SPARE_OF_LABEL)
    return f"{spare_of}{SPARE_SUFFIX}" if spare_of else labels.get(COMPONENT_LABEL, "")


def pod_at(lives: Iterable[PodLife], ip: str, moment: float) -> PodLife | None:
    """
    Whose address that was at that moment.

    Addresses are used again, so the latest life that had begun by then counts,
    even when it had ended shortly before: a call can hit what has just gone.
    """
    candidates = [life for life in lives if life.ip == ip and life.phase_at(moment) is not None]
    return max(candidates, key=lambda life: life.changes[0][0], default=None)
