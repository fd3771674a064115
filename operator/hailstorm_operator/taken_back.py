"""
What became of the pods of a release that a policy took back.

Its record is closed by the verdict, and its pods serve on until the rollback reaches
them, drain, and go. By then the Deployment's next record is open, and that one has seen
it: the ends are taken from there. Pure, so that an operator that was killed meanwhile
arrives at the same.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from hailstorm_operator import api
from hailstorm_operator.records import MAX_PODS, is_rolled_back, order_of
from hailstorm_operator.timelines import Timeline, end_pod
from hailstorm_operator.timestamps import parse_time

Json = Mapping[str, Any]
Status = dict[str, Any]

MOMENTS: Final = (
    "created",
    "scheduled",
    "started",
    "ready",
    "firstCall",
    "terminating",
    "drained",
    "gone",
)


def remaining_pods(status: Json) -> list[str]:
    """Names of the pods of a release that was taken back of which no end is known."""
    if not is_rolled_back(status):
        return []
    return [str(line["name"]) for line in _own(status) if "gone" not in line]


def ended_at(status: Json) -> datetime:
    """When a closed record's attempt was over for its callers: if that is known, with its pods."""
    phases = status.get("phases") or []
    moments = [one["at"] for one in phases if one["phase"] == api.PHASE_TAKEN_BACK]
    return max(parse_time(at) for at in (status["completedAt"], *moments))


def add_ends(record: Json, others: Iterable[Json], now: datetime) -> Status:
    """
    The status of a record that was taken back, with what later records say of its pods.

    `others` are records of the same Deployment object, in any order; `now` is by when a
    pod has gone that none of them ever saw. The phase TakenBack is added once every pod
    of the release is gone.
    """
    status: Status = dict(record["status"])
    uid = record["spec"]["targetRef"]["uid"]
    later = sorted(
        (
            one
            for one in others
            if one["spec"]["targetRef"]["uid"] == uid
            and order_of(one) > order_of(record)
            # One without pods has not looked yet.
            and (one.get("status") or {}).get("pods")
        ),
        key=order_of,
    )
    if not later:
        return status
    lines = {line["name"]: line for line in status.get("pods", [])}
    # Made between the verdict and the rollback, and so in the next record alone.
    for line in later[0]["status"]["pods"]:
        is_own = line.get("hash") == status.get("podTemplateHash")
        began = parse_time(later[0]["status"]["startedAt"])
        if is_own and line["name"] not in lines and parse_time(line["created"]) <= began:
            lines[line["name"]] = line
    seen = set()
    for line in (line for one in later for line in one["status"]["pods"]):
        seen.add(line["name"])
        if line["name"] in lines:
            lines[line["name"]] = _merge(lines[line["name"]], line)
    if not any("podsOmitted" in one["status"] for one in later):
        gone_by = _latest_end(later[0], now)
        for name in lines.keys() - seen:
            lines[name] = end_pod(lines[name], gone_by, live=False)
    status["pods"] = list(lines.values())[-MAX_PODS:]
    return _note_end(status)


def _own(status: Json) -> list[Timeline]:
    template = status.get("podTemplateHash")
    return [line for line in status.get("pods", []) if template and line.get("hash") == template]


def _merge(before: Timeline, line: Timeline) -> Timeline:
    """A timeline with what is newer of it; a moment that is written stays."""
    late = [*before.get("late", []), *(one for one in line.get("late", []) if one not in before)]
    merged: Timeline = {**before, **line}
    for moment in MOMENTS:
        if moment in before:
            merged[moment] = before[moment]
    merged.pop("late", None)
    return {**merged, "late": late} if late else merged


def _latest_end(successor: Json, now: datetime) -> datetime:
    """By when a pod was gone that the next record never saw."""
    status = successor["status"]
    if status.get("outcome") == api.OUTCOME_COMPLETE:
        return min(now, parse_time(status["completedAt"]))
    return now


def _note_end(status: Status) -> Status:
    own = _own(status)
    phases = status.get("phases") or []
    known = any(one["phase"] == api.PHASE_TAKEN_BACK for one in phases)
    if known or not own or remaining_pods(status):
        return status
    last = max(own, key=lambda line: parse_time(line["gone"]))
    phase = {"phase": api.PHASE_TAKEN_BACK, "at": last["gone"]}
    if "gone" in last.get("late", []):
        phase["late"] = True
    return {**status, "phases": [*phases, phase]}
