"""The ends of a release that was taken back, from the records that came after it."""

from typing import Any

from hailstorm_operator import api
from hailstorm_operator.taken_back import add_ends, ended_at, remaining_pods
from hailstorm_operator.timestamps import with_milliseconds
from unit.operator.objects import at
from unit.operator.recorded_traffic import NEW, OLD, line

Json = dict[str, Any]


def bad(name: str = "app-bad-a", **moments: float) -> Json:
    return {**line(name, NEW, **{"created": 1, "ready": 3, **moments}), "hash": "bad"}


def old(**moments: float) -> Json:
    return {**line("app-old-a", OLD, created=-600, ready=-590, **moments), "hash": "old"}


def record(generation: int, *pods: Json, began: float = 0, **status: Any) -> Json:
    return {
        "spec": {
            "targetRef": {"uid": "uid-1"},
            "generation": generation,
            "revision": generation,
        },
        "status": {"startedAt": with_milliseconds(at(began)), "pods": list(pods), **status},
    }


def taken_back(*pods: Json) -> Json:
    """Judged at 8 s."""
    return record(
        2,
        *pods,
        outcome="failed",
        reason="RolledBackByPolicy",
        policy={"action": "rollback"},
        podTemplateHash="bad",
        completedAt=with_milliseconds(at(8)),
        phases=[{"phase": "Failed", "at": with_milliseconds(at(8))}],
    )


def phases(status: Json) -> list[str]:
    return [one["phase"] for one in status["phases"]]


def test_ends_of_its_pods_are_in_the_next_record() -> None:
    judged = taken_back(old(), bad())
    after = record(3, old(), bad(terminating=9, gone=20.5), began=8.5)
    status = add_ends(judged, [after, judged], at(60))
    assert status["pods"] == [old(), bad(terminating=9, gone=20.5)]
    assert status["phases"][-1] == {"phase": "TakenBack", "at": with_milliseconds(at(20.5))}
    assert ended_at(status).timestamp() == round(at(20.5).timestamp(), 3)
    assert remaining_pods(status) == []
    # What is known already is not added again, and what was given is left alone.
    assert add_ends({**judged, "status": status}, [after], at(90)) == status
    assert phases(judged["status"]) == ["Failed"]


def test_moment_that_is_written_stays() -> None:
    judged = taken_back(bad(terminating=9))
    listed = {**bad(terminating=12, gone=20), "late": ["terminating", "gone"], "restarts": 2}
    (pod,) = add_ends(judged, [record(3, listed, began=8.5)], at(60))["pods"]
    assert pod == {**bad(terminating=9, gone=20), "late": ["gone"], "restarts": 2}


def test_pod_that_still_drains_is_waited_for() -> None:
    judged = taken_back(bad())
    assert remaining_pods(add_ends(judged, [], at(60))) == ["app-bad-a"]
    # The next record exists, and has not looked yet.
    assert remaining_pods(add_ends(judged, [record(3, began=8.5)], at(60))) == ["app-bad-a"]
    status = add_ends(judged, [record(3, bad(terminating=9), began=8.5)], at(60))
    assert remaining_pods(status) == ["app-bad-a"]
    assert phases(status) == ["Failed"]
    assert ended_at(status).timestamp() == at(8).timestamp()


def test_it_is_told_by_whichever_record_saw_it() -> None:
    judged = taken_back(bad())
    after = record(3, bad(terminating=9), began=8.5)
    later = record(4, bad(terminating=9, gone=20), bad("app-bad-z", created=50), began=15)
    status = add_ends(judged, [later, after], at(60))
    # The pod of a later attempt with the same template is that one's.
    assert [pod["name"] for pod in status["pods"]] == ["app-bad-a"]
    assert phases(status) == ["Failed", "TakenBack"]


def test_pod_that_was_made_after_the_verdict_is_its_own() -> None:
    judged = taken_back(bad(gone=7))
    second = bad("app-bad-b", created=8.2, terminating=9)
    status = add_ends(judged, [record(3, second, began=8.5)], at(60))
    assert remaining_pods(status) == ["app-bad-b"]
    status = add_ends(
        judged, [record(3, {**second, **bad("app-bad-b", gone=9)}, began=8.5)], at(60)
    )
    assert status["phases"][-1]["at"] == with_milliseconds(at(9))


def test_pod_that_nobody_saw_go_was_gone_by_then() -> None:
    judged = taken_back(bad())
    after = record(3, old(), began=8.5)
    status = add_ends(judged, [after], at(60))
    assert status["phases"][-1] == {
        "phase": "TakenBack",
        "at": "2026-11-21T09:01:00Z",
        "late": True,
    }
    after["status"] |= {"outcome": "complete", "completedAt": with_milliseconds(at(30))}
    assert add_ends(judged, [after], at(60))["phases"][-1]["at"] == "2026-11-21T09:00:30Z"
    # Of more pods than a record holds nobody knows which were seen.
    after["status"]["podsOmitted"] = 1
    assert remaining_pods(add_ends(judged, [after], at(60))) == ["app-bad-a"]


def test_records_of_others_and_before_tell_nothing() -> None:
    judged = taken_back(bad())
    before = record(1, bad(gone=9))
    other = record(3, bad(gone=9), began=8.5)
    other["spec"]["targetRef"]["uid"] = "uid-2"
    assert remaining_pods(add_ends(judged, [before, other], at(60))) == ["app-bad-a"]


def test_release_that_was_let_go_on_has_no_such_end() -> None:
    status = record(2, bad(), outcome="complete", podTemplateHash="bad", phases=[])["status"]
    assert remaining_pods(status) == []
    assert api.PHASE_TAKEN_BACK not in phases(status)
