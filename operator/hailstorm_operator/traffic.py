"""
What a rollout did to its callers: counts before, during and after, and every
failure put to the pod it hit and to what that pod was doing.

Pure: answers of the recorder and a closed record in, fields of its status out.
What the recorder did not see all of is Unknown, whatever was counted; counts
are then what at least there was.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from hailstorm_operator import api
from hailstorm_operator.taken_back import ended_at, remaining_pods
from hailstorm_operator.timelines import Timeline
from hailstorm_operator.timestamps import parse_time, whole_seconds, with_milliseconds

Json = Mapping[str, Any]
Status = dict[str, Any]

# As long as a slow rollout of three pods takes: enough calls for a p99 at 10 a second.
AROUND: Final = timedelta(seconds=30)
# The longest deadline of a call (10 s in the chart) ends within the windows; what
# is added is an Envoy's beat, the recorder's second and a busy machine.
SETTLE: Final = timedelta(seconds=4)
# Asked in vain for this long, the recorder is taken to be away for good.
PATIENCE: Final = timedelta(minutes=5)
# An Envoy that is not heard and broke no stream is mostly only slow. Once it is heard
# the recorder withdraws the gap: ten times what makes it one is enough to wait for.
SECOND_THOUGHTS: Final = timedelta(seconds=30)
_SILENT: Final = "EnvoySilent"
# About 350 bytes each. The rest is counted.
MAX_FAILURES: Final = 50
MAX_GAPS: Final = 10

PHASE_STARTING: Final = "starting"
PHASE_READY: Final = "ready"
PHASE_DRAINING: Final = "draining"
PHASE_GONE: Final = "gone"
UNATTRIBUTED: Final = "unattributed"
# The edge's listener for calls from outside.
PUBLIC: Final = "public"


@dataclass(frozen=True)
class Window:
    """A stretch of time of a record: before, during or after."""

    name: str
    start: datetime
    end: datetime


@dataclass(frozen=True)
class Evidence:
    """The recorder's answers for one window: of /tallies and of /failures."""

    tallies: Json
    failures: Json


def windows_of(status: Json) -> tuple[Window, ...]:
    """
    The stretches that a closed record is judged by, in whole seconds and side by side.

    A record that was superseded has no after: it is the successor's during. A release that
    was taken back lasts until its last pod is gone.
    """
    started = parse_time(status["startedAt"]).replace(microsecond=0)
    completed = ended_at(status)
    if completed.microsecond or completed <= started:
        # Whole-second stamps can place an end before a start by a fraction.
        completed = max(completed, started).replace(microsecond=0) + timedelta(seconds=1)
    found = [
        Window("before", started - AROUND, started),
        Window("during", started, completed),
    ]
    if status["outcome"] != api.OUTCOME_SUPERSEDED:
        found.append(Window("after", completed, completed + AROUND))
    return tuple(found)


def due_at(status: Json) -> datetime:
    """When everything that belongs into the windows has arrived at the recorder."""
    return windows_of(status)[-1].end + SETTLE


def may_be_withdrawn(evidence: Mapping[str, Evidence]) -> bool:
    """Whether the recorder may yet find that nothing was lost."""
    return any(
        gap["reason"] == _SILENT and gap["to"] is None
        for answers in evidence.values()
        for gap in answers.tallies["gaps"]
    )


def unknown_traffic(reason: str, message: str) -> Status:
    """The fields of a status when nobody can say anything."""
    return {
        "traffic": {
            "state": api.TRAFFIC_UNKNOWN,
            "reason": reason,
            "message": message,
            "failed": "unknown",
            "p99During": "unknown",
        }
    }


def describe_traffic(
    status: Json, windows: Iterable[Window], evidence: Mapping[str, Evidence], envoys: Iterable[str]
) -> Status:
    """
    `traffic` and `failures` of a record's status.

    `evidence` has an entry for each window. The Deployment's own services are
    found by its pods' addresses; an edge, by `envoys`, the names of those that
    report: to it belongs every call from outside.
    """
    windows = tuple(windows)
    lines: list[Timeline] = list(status.get("pods", []))
    is_edge = bool({line["name"] for line in lines} & set(envoys))
    clusters = None if is_edge else _clusters(lines, windows, evidence)
    traffic: Status = {}
    if clusters is not None:
        traffic["clusters"] = sorted(clusters)
    for window in windows:
        traffic[window.name] = _describe_window(window, evidence[window.name].tallies, clusters)
    during = traffic["during"]
    failures = _describe_failures(lines, windows, evidence, clusters, is_edge=is_edge)
    traffic |= _judge(traffic, windows, evidence, remaining_pods(status))
    known = traffic["state"] == api.TRAFFIC_KNOWN
    traffic["failed"] = f"{during['failed']}/{during['offered']}" if known else "unknown"
    if known:
        template = status.get("podTemplateHash")
        addresses = {
            line["address"]
            for line in lines
            if template and line.get("hash") == template and "address" in line
        }
        traffic["usersFailed"] = (
            during["failed"]
            if is_edge
            else _count_users_failed(evidence["during"].tallies, clusters or set(), addresses)
        )
    p99 = during.get("p99Ms")
    traffic["p99During"] = f"≤{p99:.0f}ms" if known and p99 is not None else "unknown"
    return {
        "traffic": traffic,
        "failures": failures,
        "pods": _served(lines, windows, evidence, clusters),
    }


