"""The life of a record: opened before, advanced by what is seen, closed once."""

from typing import Any

from hailstorm_operator import api
from hailstorm_operator.records import (
    MAX_PODS,
    advance_record,
    close_record,
    expired_records,
    first_status,
    is_same_attempt,
    is_through,
    new_record,
    newest_pods,
    newest_record,
    record_of,
)
from hailstorm_operator.templates import template_digest
from hailstorm_operator.timelines import Timeline, end_pod, observe_pod
from hailstorm_operator.timestamps import with_milliseconds
from hailstorm_operator.triggers import Attempt, identify_attempt
from unit.operator.objects import at, deployment, ready_pod, revision, stamp, template

ONE, TWO = template("one"), template("two")
ROLLING = {"updatedReplicas": 1, "replicas": 3, "availableReplicas": 2}


def attempt() -> Attempt:
    return identify_attempt(deployment(TWO, revision=1), [revision(1, ONE)])


def opened() -> dict[str, Any]:
    return first_status(deployment(TWO, revision=1), attempt(), at(0), live=True)


def line(name: str, template_hash: str, seconds: float = 1) -> Timeline:
    return observe_pod(None, ready_pod(seconds, name=name, template_hash=template_hash), None)


def advance(
    status: dict[str, Any],
    body: dict[str, Any],
    *lines: Timeline,
    seconds: float,
    live: bool = True,
) -> dict[str, Any]:
    return advance_record(status, body, lines, "new", at(seconds), live=live)


def phases(status: dict[str, Any]) -> list[str]:
    return [one["phase"] for one in status["phases"]]


def test_name_and_spec_are_the_same_for_the_same_attempt() -> None:
    body = deployment(TWO, revision=1)
    first, again = new_record(body, attempt(), at(0)), new_record(body, attempt(), at(0))
    assert first == again
    digest = template_digest(TWO)
    assert first["metadata"]["name"] == f"app-2-{digest[:6]}g2"
    assert "ownerReferences" not in first["metadata"]


def started(seconds: float, *, live: bool, written: float | None = None) -> dict[str, Any]:
    body = deployment(TWO, revision=1)
    if written is not None:
        variable = {"f:env": {'k:{"name":"VERSION"}': {"f:value": {}}}}
        containers = {"f:containers": {'k:{"name":"main"}': variable}}
        fields = {"f:spec": {"f:template": {"f:spec": containers}}}
        entry = {"manager": "helm", "time": stamp(written), "fieldsV1": fields}
        body["metadata"]["managedFields"] = [entry]
    status = first_status(body, attempt(), at(seconds), live=live)
    return {"at": status["startedAt"], "late": status["phases"][0].get("late", False)}


def test_start_is_the_write_with_the_fraction_of_its_event() -> None:
    exact = {"at": with_milliseconds(at(0)), "late": False}
    assert started(0, live=True, written=0) == exact
    assert started(0, live=True) == exact


def test_start_is_the_writes_stamp_when_the_event_was_slow_or_missed() -> None:
    stamped = {"at": stamp(0), "late": False}
    assert started(2, live=True, written=0) == stamped
    assert started(600, live=False, written=0) == stamped


def test_start_is_late_when_nothing_tells_of_it() -> None:
    assert started(600, live=False) == {"at": stamp(600), "late": True}


def test_phases_follow_a_rollout_to_its_end() -> None:
    old, new = line("a", "old"), line("b", "new")
    status = advance(opened(), deployment(TWO, status=ROLLING), old, new, seconds=2)
    assert phases(status) == ["Started", "Surging"]
    status = advance(status, deployment(TWO), old, new, seconds=5)
    assert phases(status) == ["Started", "Surging", "Available"]
    gone = end_pod(old, at(8), live=True)
    status = advance(status, deployment(TWO), gone, new, seconds=5)
    assert phases(status) == ["Started", "Surging", "Available", "Complete"]
    assert (status["outcome"], status["durationSeconds"]) == ("complete", 8.0)
    assert [one["type"] for one in status["conditions"]] == ["Closed"]


def test_record_stays_open_while_an_old_pod_terminates() -> None:
    status = advance(opened(), deployment(TWO), line("a", "old"), line("b", "new"), seconds=5)
    assert status["outcome"] == "progressing"


def test_stale_generation_completes_nothing() -> None:
    body = deployment(TWO, generation=3, status={"observedGeneration": 2})
    status = advance(opened(), body, line("b", "new"), seconds=5)
    assert phases(status) == ["Started", "Surging"]


