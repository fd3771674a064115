"""
RolloutRecords: one for each attempt to roll out a template, opened before, closed after.

    Started ─► Surging ─► Available ─► Complete
       └──────────┴───────────┴─► Failed (then perhaps Recovered), Superseded, Deleted

A record is appended to and never rewritten: a phase or a moment that is written
stays. Everything here is a pure function of the record so far and of what the
API says now, so that an operator that was killed picks up an open record from
the API and arrives at the same end.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from hailstorm_operator import api
from hailstorm_operator.conditions import Condition, merge_conditions
from hailstorm_operator.timelines import Timeline
from hailstorm_operator.timestamps import parse_time, whole_seconds, with_milliseconds, witnessed
from hailstorm_operator.triggers import Attempt, describe_trigger, find_writer, is_near

Json = Mapping[str, Any]
Status = dict[str, Any]

# About 300 bytes each: the record stays far below etcd's limit of 1.5 MiB.
MAX_PODS: Final = 300
# Kubernetes allows 253 in a name; the rest is for revision, hash and generation.
MAX_NAME_PREFIX: Final = 200


def record_name(deployment: str, attempt: Attempt) -> str:
    """The same attempt always gets the same name, so creating it twice is refused by the API."""
    prefix = deployment[:MAX_NAME_PREFIX]
    return f"{prefix}-{attempt.revision}-{attempt.digest[:6]}g{attempt.generation}"


def new_record(deployment: Json, attempt: Attempt, at: datetime | None) -> dict[str, Any]:
    """
    The record to create for an attempt: what is known before anything has happened.

    `at` is when a watch saw the change, None when it was found later.
    """
    metadata = deployment["metadata"]
    return {
        "apiVersion": api.API_VERSION,
        "kind": api.RECORD_KIND,
        # No ownerReference: a record outlives its Deployment, retention ends it.
        "metadata": {
            "name": record_name(metadata["name"], attempt),
            "namespace": metadata["namespace"],
            "labels": {
                api.TARGET_LABEL: metadata["name"][:63],
                api.TARGET_UID_LABEL: metadata["uid"],
            },
        },
        "spec": {
            "targetRef": {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "name": metadata["name"],
                "uid": metadata["uid"],
            },
            "revision": attempt.revision,
            "generation": attempt.generation,
            "templateHash": attempt.digest,
            "trigger": describe_trigger(deployment, attempt, at),
        },
    }


def first_status(deployment: Json, attempt: Attempt, now: datetime, *, live: bool) -> Status:
    """
    The status that goes with a new record.

    `live` says that the change arrived as a watch event, at `now`. If not, the
    start is what the API has stamped: the creation of a ReplicaSet made for this
    attempt, or the write of the template; failing both, "by now at the latest".
    """
    own = attempt.current
    created = own.created if own and not own.former and attempt.rollback_to is None else ""
    fields = deployment["metadata"].get("managedFields") or []
    writer = find_writer(fields, attempt.changes, now if live else None)
    written = writer.stamp if writer else ""
    late = False
    if live and is_near(written, now):
        started = witnessed(written, now)
    elif live and (not created or is_near(created, now)):
        started = with_milliseconds(now)
    elif created or written:
        started = whole_seconds(parse_time(created or written))
    else:
        started, late = whole_seconds(now), True
    status: Status = {
        "outcome": api.OUTCOME_PROGRESSING,
        "observation": "live" if live else "late",
        "startedAt": started,
        "phases": [_phase(api.PHASE_STARTED, started, late=late)],
        "pods": [],
    }
    if deployment["spec"].get("paused"):
        status["phases"].append(_phase(api.PHASE_PAUSED, started, late=late))
    return status


def resumed_status(created: str) -> Status:
    """The status of a record whose writer died right after creating it."""
    return {
        "outcome": api.OUTCOME_PROGRESSING,
        "observation": "live",
        "startedAt": created,
        "phases": [_phase(api.PHASE_STARTED, created, late=False)],
    }


def is_closed(status: Json) -> bool:
    """Whether the record has its outcome."""
    return bool(status.get("outcome", api.OUTCOME_PROGRESSING) != api.OUTCOME_PROGRESSING)


def advance_record(
    status: Json,
    deployment: Json,
    pods: Iterable[Timeline],
    pod_template_hash: str | None,
    now: datetime,
    *,
    live: bool,
) -> Status:
    """
    Bring an open record up to what the API says now; close it when it has an end.

    `pods` are the timelines of every pod of the Deployment that lived during the
    attempt, gone ones included. `now` is when the Deployment's present state was
    seen, `live` whether by a watch. A record that failed by its deadline still
    gathers what becomes of its pods, and notes if it recovers.
    """
    after: Status = {**status, "phases": list(status.get("phases", []))}
    if is_closed(status) and (status.get("reason") != api.REASON_DEADLINE or has_recovered(status)):
        return after
    served = {line["name"]: line for line in status.get("pods", [])}
    lines = sorted(
        (keep_served(served.get(line["name"], {}), line) for line in pods),
        key=lambda line: (parse_time(line["created"]), line["name"]),
    )
    if pod_template_hash:
        after["podTemplateHash"] = pod_template_hash
    after |= newest_pods(lines)
    if is_closed(status):
        return _note_recovery(after, deployment, now, live=live)
    _confirm_revision(after, deployment)
    _note_pauses(after, deployment, now, live=live)
    surged = [line["created"] for line in lines if line.get("hash") == pod_template_hash]
    if surged:
        first = min(surged, key=parse_time)
        # The API's whole second may lie before the watch event of the start.
        _reach(after, api.PHASE_SURGING, _latest(first, after["startedAt"]), late=False)
    if is_rolled_back(after):
        return close_rolled_back(after)
    deadline = _missed_deadline(deployment, after["startedAt"])
    if is_available(deployment):
        at = _moment(now, live=live)
        stamped = None if live else _arrival(deployment, after["startedAt"])
        _reach(after, api.PHASE_AVAILABLE, stamped or at, late=not live and not stamped)
        leaving = [
            line for line in lines if "gone" not in line and _is_leaving(line, pod_template_hash)
        ]
        if not leaving:
            return _close_complete(after, lines)
    elif deadline is not None:
        at = witnessed(deadline["lastTransitionTime"], now if live else None)
        return close_record(
            after, api.OUTCOME_FAILED, api.REASON_DEADLINE, _failure(deadline, lines), at
        )
    return after


def close_record(
    status: Json, outcome: str, reason: str, message: str, at: str, *, late: bool = False
) -> Status:
    """Give a record its outcome. A record that has one keeps it."""
    if is_closed(status):
        return dict(status)
    phase = {
        api.OUTCOME_COMPLETE: api.PHASE_COMPLETE,
        api.OUTCOME_FAILED: api.PHASE_FAILED,
        api.OUTCOME_SUPERSEDED: api.PHASE_SUPERSEDED,
        api.OUTCOME_DELETED: api.PHASE_DELETED,
    }.get(outcome)
    closed: Status = {**status, "phases": list(status.get("phases", []))}
    if phase:
        closed["phases"].append(_phase(phase, at, late=late))
    closed |= {"outcome": outcome, "reason": reason, "message": message, "completedAt": at}
    started = parse_time(closed["startedAt"])
    # Whole-second stamps can place an end before a start by a fraction.
    duration = max(0.0, (parse_time(at) - started).total_seconds())
    if late and outcome != api.OUTCOME_UNKNOWN:
        closed["duration"] = f"≤{duration:.1f}s"
    elif not late:
        closed["durationSeconds"] = round(duration, 3)
        closed["duration"] = f"{duration:.1f}s"
    closed["conditions"] = merge_conditions(
        closed.get("conditions", []),
        [Condition(api.CONDITION_CLOSED, True, reason, message)],
        whole_seconds(parse_time(at)),
    )
    return closed


def is_rolled_back(status: Json) -> bool:
    """Whether a RolloutPolicy has decided to take this attempt back."""
    return bool((status.get("policy") or {}).get("action") == "rollback")


def close_rolled_back(status: Json) -> Status:
    """Close a record because of its policy's verdict, at the time of that."""
    policy = status["policy"]
    text = f"{policy['verdict']}, {policy['rule']}: {policy['explanation']}"
    return close_record(
        status, api.OUTCOME_FAILED, api.REASON_ROLLED_BACK, text, policy["decidedAt"]
    )


