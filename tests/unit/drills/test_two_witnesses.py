"""The operator's records and the recorder's attempts against what the drill saw."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest

from hailstorm_drills.checkers.attempts import check_attribution
from hailstorm_drills.checkers.base import Verdict
from hailstorm_drills.checkers.control import check_control
from hailstorm_drills.checkers.pods_gone import check_drained, check_scaled_down
from hailstorm_drills.checkers.records import check_records, rollouts_of
from hailstorm_drills.checkers.repetitions import check_operator_kills, check_repetitions
from hailstorm_drills.evidence import Evidence
from hailstorm_drills.faults.operator_kill import OPERATOR_KILL
from hailstorm_drills.marks import DEPLOY, KILL, Mark
from hailstorm_drills.verdict import checkers_of, judge
from hailstorm_loadtests.history import History

Make = Callable[..., Evidence]
PASS, FAIL, UNKNOWN = Verdict.PASS, Verdict.FAIL, Verdict.UNKNOWN


def stamp(at: float) -> str:
    return dt.datetime.fromtimestamp(at, dt.UTC).isoformat().replace("+00:00", "Z")


def record(**changes: Any) -> dict[str, Any]:
    """The record of the one rollout of `evidence`, 60 to 85; 480 of the client's calls in it."""
    during = {"from": stamp(60), "to": stamp(86), "offered": 520, "failed": 0, "complete": True}
    during |= changes.pop("during", {})
    status = {
        "startedAt": stamp(60.5),
        "outcome": "complete",
        "podTemplateHash": "trip-new",
        "traffic": {"during": during},
        **changes,
    }
    return {
        "metadata": {"name": "trip-2", "creationTimestamp": stamp(60)},
        "spec": {"targetRef": {"name": "trip"}},
        "status": status,
    }


def test_rollouts_are_found_in_the_pods(evidence: Make) -> None:
    (found,) = rollouts_of(evidence())
    assert (found.component, found.template_hash, found.first_pod) == ("trip", "trip-new", 61.0)


def test_records_that_agree_pass_and_differences_are_listed(evidence: Make) -> None:
    found = check_records(evidence(records=[record()]))
    assert (found.verdict, found.n) == (PASS, 1)
    (entry,) = found.figures["differences"]
    assert entry["offered"] == 520
    # The windows' borders are whole seconds, so a second at either end is left out.
    assert entry["client_calls"] == 480
    assert entry["inner_calls"] == 40


@pytest.mark.parametrize(
    ("records", "told"),
    [
        ([record(), record()], "has 2 records"),
        ([record(podTemplateHash="other")], "has 0 records"),
        ([record(outcome="failed")], "the record says failed"),
        ([record(during={"offered": 100})], "100 calls in the record, the client made 480"),
    ],
)
def test_records_that_do_not_agree_fail(
    records: list[dict[str, Any]], told: str, evidence: Make
) -> None:
    found = check_records(evidence(records=records))
    assert found.verdict is FAIL
    assert told in found.why


def test_failure_that_the_record_does_not_have_fails(evidence: Make, call: Any) -> None:
    good = evidence()
    assert good.history is not None
    bad = call(70.0, code="UNAVAILABLE", outcome="fail")
    calls = tuple(sorted((*good.history.calls, bad), key=lambda c: c.intended))
    found = check_records(evidence(records=[record()], history=History(calls)))
    assert found.verdict is FAIL
    assert "0 failed in the record, 1 at the client" in found.why
    seen = evidence(records=[record(during={"failed": 3})], history=History(calls))
    assert check_records(seen).verdict is PASS


@pytest.mark.parametrize(
    "changes",
    [
        {"records": None},
        {"records": []},
        {"records": [record(outcome="progressing")]},
        {"records": [record(traffic={})]},
        {"records": [record(during={"complete": False})]},
        {"records": [record()], "lives": []},
        {"records": [record()], "history": None},
    ],
)
def test_records_without_data_are_unknown(changes: dict[str, Any], evidence: Make) -> None:
    assert check_records(evidence(**changes)).verdict is UNKNOWN


def judged(**figures: Any) -> list[Mark]:
    """The mark of a release that the gate judged, handed over before its first pod."""
    return [Mark(DEPLOY, "release", 60.0, 90.0, {"kind": "bad", "before": ["old"], **figures})]


TAKEN_BACK = {"taken_back": True, "verdict": "aborted"}
PROMOTED = {"taken_back": False, "verdict": "promoted"}
ROLLED_BACK = {"outcome": "failed", "reason": "RolledBackByPolicy"}
AFTER_ALL = {"policy": {"decisions": [{"verdict": "promoted"}, {"verdict": "aborted"}]}}