def deadline(seconds: float) -> dict[str, Any]:
    condition = {
        "type": "Progressing",
        "status": "False",
        "reason": "ProgressDeadlineExceeded",
        "message": "timed out",
        "lastTransitionTime": stamp(seconds),
    }
    return {**ROLLING, "conditions": [condition]}


def test_missed_deadline_fails_the_record_and_names_the_trouble() -> None:
    bad = {**line("b", "new"), "reasons": ["ImagePullBackOff"]}
    status = advance(opened(), deployment(TWO, status=deadline(20)), bad, seconds=20)
    assert (status["outcome"], status["reason"]) == ("failed", "ProgressDeadlineExceeded")
    assert status["message"] == "timed out; b: ImagePullBackOff"


def test_deadline_of_the_template_before_fails_nothing() -> None:
    status = advance(opened(), deployment(TWO, status=deadline(-20)), line("b", "new"), seconds=1)
    assert status["outcome"] == "progressing"


def test_failed_record_notes_that_it_recovered_and_stays_failed() -> None:
    failed = advance(opened(), deployment(TWO, status=deadline(20)), line("b", "new"), seconds=20)
    after = advance(failed, deployment(TWO), line("b", "new"), seconds=60)
    assert after["outcome"] == "failed"
    assert phases(after)[-1] == "Recovered"
    assert advance(after, deployment(TWO), line("b", "new"), seconds=90) == after
    # Nor what it is scaled to for months afterwards.
    more = (line("b", "new"), line("c", "new", 80))
    assert advance(after, deployment(TWO), *more, seconds=90) == after


def test_record_keeps_as_many_pods_as_its_schema_allows() -> None:
    lines = [line(f"pod-{number:03}", "new") for number in range(MAX_PODS + 2)]
    assert newest_pods(lines) == {"pods": lines[2:], "podsOmitted": 2}
    assert newest_pods(lines[2:]) == {"pods": lines[2:]}


def test_rollout_that_was_through_is_so_though_a_pod_is_away() -> None:
    def through(**status: Any) -> bool:
        arrived = {"type": "Progressing", "reason": api.REASON_ARRIVED}
        full = {"replicas": 2, "updatedReplicas": 2, "availableReplicas": 1}
        return is_through(deployment(TWO, status={**full, "conditions": [arrived], **status}))

    assert through()
    # On its way: an old pod beside the new ones, none of the new ones yet, or not told yet.
    assert not through(replicas=3)
    assert not through(updatedReplicas=0)
    assert not through(observedGeneration=1)
    assert not through(conditions=[{"type": "Progressing", "reason": "ReplicaSetUpdated"}])
    assert not through(conditions=[])


def test_failed_record_still_learns_what_its_pods_wait_for() -> None:
    body = deployment(TWO, status=deadline(20))
    failed = advance(opened(), body, line("b", "new"), seconds=20)
    waiting = {**line("b", "new"), "reasons": ["ImagePullBackOff"]}
    assert advance(failed, body, waiting, seconds=30)["pods"] == [waiting]


def test_closed_record_is_not_closed_again() -> None:
    closed = close_record(opened(), "superseded", "RolloutSuperseded", "text", stamp(5))
    assert close_record(closed, "deleted", "TargetDeleted", "other", stamp(9)) == closed


def test_what_nobody_saw_is_marked_late() -> None:
    body = deployment(TWO)
    status = advance(opened(), body, line("b", "new"), seconds=30, live=False)
    late = {one["phase"]: one.get("late", False) for one in status["phases"]}
    assert late == {"Started": False, "Surging": False, "Available": True, "Complete": True}
    assert "durationSeconds" not in status
    assert status["duration"].startswith("≤")


def test_controllers_own_stamp_makes_a_missed_end_exact() -> None:
    arrived = {
        "type": "Progressing",
        "status": "True",
        "reason": "NewReplicaSetAvailable",
        "lastUpdateTime": stamp(12),
    }
    body = deployment(TWO, status={"conditions": [arrived]})
    status = advance(opened(), body, line("b", "new"), seconds=99, live=False)
    assert status["completedAt"] == stamp(12)
    assert all("late" not in one for one in status["phases"])


def test_pause_and_resumption_are_phases() -> None:
    paused = deployment(TWO, spec={"paused": True}, status=ROLLING)
    status = advance(opened(), paused, seconds=1)
    status = advance(status, deployment(TWO, status=ROLLING), seconds=2)
    assert phases(status) == ["Started", "Paused", "Resumed"]


