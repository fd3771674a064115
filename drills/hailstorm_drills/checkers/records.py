"""
The operator's RolloutRecords against what the drill itself saw: two witnesses.

The drill has the pods' watch and the client's history; the operator has its own
watch and the edge's access log. Where the two must agree, a difference is a
FAIL; where one sees more than the other, as the log sees calls between services,
the difference is listed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from hailstorm_drills.checkers.base import Finding, Verdict
from hailstorm_drills.evidence import Evidence
from hailstorm_drills.marks import DEPLOY, Mark, of_kind
from hailstorm_drills.pods import DRAINING, GONE, SPARE_SUFFIX, PodLife, pod_at
from hailstorm_drills.recorder import epoch
from hailstorm_loadtests.history import STREAMS, Call
from hailstorm_operator import api

NAME: Final = "records"
EXAMPLES: Final = 6
# Windows of records are whole seconds, and a call counts by the Envoy's clock at
# its end; one at the border may fall on either side.
BORDER_SECONDS: Final = 1.0
# The two watches tell of the same pod at different moments.
CLOCK_SECONDS: Final = 3.0


@dataclass(frozen=True)
class Rollout:
    """One rollout as the drill's own watch saw it."""

    component: str
    template_hash: str
    first_pod: float


def rollouts_of(evidence: Evidence) -> list[Rollout]:
    """Each time that a component began to run a template other than the one before."""
    fault = evidence.fault
    if fault is None:
        return []
    found = []
    for component in evidence.components:
        own = sorted(
            (life for life in evidence.lives if life.component == component),
            key=lambda life: life.changes[0][0],
        )
        for number, life in enumerate(own):
            began = life.changes[0][0]
            # A pod beside others of its template is a scaler's, or takes the place of one.
            if fault.start <= began <= fault.end and not any(
                other.template_hash == life.template_hash
                and other.phase_at(began) not in (DRAINING, GONE)
                for other in own[:number]
            ):
                found.append(Rollout(component, life.template_hash, began))
    return found


def check_records(evidence: Evidence) -> Finding:
    """
    FAIL when a rollout has no record or two, another end in it than the drill saw (one
    that no gate had before it completes), or when the record misses calls or failures
    that the client had; UNKNOWN without rollouts, records, or their traffic.
    """
    wanted = rollouts_of(evidence)
    if evidence.records is None:
        why = evidence.problems.get("records", "they were not fetched")
        return Finding(NAME, Verdict.UNKNOWN, f"no RolloutRecords: {why}")
    if not wanted or evidence.history is None:
        return Finding(NAME, Verdict.UNKNOWN, "no rollout was seen, or there is no history")
    served = calls_by_component(evidence.history.calls, evidence.lives)
    wrong: list[str] = []
    doubts: list[str] = []
    listed: list[dict[str, Any]] = []
    for rollout in wanted:
        records = [r for r in evidence.records if _is_of(r, rollout)]
        name = f"{rollout.component} {rollout.template_hash}"
        if not any(_target(record) == rollout.component for record in evidence.records):
            doubts.append(f"nobody keeps records of {rollout.component}")
            continue
        if len(records) != 1:
            wrong.append(f"{name} has {len(records)} records")
            continue
        wrong += _other_end(evidence.marks, rollout, name, records[0])
        _compare(records[0], name, rollout, served[rollout.component], wrong, doubts, listed)
    figures: dict[str, Any] = {
        "rollouts": len(wanted),
        "compared": len(listed),
        "differences": [entry for entry in listed if entry["inner_calls"] or entry["inner_failed"]],
        "wrong": wrong,
        "records": listed,
    }
    told = (
        f"{len(listed)} of {len(wanted)} rollouts compared: the records count "
        f"{sum(e['offered'] for e in listed)} calls, the client made "
        f"{sum(e['client_calls'] for e in listed)} of them, the rest is between services; failed "
        f"{sum(e['failed'] for e in listed)} and {sum(e['client_failed'] for e in listed)}"
    )
    if wrong:
        return Finding(NAME, Verdict.FAIL, "; ".join(wrong[:EXAMPLES]), len(wanted), figures)
    if doubts or not listed:
        why = "; ".join(doubts[:EXAMPLES]) or "nothing was compared"
        return Finding(NAME, Verdict.UNKNOWN, why, len(wanted), figures)
    return Finding(NAME, Verdict.PASS, told, len(wanted), figures)


def _is_of(record: Mapping[str, Any], rollout: Rollout) -> bool:
    """
    Whether the record is about this rollout: its template, at its time.

    A template comes again when a drill goes to and fro, so the time decides.
    """
    status = record.get("status", {})
    started = status.get("startedAt")
    return (
        _target(record) == rollout.component
        and status.get("podTemplateHash") == rollout.template_hash
        and started is not None
        # The record is written before the first pod, by seconds at most.
        and -CLOCK_SECONDS <= rollout.first_pod - epoch(started) <= 2 * CLOCK_SECONDS
    )