def is_available(deployment: Json) -> bool:
    """Whether every replica is of the present template and available."""
    return _are_all(deployment, "updatedReplicas", "availableReplicas", "replicas")


def is_through(deployment: Json) -> bool:
    """
    Whether Kubernetes calls the rollout of the present template complete.

    It was once, whatever has become of a replica since: a drained node or a scale-up makes no
    new rollout.
    """
    is_complete = any(
        one["type"] == "Progressing" and one.get("reason") == api.REASON_ARRIVED
        for one in (deployment.get("status") or {}).get("conditions") or []
    )
    # A template that was there before is found again, and its rollout not begun yet.
    return is_complete and _are_all(deployment, "updatedReplicas", "replicas")


def _are_all(deployment: Json, *counts: str) -> bool:
    """Whether these counts of the status, which is up to date, are the replicas there are to be."""
    spec, status = deployment["spec"], deployment.get("status") or {}
    caught_up = status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
    wanted = int(spec.get("replicas", 1))
    are_wanted = all(int(status.get(name, 0)) == wanted for name in counts)
    return bool(caught_up and not spec.get("paused") and are_wanted)


def newest_record(records: Iterable[Json], target_uid: str) -> Json | None:
    """The record of the last attempt of one Deployment object."""
    own = [one for one in records if one["spec"]["targetRef"]["uid"] == target_uid]
    return max(own, key=order_of, default=None)


