"""What the drills of the rollout gate conclude, and from what: every verdict, both ways."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from hailstorm_drills.checkers import bad_release
from hailstorm_drills.checkers.base import Finding, Verdict
from hailstorm_drills.checkers.recovery import check_recovery
from hailstorm_drills.evidence import Evidence
from hailstorm_drills.gate_runs import BAD, IDENTICAL, find_record, read_runs, verdict_of
from hailstorm_drills.marks import Mark
from hailstorm_drills.phases import Interval
from hailstorm_drills.recorder import epoch
from hailstorm_drills.registry import scenarios
from hailstorm_drills.verdict import as_json, checkers_of, judge
from hailstorm_operator import api

Make = Callable[..., Any]
DRILLS = ("bad-deploy", "bad-deploy-slow", "bad-deploy-never-ready", "aa")
# Two releases: handed over at 60 and at 90, each first serving five seconds later.
STARTS = (60.0, 90.0)


def told(**changes: Any) -> dict[str, Any]:
    """A mark's figures of a release that was caught 2.5 s after its first failure."""
    return {
        "before": ["old"],
        "kind": BAD,
        "record": "location-2",
        "verdict": api.VERDICT_ABORTED,
        "rule": api.RULE_FAILURES,
        "explanation": "4 of 4 failures fell on the new pods",
        "decided_at": 68.5,
        "started_at": 60.5,
        "canary_calls": 70,
        "canary_failed": 4,
        "taken_back": True,
        **changes,
    }


@pytest.fixture
def bad(evidence: Make, call: Make, life: Make, parameters: Make) -> Make:
    """
    Two bad releases, caught: failures at 66 to 69 and at 96 to 99.

    Keyword arguments change the first mark's figures; `evidence` changes the rest.
    """

    def make(changes: dict[str, Any] | None = None, **rest: Any) -> Evidence:
        failed = {start + at for start in STARTS for at in (6, 7, 8, 9)}
        calls = [call(n * 0.05) for n in range(2600)]
        calls = [
            dataclasses.replace(one, outcome="fail", code="INTERNAL")
            if one.intended in failed
            else one
            for one in calls
        ]
        first = told(**(changes or {}))
        second = told(record="location-4", decided_at=98.6, started_at=90.5)
        marks = [
            Mark("deploy", f"bad release {n}", at, at + 25, figures)
            for n, (at, figures) in enumerate(zip(STARTS, (first, second), strict=True), 1)
        ]
        canaries = [
            life(
                f"canary-{at:g}", "location", "10.0.0.9",
                (at + 1, "pending"), (at + 2, "starting"), (at + 5, "ready"),
                (at + 9, "draining"), (at + 12, "gone"),
            )
            for at in STARTS
        ]  # fmt: skip
        old = life("old", "location", "10.0.0.1", (-9.0, "ready"))
        values: dict[str, Any] = {
            "parameters": parameters(drill="bad-deploy", times=2),
            "components": ("location",),
            "history": dataclasses.replace(evidence().history, calls=tuple(calls)),
            "lives": [dataclasses.replace(old, template_hash="old"), *canaries],
            "marks": tuple(marks),
            "intervals": {
                "baseline": Interval(0.0, 60.0),
                "inject": Interval(60.0, 65.0),
                "hold": Interval(65.0, 115.0),
                "recover": Interval(115.0, 130.0),
            },
        }
        found: Evidence = evidence(**{**values, **rest})
        return found

    return make


def detected(evidence: Evidence, bound: float = 3.0, *, may_miss: bool = False) -> Finding:
    check = bad_release.check_detected(
        bad_release.from_first_failure,
        "to the verdict",
        (api.RULE_FAILURES,),
        bound,
        may_miss=may_miss,
    )
    return check(evidence)


def test_runs_are_read_from_three_witnesses(bad: Make) -> None:
    first, second = read_runs(bad())
    assert (first.at, first.until, second.until) == (60.0, 90.0, 130.0)
    # Failures end 20 ms after they began.
    assert (first.first_failure, first.last_failure, first.failed) == (66.02, 69.02, 4)
    assert (first.seen_at, first.ready_at, first.out_at) == (61.0, 65.0, 69.0)
    assert first.is_restored
    assert first.figures()["decided_seconds"] == 8.5
    assert first.offered == 600