def _other_end(
    marks: Sequence[Mark], rollout: Rollout, name: str, record: Mapping[str, Any]
) -> list[str]:
    """What the record says became of the rollout, where the drill saw it end otherwise."""
    status = record["status"]
    outcome = status.get("outcome")
    if outcome == api.OUTCOME_PROGRESSING:
        return []
    put = [mark for mark in of_kind(marks, DEPLOY) if mark.at <= rollout.first_pod + CLOCK_SECONDS]
    release = put[-1].figures if put else {}
    if "kind" not in release:
        # No gate judged it.
        wanted, told = {api.OUTCOME_COMPLETE}, "rolled to its end"
    elif rollout.template_hash in release.get("before", ()):
        wanted = {api.OUTCOME_COMPLETE, api.OUTCOME_SUPERSEDED}
        told = "came back"
    elif release.get("taken_back"):
        # One that had been promoted may have completed before it was taken back after all.
        decisions = (status.get("policy") or {}).get("decisions") or []
        is_late = any(one["verdict"] == api.VERDICT_PROMOTED for one in decisions)
        if outcome == api.OUTCOME_FAILED and status.get("reason") != api.REASON_ROLLED_BACK:
            outcome = f"{outcome} by {status.get('reason')}"
        wanted = {api.OUTCOME_FAILED, *([api.OUTCOME_COMPLETE] if is_late else [])}
        told = "was taken back by its policy"
    elif release.get("verdict") == api.VERDICT_PROMOTED:
        # The next one may come before it has rolled to its end.
        wanted = {api.OUTCOME_COMPLETE, api.OUTCOME_SUPERSEDED}
        told = "was promoted"
    else:
        # Taken back by hand, or not judged: how far it got is what the drill did not see.
        return []
    return [] if outcome in wanted else [f"{name} {told}, the record says {outcome}"]


def _target(record: Mapping[str, Any]) -> str:
    return str(record.get("spec", {}).get("targetRef", {}).get("name", ""))


def calls_by_component(calls: Sequence[Call], lives: Sequence[PodLife]) -> "_Served":
    """The client's calls by the component that answers them; none of one that answers none."""
    methods: dict[str, str] = {}
    found: dict[str, list[Call]] = {}
    for call in calls:
        if call.method not in methods and call.upstream:
            life = pod_at(lives, call.upstream.rpartition(":")[0], call.ended)
            if life is not None:
                # A spare that serves answers for its service.
                methods[call.method] = life.component.removesuffix(SPARE_SUFFIX)
    for call in calls:
        if call.method in methods:
            found.setdefault(methods[call.method], []).append(call)
    return _Served(found)


class _Served(dict[str, list[Call]]):
    def __missing__(self, _: str) -> list[Call]:
        return []


def _compare(
    record: Mapping[str, Any],
    name: str,
    rollout: Rollout,
    calls: Sequence[Call],
    wrong: list[str],
    doubts: list[str],
    listed: list[dict[str, Any]],
) -> None:
    status = record["status"]
    if status.get("outcome") == api.OUTCOME_PROGRESSING:
        doubts.append(f"{name}: the record is not closed")
        return
    during = status.get("traffic", {}).get("during")
    if not during:
        doubts.append(f"{name}: the record has no traffic yet")
        return
    start, end = epoch(during["from"]), epoch(during["to"])
    sure = [c for c in calls if start + BORDER_SECONDS <= c.ended < end - BORDER_SECONDS]
    unary = [c for c in sure if c.method not in STREAMS]
    # A stream that the caller ends is `cancelled` there and ok here; failures count.
    failed = [c for c in sure if c.outcome != "ok" and c.code != "RESOURCE_EXHAUSTED"]
    entry = {
        "record": record["metadata"]["name"],
        "component": rollout.component,
        "offered": during["offered"],
        "client_calls": len(unary),
        "inner_calls": max(0, during["offered"] - len(unary)),
        "failed": during["failed"],
        "client_failed": len(failed),
        "inner_failed": max(0, during["failed"] - len(failed)),
        "complete": during["complete"],
    }
    if not during["complete"]:
        doubts.append(f"{name}: the recorder has a gap in it")
        return
    listed.append(entry)
    if during["offered"] < len(unary):
        wrong.append(
            f"{name}: {during['offered']} calls in the record, the client made {len(unary)}"
        )
    if during["failed"] < len(failed):
        wrong.append(
            f"{name}: {during['failed']} failed in the record, {len(failed)} at the client"
        )