def record_of(records: Iterable[Json], target_uid: str, digest: str, revision: int) -> Json | None:
    """
    The record of the attempt that made this template this revision.

    One of a lower revision is about an earlier attempt: the template came before, and its
    verdict then is none on what it is now.
    """
    own = [
        one
        for one in records
        if one["spec"]["templateHash"] == digest and _revision(one) >= revision
    ]
    return newest_record(own, target_uid)


def expired_records(records: Iterable[Json], limit: int) -> list[Json]:
    """
    Finished records beyond the newest `limit`.

    One that is open, or whose traffic is still to be written, never expires.
    """
    newest_first = sorted(
        records,
        key=lambda one: (one["metadata"].get("creationTimestamp", ""), *order_of(one)),
        reverse=True,
    )
    return [
        one
        for one in newest_first[limit:]
        if is_closed(one.get("status") or {})
        and api.TRAFFIC_LABEL not in (one["metadata"].get("labels") or {})
    ]


def is_same_attempt(record: Json, deployment: Json, digest: str) -> bool:
    """
    Whether the Deployment still stands where this record's attempt put it.

    The template alone does not tell: gone to another and back while nobody
    watched, it is the same, but the revision has moved on.
    """
    if record["spec"]["templateHash"] != digest:
        return False
    confirmed = (record.get("status") or {}).get("revision")
    return confirmed is None or confirmed == _observed_revision(deployment, confirmed)


def order_of(record: Json) -> tuple[int, int]:
    """Attempts of one Deployment object, in the order in which they were made."""
    # Not by creation: records of missed attempts are written after their successor.
    return int(record["spec"]["generation"]), int(record["spec"]["revision"])


def keep_served(before: Timeline, line: Timeline) -> Timeline:
    """A timeline as the watch has it, with what the recorder had to tell."""
    return {**{name: before[name] for name in ("firstCall", "drained") if name in before}, **line}


def _revision(record: Json) -> int:
    """What the controller has confirmed, before that what was expected."""
    return int((record.get("status") or {}).get("revision", record["spec"]["revision"]))


def _phase(name: str, at: str, *, late: bool) -> dict[str, Any]:
    return {"phase": name, "at": at, **({"late": True} if late else {})}


def _reach(status: Status, phase: str, at: str, *, late: bool) -> None:
    if all(one["phase"] != phase for one in status["phases"]):
        status["phases"].append(_phase(phase, at, late=late))


def _arrival(deployment: Json, started: str) -> str | None:
    """
    When the controller itself noted that the rollout had arrived.

    It touches the condition only when its reason changes, so a later scaling
    does not move this time.
    """
    for condition in (deployment.get("status") or {}).get("conditions") or []:
        if condition["type"] == "Progressing" and condition.get("reason") == api.REASON_ARRIVED:
            at = parse_time(condition["lastUpdateTime"])
            return whole_seconds(at) if at >= parse_time(started) else None
    return None