def test_detection_is_the_median_of_all_runs(bad: Make) -> None:
    finding = detected(bad())
    assert finding.verdict is Verdict.PASS
    assert finding.figures["values"] == [2.48, 2.58]
    assert (finding.figures["median"], finding.n) == (2.53, 2)


def test_gate_that_is_too_slow_fails(bad: Make) -> None:
    assert detected(bad({"decided_at": 72.0})).verdict is Verdict.FAIL


def test_release_that_was_missed_counts_as_taking_for_ever(bad: Make) -> None:
    missed = {"taken_back": False, "verdict": api.VERDICT_PROMOTED, "decided_at": 61.0}
    first = Mark("deploy", "missed", 50.0, 59.0, told(**missed))
    both = [dataclasses.replace(mark) for mark in bad().marks]
    finding = detected(bad(marks=(first, *both)), may_miss=True)
    assert (finding.verdict, finding.figures["median"]) == (Verdict.PASS, 2.58)
    assert detected(bad(marks=(first, *both))).verdict is Verdict.FAIL
    # Two of three: the median is one that was missed.
    again = Mark("deploy", "missed too", 40.0, 49.0, told(**missed))
    finding = detected(bad(marks=(again, first, both[0])), may_miss=True)
    assert (finding.verdict, finding.figures["median"]) == (Verdict.FAIL, None)


@pytest.mark.parametrize(
    "changes",
    [
        {"taken_back": False},
        # The twin without a policy: nothing was decided and nobody took it back.
        {"taken_back": False, "verdict": "", "rule": "", "decided_at": None, "record": ""},
        # The twin that only looks on: decided, and still there.
        {"taken_back": False, "verdict": api.VERDICT_ABORTED},
        {"verdict": api.VERDICT_PROMOTED, "rule": api.RULE_ENOUGH},
        {"rule": api.REASON_DEADLINE},
    ],
)
def test_release_that_nobody_took_back_for_its_failures_fails(
    bad: Make, changes: dict[str, Any]
) -> None:
    assert detected(bad(changes)).verdict is Verdict.FAIL


def test_release_that_went_without_a_word_is_unknown(bad: Make) -> None:
    silent = {"verdict": "", "rule": "", "decided_at": None, "record": ""}
    assert detected(bad(silent)).verdict is Verdict.UNKNOWN
    assert detected(bad(marks=())).verdict is Verdict.UNKNOWN


def test_failures_that_go_on_fail(bad: Make) -> None:
    check = bad_release.check_late_failures
    assert check(6.0)(bad()).verdict is Verdict.PASS
    assert check(2.9)(bad()).verdict is Verdict.FAIL
    history = bad().history
    well = [dataclasses.replace(one, outcome="ok") for one in history.calls]
    nobody = bad(history=dataclasses.replace(history, calls=tuple(well)))
    assert check(6.0)(nobody).verdict is Verdict.UNKNOWN


def test_template_before_has_to_run_again(bad: Make, life: Make) -> None:
    assert bad_release.check_restored(bad()).verdict is Verdict.PASS
    assert bad_release.check_restored(bad({"taken_back": False})).verdict is Verdict.FAIL
    assert bad_release.check_restored(bad(marks=())).verdict is Verdict.UNKNOWN
    stays = life("canary", "location", "10.0.0.8", (61.0, "pending"), (65.0, "ready"))
    left = bad(lives=[*bad().lives, stays])
    assert bad_release.check_restored(left).verdict is Verdict.FAIL
    # Nothing of it serves at all, which is no restored template either.
    assert bad_release.check_restored(bad(lives=[])).verdict is Verdict.FAIL