@pytest.mark.parametrize(
    ("release", "status"),
    [
        (TAKEN_BACK, ROLLED_BACK),
        # It had completed before its watch ended.
        (TAKEN_BACK, {"outcome": "complete", **AFTER_ALL}),
        (PROMOTED, {"outcome": "complete"}),
        (PROMOTED, {"outcome": "superseded"}),
        # Taken back by hand: how far it had come is not known.
        ({"taken_back": False}, {"outcome": "failed", "reason": "ProgressDeadlineExceeded"}),
        # Its template is one from before: the way back.
        ({**TAKEN_BACK, "before": ["trip-new"]}, {"outcome": "complete"}),
    ],
)
def test_records_of_judged_releases_end_as_the_drill_saw_it(
    release: dict[str, Any], status: dict[str, Any], evidence: Make
) -> None:
    found = check_records(evidence(records=[record(**status)], marks=judged(**release)))
    assert (found.verdict, found.n) == (PASS, 1)


@pytest.mark.parametrize(
    ("release", "status", "told"),
    [
        (TAKEN_BACK, {"outcome": "complete"}, "was taken back by its policy, the record says comp"),
        (TAKEN_BACK, {"outcome": "superseded"}, "the record says superseded"),
        (TAKEN_BACK, {**ROLLED_BACK, "reason": "Other"}, "the record says failed by Other"),
        (PROMOTED, ROLLED_BACK, "was promoted, the record says failed"),
        ({**TAKEN_BACK, "before": ["trip-new"]}, ROLLED_BACK, "came back, the record says failed"),
    ],
)
def test_records_of_judged_releases_that_end_otherwise_fail(
    release: dict[str, Any], status: dict[str, Any], told: str, evidence: Make
) -> None:
    found = check_records(evidence(records=[record(**status)], marks=judged(**release)))
    assert found.verdict is FAIL
    assert told in found.why


def test_failure_of_a_judged_release_that_its_record_lacks_fails(evidence: Make, call: Any) -> None:
    good = evidence()
    assert good.history is not None
    bad = call(70.0, code="INTERNAL", outcome="fail")
    calls = tuple(sorted((*good.history.calls, bad), key=lambda c: c.intended))
    changes = {"marks": judged(**TAKEN_BACK), "history": History(calls)}
    without = check_records(evidence(records=[record(**ROLLED_BACK)], **changes))
    assert without.verdict is FAIL
    whole = record(**ROLLED_BACK, during={"failed": 1})
    assert check_records(evidence(records=[whole], **changes)).verdict is PASS


def test_gate_drills_ask_for_records_and_for_pods() -> None:
    for name in ("bad-deploy", "bad-deploy-slow", "bad-deploy-never-ready", "aa"):
        asked = dict(checkers_of(name))
        assert asked["records"] is check_records
        # What the recorder keeps is shorter than `aa`.
        assert ("attribution" in asked) is (name != "aa")


def seen(*failures: tuple[float, str], **changes: Any) -> dict[str, Any]:
    told = [{"at": stamp(at), "address": address} for at, address in failures]
    values = {"attempts": 9000, "total": len(told), "omitted": 0, "complete": True, "gaps": []}
    return {**values, "unsampled": [], "failures": told, **changes}


def unsampled(at: float, address: str, count: int) -> dict[str, Any]:
    return {"at": stamp(at), "address": address, "count": count}


def test_attempts_are_put_to_pod_and_phase(evidence: Make) -> None:
    found = check_attribution(evidence(recorder=seen((81.0, "10.0.0.1:50051"))))
    assert (found.verdict, found.n) == (PASS, 1)
    assert found.figures["by_pod_phase"] == {"trip draining": 1}


def test_attempts_without_a_sample_are_put_where_they_were_counted(evidence: Make) -> None:
    counted = [unsampled(82.0, "10.0.0.1:50051", 30)]
    told = seen((82.5, "10.0.0.1:50051"), total=31, omitted=30, unsampled=counted)
    found = check_attribution(evidence(recorder=told))
    assert (found.verdict, found.n) == (PASS, 31)
    assert found.figures["by_pod_phase"] == {"trip draining": 31}


@pytest.mark.parametrize(
    "recorder",
    [
        seen((81.0, "10.9.9.9:50051")),
        seen((81.0, "")),
        # Counted before the first was kept, so nobody knows when and where.
        seen((81.0, "10.0.0.1:50051"), total=2, omitted=1),
        # Within the second in which the pod began to drain.
        seen(total=4, omitted=4, unsampled=[unsampled(79.5, "10.0.0.1:50051", 4)]),
        seen(total=4, omitted=4, unsampled=[unsampled(81.0, "10.9.9.9:50051", 4)]),
    ],
)
def test_attempts_that_nobody_can_place_fail(recorder: dict[str, Any], evidence: Make) -> None:
    assert check_attribution(evidence(recorder=recorder)).verdict is FAIL