def _latest(*moments: str) -> str:
    # Not as text: "33Z" sorts after "33.5Z".
    return max(moments, key=parse_time)


def _moment(now: datetime, *, live: bool) -> str:
    return with_milliseconds(now) if live else whole_seconds(now)


def _observed_revision(deployment: Json, default: int | None) -> int | None:
    """The revision annotation, once the controller has seen the present generation."""
    metadata = deployment["metadata"]
    observed = (deployment.get("status") or {}).get("observedGeneration", 0)
    text = (metadata.get("annotations") or {}).get(api.REVISION_ANNOTATION)
    if observed < metadata.get("generation", 0) or text is None:
        return default
    return int(text)


def newest_pods(lines: Sequence[Timeline]) -> Status:
    """What a status keeps of the pods, oldest first: as many as its schema allows."""
    kept: Status = {"pods": list(lines[-MAX_PODS:])}
    if len(lines) > MAX_PODS:
        kept["podsOmitted"] = len(lines) - MAX_PODS
    return kept


def has_recovered(status: Json) -> bool:
    """Whether a rollout that failed by its deadline has arrived after all: all is told."""
    return any(phase["phase"] == api.PHASE_RECOVERED for phase in status.get("phases") or [])


def _confirm_revision(status: Status, deployment: Json) -> None:
    if "revision" not in status and not deployment["spec"].get("paused"):
        observed = _observed_revision(deployment, None)
        if observed is not None:
            status["revision"] = observed


def _note_pauses(status: Status, deployment: Json, now: datetime, *, live: bool) -> None:
    pauses = [
        one["phase"]
        for one in status["phases"]
        if one["phase"] in (api.PHASE_PAUSED, api.PHASE_RESUMED)
    ]
    was_paused = bool(pauses) and pauses[-1] == api.PHASE_PAUSED
    is_paused = bool(deployment["spec"].get("paused"))
    if was_paused != is_paused:
        name = api.PHASE_PAUSED if is_paused else api.PHASE_RESUMED
        status["phases"].append(_phase(name, _moment(now, live=live), late=not live))


def _is_leaving(line: Timeline, pod_template_hash: str | None) -> bool:
    return "terminating" in line or line.get("hash") != pod_template_hash


def _missed_deadline(deployment: Json, started: str) -> Json | None:
    """The condition that says so, unless it still speaks of an earlier template."""
    status = deployment.get("status") or {}
    if status.get("observedGeneration", 0) < deployment["metadata"].get("generation", 0):
        return None
    for condition in status.get("conditions") or []:
        missed = condition["type"] == "Progressing" and condition["reason"] == api.REASON_DEADLINE
        if missed and parse_time(condition["lastTransitionTime"]) >= parse_time(started):
            return dict(condition)
    return None


def _failure(deadline: Json, lines: Iterable[Timeline]) -> str:
    troubles = [
        f"{line['name']}: {', '.join(line['reasons'])}"
        for line in lines
        if line.get("reasons") and "gone" not in line
    ]
    return "; ".join([str(deadline.get("message", "")), *troubles[:3]])


def _close_complete(status: Status, lines: Iterable[Timeline]) -> Status:
    """The end is the later of two: all available, and the last leaving pod gone."""
    available = next(one for one in status["phases"] if one["phase"] == api.PHASE_AVAILABLE)
    gone = [line for line in lines if "gone" in line]
    at = _latest(available["at"], *(line["gone"] for line in gone))
    late = bool(available.get("late")) or any(
        "gone" in line.get("late", ()) and line["gone"] == at for line in gone
    )
    message = "every pod runs the new template and every old one is gone"
    return close_record(
        status, api.OUTCOME_COMPLETE, api.REASON_ROLLOUT_COMPLETED, message, at, late=late
    )


def _note_recovery(status: Status, deployment: Json, now: datetime, *, live: bool) -> Status:
    if is_available(deployment):
        _reach(status, api.PHASE_RECOVERED, _moment(now, live=live), late=not live)
    return status
