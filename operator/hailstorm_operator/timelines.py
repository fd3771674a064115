"""
The life of one pod: created, scheduled, started, ready, terminating, gone.

Each moment is written once, from the first thing that tells of it. Where the
API stamps it, the stamp is the truth and a watch event of the same second adds
the fraction. Where only the watch could have told and nobody was watching, the
moment is written as "by then at the latest" and its name is put in `late`.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from hailstorm_operator import api
from hailstorm_operator.timestamps import parse_time, whole_seconds, with_milliseconds, witnessed

Json = Mapping[str, Any]
Timeline = dict[str, Any]

# Every pod goes through these; they explain nothing.
ORDINARY_WAITS: Final = frozenset({"ContainerCreating", "PodInitializing"})
# Bounds the size of a record; a message of the kubelet can run to kilobytes.
MAX_DETAIL_LENGTH: Final = 200
MAX_REASONS: Final = 8


def observe_pod(before: Timeline | None, pod: Json, seen: datetime | None) -> Timeline:
    """
    Bring a pod's timeline up to what its object says.

    `seen` is when a watch delivered the object, None when it was listed. A
    moment that is already written stays, so observing twice changes nothing.
    """
    metadata, status = pod["metadata"], pod.get("status") or {}
    line: Timeline = dict(before or {})
    line.setdefault("name", metadata["name"])
    line.setdefault("hash", (metadata.get("labels") or {}).get(api.POD_TEMPLATE_HASH_LABEL, ""))
    node = (pod.get("spec") or {}).get("nodeName")
    if node:
        line["node"] = node
    if status.get("podIP"):
        # Failures are put to pods by it.
        line["address"] = status["podIP"]
    for moment, stamp in _stamps(metadata, status):
        if moment not in line:
            line[moment] = witnessed(stamp, seen)
    if "terminating" not in line and metadata.get("deletionTimestamp"):
        _observe_deletion(line, metadata, seen)
    restarts = sum(int(one.get("restartCount", 0)) for one in status.get("containerStatuses") or [])
    line["restarts"] = max(int(line.get("restarts", 0)), restarts)
    _observe_troubles(line, pod, status)
    return line


def end_pod(before: Timeline, seen: datetime, *, live: bool) -> Timeline:
    """The pod is gone: now, if a watch said so, else by now at the latest."""
    if "gone" in before:
        return before
    if live:
        return {**before, "gone": with_milliseconds(seen)}
    return {**before, "gone": whole_seconds(seen), "late": [*before.get("late", []), "gone"]}


def _stamps(metadata: Json, status: Json) -> Iterator[tuple[str, str]]:
    yield "created", metadata["creationTimestamp"]
    conditions = {one["type"]: one for one in status.get("conditions") or []}
    for moment, kind in (("scheduled", "PodScheduled"), ("ready", "Ready")):
        condition = conditions.get(kind) or {}
        if condition.get("status") == "True" and condition.get("lastTransitionTime"):
            yield moment, condition["lastTransitionTime"]
    started: list[str] = [
        ((one.get("state") or {}).get("running") or {}).get("startedAt") or ""
        for one in status.get("containerStatuses") or []
    ]
    if started and all(started):
        yield "started", max(started)


def _observe_deletion(line: Timeline, metadata: Json, seen: datetime | None) -> None:
    grace = int(metadata.get("deletionGracePeriodSeconds") or 0)
    asked = parse_time(metadata["deletionTimestamp"]) - timedelta(seconds=grace)
    line["terminating"] = witnessed(whole_seconds(asked), seen)
    if grace == 0:
        # The kubelet's own last step: the request came earlier and was not seen.
        line["late"] = [*line.get("late", []), "terminating"]


def _observe_troubles(line: Timeline, pod: Json, status: Json) -> None:
    reasons: list[str] = list(line.get("reasons", []))
    for reason, detail in _troubles(status, ending="deletionTimestamp" in pod["metadata"]):
        if reason not in reasons and len(reasons) < MAX_REASONS:
            reasons.append(reason)
        if detail:
            line["detail"] = detail[:MAX_DETAIL_LENGTH]
    if reasons:
        line["reasons"] = reasons


def _troubles(status: Json, *, ending: bool) -> Iterator[tuple[str, str]]:
    if status.get("reason"):
        yield status["reason"], status.get("message", "")
    for condition in status.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            yield condition.get("reason", "Unschedulable"), condition.get("message", "")
    for one in [
        *(status.get("initContainerStatuses") or []),
        *(status.get("containerStatuses") or []),
    ]:
        waiting = (one.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") and waiting["reason"] not in ORDINARY_WAITS:
            yield waiting["reason"], waiting.get("message", "")
        ended = (one.get("lastState") or {}).get("terminated") or {}
        if not ended and not ending:
            # A process told to end may exit as it likes; one that was not, may not.
            ended = (one.get("state") or {}).get("terminated") or {}
        if ended.get("reason") and ended["reason"] != "Completed":
            yield ended["reason"], f"exit code {ended.get('exitCode')}"