def phase_of(line: Timeline, at: datetime) -> str:
    """What a pod was doing at a moment, by its timeline."""
    for moment, phase in (("gone", PHASE_GONE), ("terminating", PHASE_DRAINING)):
        if moment in line and parse_time(line[moment]) <= at:
            return phase
    if "ready" in line and parse_time(line["ready"]) <= at:
        return PHASE_READY
    return PHASE_STARTING


def pod_at(lines: Iterable[Timeline], address: str, at: datetime) -> Timeline | None:
    """
    The pod that had this ip:port at a moment.

    An address is given to another pod once its owner is gone: of those that were
    there by then, the youngest.
    """
    ip = address.rpartition(":")[0]
    owners = [
        line for line in lines if line.get("address") == ip and parse_time(line["created"]) <= at
    ]
    return max(owners, key=lambda line: parse_time(line["created"]), default=None)


def _clusters(
    lines: list[Timeline], windows: Iterable[Window], evidence: Mapping[str, Evidence]
) -> set[str]:
    """The edge's names for what these pods serve."""
    addresses = {line["address"] for line in lines if "address" in line}
    return {
        str(row["cluster"])
        for window in windows
        for row in evidence[window.name].tallies["rows"]
        if row["address"].rpartition(":")[0] in addresses and row["cluster"]
    }


def _belongs(row: Json, clusters: set[str] | None) -> bool:
    """Whether a row is about the target: of its services, or for an edge from outside."""
    if clusters is None:
        return bool(row["listener"] == PUBLIC)
    return row["cluster"] in clusters


def _describe_window(window: Window, tallies: Json, clusters: set[str] | None) -> Status:
    counts: Counter[str] = Counter()
    buckets: Counter[float] = Counter()
    for row in tallies["rows"]:
        if row["kind"] != "calls" or not _belongs(row, clusters):
            continue
        counts[row["outcome"]] += row["count"]
        if row["outcome"] == "ok" and row["retried"]:
            counts["retriedOk"] += row["count"]
        if row["outcome"] == "ok" and not row["stream"]:
            buckets.update({float(bound): int(count) for bound, count in row["buckets"]})
    described: Status = {
        "from": with_milliseconds(window.start),
        "to": with_milliseconds(window.end),
        "complete": bool(tallies["complete"]),
        "offered": sum(counts[name] for name in ("ok", "refused", "shed", "cancelled", "failed")),
        **{name: counts[name] for name in ("ok", "refused", "shed", "cancelled", "failed")},
        "retriedOk": counts["retriedOk"],
    }
    for name, share in (("p50Ms", 0.5), ("p99Ms", 0.99)):
        bound = _quantile(buckets, share)
        if bound is not None:
            described[name] = bound
    return described


def _count_users_failed(tallies: Json, clusters: set[str], addresses: set[str]) -> int:
    """Calls from outside that failed, and had one of these pods last."""
    return sum(
        row["count"]
        for row in tallies["rows"]
        if row["kind"] == "calls"
        and row["listener"] == PUBLIC
        and row["outcome"] == "failed"
        and row["cluster"] in clusters
        and row["address"].rpartition(":")[0] in addresses
    )


def _quantile(buckets: Mapping[float, int], share: float) -> float | None:
    """Upper bound of the bucket in which this share of the calls is reached."""
    wanted = share * sum(buckets.values())
    seen = 0
    for bound in sorted(buckets):
        seen += buckets[bound]
        if seen >= wanted:
            return bound
    return None


def _describe_failures(
    lines: list[Timeline],
    windows: Iterable[Window],
    evidence: Mapping[str, Evidence],
    clusters: set[str] | None,
    *,
    is_edge: bool,
) -> Status:
    by_phase: Counter[str] = Counter()
    by_pod: Counter[tuple[str, str]] = Counter()
    listed: list[Status] = []
    # What a pod did to a call is in its attempts; an edge has only calls.
    wanted = "calls" if is_edge else "attempts"
    omitted = placed = 0

    def is_mine(one: Json) -> bool:
        return bool(one["kind"] == wanted) and _belongs(one, clusters)

    for window in windows:
        answer = evidence[window.name].failures
        mine = [one for one in answer["failures"] if is_mine(one)]
        for one in mine:
            at = parse_time(one["at"])
            line = (
                next((each for each in lines if each["name"] == one["envoy"]), None)
                if is_edge
                else pod_at(lines, one["address"], at)
            )
            phase = phase_of(line, at) if line else UNATTRIBUTED
            by_phase[phase] += 1
            if line:
                by_pod[line["name"], phase] += 1
            listed.append(_failure(one, window.name, line, phase))
        counted = sum(
            row["count"]
            for row in evidence[window.name].tallies["rows"]
            if row["outcome"] == "failed" and is_mine(row)
        )
        omitted += max(0, counted - len(mine))
        # An Envoy is not in a count, so of an edge there is nothing to put them to.
        for one in () if is_edge else answer.get("unsampled", ()):
            if not is_mine(one):
                continue
            line, phase = _pod_in_second(lines, one["address"], parse_time(one["at"]))
            if line:
                placed += one["count"]
                by_phase[phase] += one["count"]
                by_pod[line["name"], phase] += one["count"]
    described: Status = {
        "total": len(listed) + omitted,
        # Failed, counted, and no sample was kept.
        "omitted": omitted,
        UNATTRIBUTED: by_phase.pop(UNATTRIBUTED, 0) + max(0, omitted - placed),
        "byPhase": dict(sorted(by_phase.items())),
        "byPod": [
            {"pod": pod, "phase": phase, "count": count}
            for (pod, phase), count in sorted(by_pod.items())
        ][:MAX_FAILURES],
        "samples": sorted(listed, key=lambda one: parse_time(one["at"]))[:MAX_FAILURES],
    }
    return described