def test_share_of_failed_calls_is_bounded(bad: Make) -> None:
    # 8 of 2,600.
    assert bad_release.check_paid(0.004)(bad()).verdict is Verdict.PASS
    assert bad_release.check_paid(0.003)(bad()).verdict is Verdict.FAIL
    assert bad_release.check_paid(0.004)(bad(history=None)).verdict is Verdict.UNKNOWN
    # Calls whose end nobody knows may all have failed.
    history = bad().history
    lost = [
        dataclasses.replace(one, outcome="unknown", code="DEADLINE_EXCEEDED") if n < 10 else one
        for n, one in enumerate(history.calls)
    ]
    timed_out = bad(history=dataclasses.replace(history, calls=tuple(lost)))
    assert bad_release.check_paid(0.004)(timed_out).verdict is Verdict.UNKNOWN
    assert bad_release.check_paid(0.008)(timed_out).verdict is Verdict.PASS


def test_bounds_of_what_calls_decide_grow_as_calls_get_fewer(bad: Make) -> None:
    # 2.5 s to the verdict, 3 s to the last failure.
    half = {"machine": {"load_scale": 0.5}}
    assert detected(bad(), 2.0).verdict is Verdict.FAIL
    finding = detected(bad(**half), 2.0)
    assert finding.verdict is Verdict.PASS
    assert finding.figures["bound_seconds"] == 4.0
    assert "at most 4.0 asked: 2 of the whole load" in finding.why
    check = bad_release.check_late_failures
    assert check(2.0)(bad()).verdict is Verdict.FAIL
    assert check(2.0)(bad(**half)).verdict is Verdict.PASS
    timed = bad_release.check_detected(
        bad_release.from_first_failure, "until", (api.RULE_FAILURES,), 2.0, by_calls=False
    )
    assert timed(bad(**half)).verdict is Verdict.FAIL


def test_release_without_a_pod_was_not_tried(bad: Make, parameters: Make) -> None:
    check = bad_release.check_releases_came(must_serve=True)
    assert check(bad()).verdict is Verdict.PASS
    assert check(bad(lives=bad().lives[:2])).verdict is Verdict.UNKNOWN
    assert check(bad(parameters=parameters(times=3))).verdict is Verdict.UNKNOWN
    few = parameters(times=2, min_user_calls=3_000)
    assert check(bad(parameters=few)).verdict is Verdict.UNKNOWN
    # One that was never to serve and did.
    assert bad_release.check_releases_came(must_serve=False)(bad()).verdict is Verdict.UNKNOWN


def test_end_of_a_release_that_never_serves_counts_from_its_deadline(bad: Make) -> None:
    run, _ = read_runs(bad())
    # 60.5 + 6 is the deadline, 69 its pod's end.
    assert bad_release.out_after_deadline(6.0)(run) == pytest.approx(2.5)
    unsaid = dataclasses.replace(run, started_at=None)
    assert bad_release.out_after_deadline(6.0)(unsaid) == pytest.approx(2.0)
    assert bad_release.out_after_deadline(6.0)(dataclasses.replace(run, out_at=None)) is None
    assert bad_release.from_ready(run) == pytest.approx(3.5)
    assert bad_release.from_ready(dataclasses.replace(run, ready_at=None)) is None


def test_pod_that_is_never_told_to_go_is_not_out(bad: Make, life: Make) -> None:
    stays = life("canary", "location", "10.0.0.8", (61.0, "pending"))
    assert read_runs(bad(lives=[*bad().lives, stays]))[0].out_at is None


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([api.VERDICT_PROMOTED, api.VERDICT_PROMOTED], Verdict.PASS),
        ([api.VERDICT_PROMOTED, api.VERDICT_ABORTED], Verdict.PASS),
        ([api.VERDICT_ABORTED, api.VERDICT_ABORTED], Verdict.FAIL),
        # A gate that was never asked, or had nothing to see, is not calm.
        ([api.VERDICT_PROMOTED, api.VERDICT_INSUFFICIENT], Verdict.UNKNOWN),
        ([api.VERDICT_PROMOTED, ""], Verdict.UNKNOWN),
        ([], Verdict.UNKNOWN),
    ],
)
def test_identical_releases_are_let_pass(bad: Make, verdicts: list[str], expected: Verdict) -> None:
    marks = [
        Mark("deploy", f"identical {n}", 60.0 + n, 61.0 + n, told(kind=IDENTICAL, verdict=verdict))
        for n, verdict in enumerate(verdicts)
    ]
    assert bad_release.check_calm(1)(bad(marks=tuple(marks))).verdict is expected