def test_attempts_without_data_are_unknown(evidence: Make) -> None:
    gap = [{"reason": "RecorderAbsent"}]
    kills = [Mark(KILL, "trip-old", 80.0)]
    for changes in (
        {"recorder": None},
        {"recorder": seen(attempts=0)},
        {"recorder": seen((81.0, "10.0.0.1:50051"), complete=False, gaps=gap)},
        {"recorder": seen(), "marks": kills},
    ):
        assert check_attribution(evidence(**changes)).verdict is UNKNOWN
    none = check_attribution(evidence(recorder=seen()))
    assert (none.verdict, none.n) == (PASS, 0)


def deploys(*spans: tuple[float, float | None]) -> list[Mark]:
    return [Mark(DEPLOY, f"deploy {n}", at, end) for n, (at, end) in enumerate(spans, start=1)]


def test_each_deploy_must_have_replaced_every_pod(evidence: Make, parameters: Any) -> None:
    found = check_repetitions(evidence(marks=deploys((60.0, 90.0))))
    assert (found.verdict, found.n) == (PASS, 1)
    assert found.figures["each"][0] == {
        "name": "deploy 1",
        "seconds": 30.0,
        "replaced": 1,
        "of": 1,
        "new": 1,
    }
    for marks, times in (
        (deploys(), 1),
        (deploys((60.0, 90.0)), 2),
        (deploys((60.0, None)), 1),
        # It ended before the old pod went.
        (deploys((60.0, 78.0)), 1),
        # The second found the new pod and left it.
        (deploys((60.0, 90.0), (91.0, 99.0)), 2),
    ):
        changes = {"marks": marks, "parameters": parameters(times=times)}
        assert check_repetitions(evidence(**changes)).verdict is UNKNOWN


def test_operator_must_have_come_back_from_each_kill(evidence: Make) -> None:
    back, away = Mark(OPERATOR_KILL, "o", 70.0, 75.0), Mark(OPERATOR_KILL, "o", 70.0)
    assert check_operator_kills(evidence(marks=[back])).verdict is PASS
    assert check_operator_kills(evidence(marks=[away])).verdict is UNKNOWN
    assert check_operator_kills(evidence(marks=[])).verdict is UNKNOWN


def test_scale_down_took_hold_when_as_many_went_as_planned(
    evidence: Make, life: Any, parameters: Any
) -> None:
    went = life("a", "trip", "1", (0.0, "ready"), (70.0, "draining"), (80.0, "gone"))
    stayed = life("b", "trip", "2", (0.0, "ready"))
    planned = {"parameters": parameters(replicas=2, to_replicas=1)}
    assert check_scaled_down(evidence(lives=[went, stayed], **planned)).verdict is PASS
    assert check_scaled_down(evidence(lives=[stayed, stayed], **planned)).verdict is UNKNOWN
    came = life("c", "trip", "3", (65.0, "pending"), (75.0, "ready"))
    assert check_scaled_down(evidence(lives=[went, stayed, came], **planned)).verdict is UNKNOWN
    assert check_scaled_down(evidence(intervals={}, **planned)).verdict is UNKNOWN


def test_drain_took_hold_when_the_node_is_empty(evidence: Make) -> None:
    # The pods of `life` are on a node called "node".
    assert check_drained(evidence(marks=[Mark("drain", "node", 61.0)])).verdict is PASS
    assert check_drained(evidence(marks=[Mark("drain", "other", 61.0)])).verdict is UNKNOWN
    assert check_drained(evidence(marks=[])).verdict is UNKNOWN
    lives = [pod for pod in evidence().lives if not pod.is_gone]
    kept = [pod.__class__(**{**vars(pod), "changes": ((0.0, "ready"),)}) for pod in lives]
    assert check_drained(evidence(lives=kept, marks=[Mark("drain", "node", 61.0)])).verdict is (
        UNKNOWN
    )


def test_control_tells_a_ratio_and_decides_nothing(evidence: Make, call: Any) -> None:
    arm = {"offered": 1000, "ok": 990, "failed": 10, "rolls": 10}
    found = check_control(evidence(control=arm))
    assert not found.is_judged
    # 1 % against at most 3 of 2,600.
    assert found.figures["ratio"] == pytest.approx(8.7, abs=0.05)
    assert "at least 8.7 times" in found.why
    calls = (call(70.0, code="UNAVAILABLE", outcome="fail"), *(call(71.0) for _ in range(999)))
    told = check_control(evidence(control=arm, history=History(calls)))
    assert told.figures["ratio"] == 10.0
    assert "at least" not in told.why


@pytest.mark.parametrize("arm", [None, {"problem": "no image"}, {"offered": 0, "failed": 0}])
def test_control_that_says_nothing_leaves_the_verdict_alone(
    arm: dict[str, Any] | None, evidence: Make, parameters: Any
) -> None:
    found = check_control(evidence(control=arm))
    assert (found.verdict, found.is_judged) == (UNKNOWN, False)
    drill = evidence(control=arm, parameters=parameters(drill="ten-deploys"))
    judgement = judge(drill)
    assert not any("control" in why for why in judgement.why.split("; "))