def test_advancing_twice_changes_nothing() -> None:
    lines = (line("a", "old"), line("b", "new"))
    status = advance(opened(), deployment(TWO, status=ROLLING), *lines, seconds=2)
    assert advance(status, deployment(TWO, status=ROLLING), *lines, seconds=3) == status


def record(name: str, generation: int, outcome: str = "complete", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "creationTimestamp": stamp(generation)},
        "spec": {
            "targetRef": {"uid": "uid-1"},
            "generation": generation,
            "revision": spec.get("revision", generation),
            "templateHash": spec.get("digest", ""),
        },
        "status": {"outcome": outcome, "revision": spec.get("revision", generation)},
    }


def test_newest_record_is_by_generation_and_of_the_same_object() -> None:
    other = record("c", 9)
    other["spec"]["targetRef"]["uid"] = "uid-2"
    missed = record("d", 0)
    missed["metadata"]["creationTimestamp"] = stamp(99)
    newest = newest_record([record("a", 1), record("b", 2), other, missed], "uid-1")
    assert newest is not None
    assert newest["metadata"]["name"] == "b"


def test_record_of_an_attempt_is_by_template_and_revision() -> None:
    first = record("a", 2, digest="b", revision=2)
    other = record("b", 3, digest="a", revision=3)
    assert record_of([first, other], "uid-1", "b", 2) == first
    assert record_of([first, other], "uid-1", "b", 4) is None
    again = record("c", 5, digest="b", revision=4)
    assert record_of([first, other, again], "uid-1", "b", 4) == again
    assert record_of([again], "uid-2", "b", 4) is None
    # Two in quick succession were expected to have one number, and have two.
    again["spec"]["revision"] = 3
    assert record_of([again], "uid-1", "b", 4) == again


def test_oldest_closed_records_expire_and_open_ones_never() -> None:
    found = [record("a", 1, "progressing"), record("b", 2), record("c", 3), record("d", 4)]
    assert [one["metadata"]["name"] for one in expired_records(found, 2)] == ["b"]


def test_record_whose_traffic_is_to_come_does_not_expire() -> None:
    found = [record(name, number, "complete") for number, name in enumerate("abc", 1)]
    assert [one["metadata"]["name"] for one in expired_records(found, 1)] == ["b", "a"]
    found[0]["metadata"]["labels"] = {api.TRAFFIC_LABEL: api.TRAFFIC_PENDING}
    assert [one["metadata"]["name"] for one in expired_records(found, 1)] == ["b"]


def test_same_template_at_another_revision_is_another_attempt() -> None:
    digest = template_digest(TWO)
    known = record("a", 2, digest=digest, revision=2)
    assert is_same_attempt(known, deployment(TWO, revision=2), digest)
    assert not is_same_attempt(known, deployment(TWO, generation=5, revision=4), digest)


def test_revision_is_not_believed_before_the_controller_has_seen_the_generation() -> None:
    digest = template_digest(TWO)
    known = record("a", 2, digest=digest, revision=2)
    body = deployment(TWO, generation=5, revision=4, status={"observedGeneration": 4})
    assert is_same_attempt(known, body, digest)


VERDICT = {
    "verdict": "aborted",
    "action": "rollback",
    "rule": "FailuresOnNewPods",
    "explanation": "4 of 4 failures",
    "decidedAt": with_milliseconds(at(5)),
}


def test_verdict_to_take_back_closes_the_record_as_failed() -> None:
    body = deployment(TWO, revision=1, status=ROLLING)
    # What the gate writes for those who wait with kubectl is not the reason.
    body["status"]["conditions"] = [
        {
            "type": "Progressing",
            "reason": "ProgressDeadlineExceeded",
            "lastTransitionTime": stamp(6),
        }
    ]
    closed = advance({**opened(), "policy": VERDICT}, body, seconds=7)
    assert (closed["outcome"], closed["reason"]) == ("failed", "RolledBackByPolicy")
    assert closed["message"] == "aborted, FailuresOnNewPods: 4 of 4 failures"
    assert closed["completedAt"] == VERDICT["decidedAt"]


def test_verdict_that_was_only_observed_closes_nothing() -> None:
    observed = {**VERDICT, "action": "none"}
    status = advance(
        {**opened(), "policy": observed}, deployment(TWO, revision=1, status=ROLLING), seconds=7
    )
    assert status["outcome"] == "progressing"