def test_identical_releases_are_not_asked_to_be_taken_back(bad: Make) -> None:
    promoted = {"kind": IDENTICAL, "verdict": api.VERDICT_PROMOTED, "taken_back": False}
    finding = detected(bad(promoted))
    assert (finding.verdict, finding.n) == (Verdict.PASS, 1)


def test_gate_is_not_judged_where_calls_failed_before(bad: Make) -> None:
    history = bad().history
    # Of the 1,200 calls of the baseline, 20 and then 30.
    for count, expected in ((20, Verdict.PASS), (30, Verdict.UNKNOWN)):
        calls = [
            dataclasses.replace(one, outcome="unknown") if n < count else one
            for n, one in enumerate(history.calls)
        ]
        found = bad(history=dataclasses.replace(history, calls=tuple(calls)))
        assert detected(found).verdict is expected
        assert bad_release.check_late_failures(6.0)(found).verdict is expected
    never = bad({"taken_back": False}, history=found.history)
    check = bad_release.on_sound_ground(bad_release.RESTORED, bad_release.check_restored)
    assert check(never).verdict is Verdict.UNKNOWN
    assert check(bad({"taken_back": False})).verdict is Verdict.FAIL


def test_told_finding_decides_nothing(bad: Make) -> None:
    assert not bad_release.told_only(check_recovery)(bad()).is_judged


def record(name: str, revision: int, **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {
            "targetRef": {"name": "location"},
            "revision": revision,
            "trigger": {"kind": "rollout"},
        },
        "status": status,
    }


def decision(verdict: str, at: str, **figures: Any) -> dict[str, Any]:
    return {
        "verdict": verdict,
        "rule": "R",
        "explanation": "why",
        "at": at,
        "figures": figures,
        "inputs": {"started_at": 5.5},
    }


def test_record_of_a_release_is_the_newest_that_was_not_there_before() -> None:
    old, new = record("location-2", 2), record("location-4", 4)
    back = record("location-5", 5)
    back["spec"]["trigger"]["kind"] = "rollback"
    other = record("trip-9", 9)
    other["spec"]["targetRef"]["name"] = "trip"
    assert find_record([old, new, back, other], "location", {"location-2"}) is new
    assert find_record([old, back, other], "location", {"location-2"}) is None


def test_verdict_is_the_first_unless_the_watch_takes_it_back() -> None:
    promoted = decision(api.VERDICT_PROMOTED, "2026-11-26T00:00:01.250Z", canaryCalls=9)
    aborted = decision(api.VERDICT_ABORTED, "2026-11-26T00:01:00Z", canaryFailed=3)
    watched = decision(api.VERDICT_PROMOTED, "2026-11-26T00:02:00Z")
    assert verdict_of(record("r", 2)) == {}
    found = verdict_of(record("r", 2, policy={"decisions": [promoted, watched]}))
    assert found["decided_at"] == epoch("2026-11-26T00:00:01Z") + 0.25
    assert (found["started_at"], found["canary_calls"]) == (5.5, 9)
    late = verdict_of(record("r", 2, policy={"decisions": [promoted, aborted]}))
    assert (late["verdict"], late["canary_failed"]) == (api.VERDICT_ABORTED, 3)


def test_verdict_of_the_drill_follows_its_own_checkers(bad: Make) -> None:
    judgement = judge(bad())
    assert [finding.checker for finding in judgement.findings][-5:] == [
        "detected",
        "late-failures",
        "restored",
        "records",
        "attribution",
    ]
    assert as_json(bad(), judgement)["detection_seconds"] == 2.53
    names = [name for name, _ in checkers_of("bad-deploy")]
    assert len(names) == len(set(names)), "took-hold and availability are replaced, not doubled"
    # 8 of 2,600 are above 0.2 %.
    assert judgement.verdict is Verdict.FAIL


@pytest.mark.parametrize("drill", DRILLS)
def test_every_drill_has_a_twin_that_breaks_the_gate(drill: str) -> None:
    (setting,) = scenarios()[drill].twin_settings
    assert setting in ("rolloutPolicy.enabled=false", "rolloutPolicy.mode=observe")