def _pod_in_second(
    lines: list[Timeline], address: str, second: datetime
) -> tuple[Timeline | None, str]:
    """
    The pod that had this address all through a second, and its phase all through it.

    None and unattributed when either changed: a count does not say when in its second.
    """
    places = []
    for moment in (second, second + timedelta(milliseconds=999)):
        line = pod_at(lines, address, moment)
        places.append((line, phase_of(line, moment) if line else UNATTRIBUTED))
    (line, phase), at_end = places
    return (line, phase) if (line, phase) == at_end else (None, UNATTRIBUTED)


def _failure(one: Json, window: str, line: Timeline | None, phase: str) -> Status:
    described = {
        "at": one["at"],
        "window": window,
        "pod": line["name"] if line else "",
        "phase": phase,
        "method": one["method"].rpartition("/")[2],
        "code": one["code"],
        "flag": one["flag"],
        "detail": one["detail"][:120],
        "requestId": one["requestId"],
        "envoy": one["envoy"],
    }
    return {name: value for name, value in described.items() if value != ""}


def _served(
    lines: list[Timeline],
    windows: Iterable[Window],
    evidence: Mapping[str, Evidence],
    clusters: set[str] | None,
) -> list[Timeline]:
    """
    The timelines with `firstCall` and, of pods that were asked to go, `drained`.

    By the attempts that ended: whole seconds, the last one's end. A pod that is older
    than the windows has its first call before them, where nobody looked.
    """
    opened = min(window.start for window in windows)
    seen: dict[str, list[datetime]] = {}
    for window in windows:
        for row in evidence[window.name].tallies["rows"]:
            if row["kind"] != "attempts" or not _belongs(row, clusters) or "firstAt" not in row:
                continue
            for at in (parse_time(row["firstAt"]), parse_time(row["lastAt"])):
                # An attempt ends within the second that it is counted in.
                owner = pod_at(lines, row["address"], at + timedelta(seconds=1))
                # One that is gone has lost its address to somebody who is not ours.
                if owner is not None and phase_of(owner, at) != PHASE_GONE:
                    seen.setdefault(owner["name"], []).append(at)
    after: list[Timeline] = []
    for line in lines:
        moments = seen.get(line["name"])
        changed = dict(line)
        if moments and parse_time(line["created"]) >= opened:
            changed["firstCall"] = whole_seconds(min(moments))
        if moments and "terminating" in line:
            ended = max(moments) + timedelta(seconds=1)
            asked = parse_time(line["terminating"])
            # Without a call since then it was drained when it was asked to go.
            changed["drained"] = with_milliseconds(max(ended, asked))
        after.append(changed)
    return after


def _judge(
    traffic: Json,
    windows: Iterable[Window],
    evidence: Mapping[str, Evidence],
    remaining: Sequence[str],
) -> Status:
    gaps = []
    for window in windows:
        gaps += [gap for gap in evidence[window.name].tallies["gaps"] if gap not in gaps]
    if gaps:
        reasons = ", ".join(sorted({gap["reason"] for gap in gaps}))
        return {
            "state": api.TRAFFIC_UNKNOWN,
            "reason": api.REASON_RECORDER_GAP,
            "message": f"not everything was seen: {reasons}; counts are what at least there was",
            "gaps": [
                {key: value for key, value in gap.items() if value} for gap in gaps[:MAX_GAPS]
            ],
        }
    if remaining:
        return {
            "state": api.TRAFFIC_UNKNOWN,
            "reason": api.REASON_PODS_REMAIN,
            "message": (
                f"{len(remaining)} pods of the release were not seen to go, {remaining[0]} for "
                "one; counts are until the verdict"
            ),
        }
    if not traffic["during"]["offered"]:
        return {
            "state": api.TRAFFIC_UNKNOWN,
            "reason": api.REASON_NO_TRAFFIC,
            "message": "no call reached these pods through an edge that reports",
        }
    return {
        "state": api.TRAFFIC_KNOWN,
        "reason": api.REASON_EVERY_CALL_SEEN,
        "message": "every call and every attempt was seen",
    }
