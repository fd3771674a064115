"""What a rollout did to its callers: counts, and failures put to pods and phases."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from hailstorm_operator.recorder.tallies import bound_ms, bucket_of
from hailstorm_operator.timelines import observe_pod
from hailstorm_operator.timestamps import with_milliseconds
from hailstorm_operator.traffic import (
    AROUND,
    MAX_FAILURES,
    due_at,
    phase_of,
    pod_at,
    unknown_traffic,
    windows_of,
)
from unit.operator.objects import at, ready_pod
from unit.operator.recorded_traffic import NEW, OLD, OTHER, PODS, Traffic, closed, line


@pytest.fixture
def traffic() -> Traffic:
    """A steady service: attempts and calls before, during and after."""
    made = Traffic()
    for seconds in (-15, 10, 35):
        for kind in ("calls", "attempts"):
            made.see(seconds, kind=kind, count=100)
    return made


def test_windows_lie_side_by_side_in_whole_seconds() -> None:
    before, during, after = windows_of(closed())
    assert before.end == during.start == at(0).replace(microsecond=0)
    assert during.end == after.start == at(20).replace(microsecond=0) + timedelta(seconds=1)
    assert before.end - before.start == after.end - after.start == AROUND
    assert due_at(closed()) > after.end


def test_superseded_rollout_has_no_after() -> None:
    assert [window.name for window in windows_of(closed("superseded"))] == ["before", "during"]


def test_end_before_its_start_makes_a_window_all_the_same() -> None:
    status = closed() | {"completedAt": with_milliseconds(at(-0.1))}
    _, during, _ = windows_of(status)
    assert during.end > during.start


def test_calls_are_counted_by_what_became_of_them(traffic: Traffic) -> None:
    traffic.see(11, retried=True, count=3)
    traffic.see(11, code=8, outcome="shed", count=2)
    traffic.see(11, code=5, outcome="refused", count=4)
    traffic.see(11, code=1, outcome="cancelled", count=5)
    traffic.see(11, code=14, outcome="failed")
    during = traffic.describe()["traffic"]["during"]
    wanted = {"ok": 103, "retriedOk": 3, "shed": 2, "refused": 4, "cancelled": 5, "failed": 1}
    assert {name: during[name] for name in wanted} == wanted
    assert during["offered"] == 115


def test_other_services_are_not_counted(traffic: Traffic) -> None:
    traffic.see(11, OTHER, cluster="other", code=14, outcome="failed", count=50)
    described = traffic.describe()
    assert described["traffic"]["clusters"] == ["app"]
    assert described["traffic"]["failed"] == "0/100"
    assert described["failures"]["total"] == 0


def test_latency_is_of_calls_that_went_well_and_are_no_streams(traffic: Traffic) -> None:
    traffic.see(11, took=3600, stream=True, count=500)
    traffic.see(11, took=5, code=4, outcome="failed", count=50)
    traffic.see(11, took=0.3, count=2)
    described = traffic.describe()["traffic"]
    assert described["during"]["p50Ms"] == bound_ms(bucket_of(0.02))
    assert described["during"]["p99Ms"] == bound_ms(bucket_of(0.3))
    assert described["p99During"] == "≤304ms"


@pytest.mark.parametrize(
    ("seconds", "address", "pod", "phase"),
    [
        (5, NEW, "app-new-a", "starting"),
        (10, NEW, "app-new-a", "ready"),
        (11, OLD, "app-old-a", "ready"),
        (13, OLD, "app-old-a", "draining"),
        (19, OLD, "app-old-a", "gone"),
    ],
)
def test_failed_attempt_is_put_to_its_pod_and_phase(
    traffic: Traffic, seconds: float, address: str, pod: str, phase: str
) -> None:
    traffic.see(seconds, address, kind="attempts", code=14, outcome="failed")
    failures = traffic.describe()["failures"]
    assert (failures["total"], failures["unattributed"]) == (1, 0)
    assert failures["byPhase"] == {phase: 1}
    assert failures["byPod"] == [{"pod": pod, "phase": phase, "count": 1}]
    (sample,) = failures["samples"]
    assert (sample["pod"], sample["phase"], sample["window"]) == (pod, phase, "during")
    assert sample["requestId"] == "r-1"


def test_attempt_at_an_unknown_address_is_unattributed(traffic: Traffic) -> None:
    traffic.see(11, OTHER, kind="attempts", code=14, outcome="failed")
    failures = traffic.describe()["failures"]
    assert (failures["total"], failures["unattributed"], failures["byPhase"]) == (1, 1, {})
    assert failures["samples"][0]["phase"] == "unattributed"


def test_failures_without_a_sample_are_put_to_the_pod_of_their_count(traffic: Traffic) -> None:
    traffic.see(14, kind="attempts", code=14, outcome="failed", count=3)
    traffic.see(14, kind="attempts", code=14, outcome="failed", count=40, sampled=False)
    failures = traffic.describe()["failures"]
    assert (failures["total"], failures["omitted"], failures["unattributed"]) == (43, 40, 0)
    assert failures["byPhase"] == {"draining": 43}
    assert failures["byPod"] == [{"pod": "app-old-a", "phase": "draining", "count": 43}]
    assert len(failures["samples"]) == 3


@pytest.mark.parametrize(
    ("seconds", "address"),
    [
        # Within the second in which it was asked to go, and of no pod of this Deployment.
        (12, OLD),
        (14, OTHER),
    ],
)
def test_failures_without_a_sample_that_nobody_can_place_are_unattributed(
    traffic: Traffic, seconds: float, address: str
) -> None:
    traffic.see(seconds, address, kind="attempts", code=14, outcome="failed", count=9)
    traffic.see(
        seconds, address, kind="attempts", code=14, outcome="failed", count=40, sampled=False
    )
    failures = traffic.describe()["failures"]
    assert (failures["total"], failures["omitted"]) == (49, 40)
    assert failures["unattributed"] >= 40


def test_samples_in_a_record_are_bounded_and_all_are_counted(traffic: Traffic) -> None:
    traffic.see(13, kind="attempts", code=14, outcome="failed", count=MAX_FAILURES + 20)
    failures = traffic.describe()["failures"]
    assert len(failures["samples"]) == MAX_FAILURES
    assert failures["byPhase"] == {"draining": MAX_FAILURES + 20}


def test_retried_attempt_hurts_nobody_and_is_listed(traffic: Traffic) -> None:
    traffic.see(13, kind="attempts", code=14, outcome="failed")
    traffic.see(13, NEW, retried=True)
    described = traffic.describe()
    assert described["traffic"]["failed"] == "0/101"
    assert described["failures"]["total"] == 1


def test_call_that_found_no_pod_is_the_services_failure(traffic: Traffic) -> None:
    traffic.see(13, "", code=14, outcome="failed")
    assert traffic.describe()["traffic"]["failed"] == "1/101"


def test_pods_say_when_they_were_first_called_and_drained(traffic: Traffic) -> None:
    """The new pod is ready at 8 s; the old one is asked to go at 12 s, and is gone at 18 s."""
    traffic.see(9, NEW, kind="attempts")
    traffic.see(14, OLD, kind="attempts")
    traffic.see(40, NEW, kind="attempts")
    pods = {one["name"]: one for one in traffic.describe()["pods"]}
    assert pods["app-new-a"]["firstCall"] == with_milliseconds(at(9))[:-5] + "Z"
    assert "drained" not in pods["app-new-a"]
    second_after = (at(14) + timedelta(seconds=1)).replace(microsecond=0)
    assert pods["app-old-a"]["drained"] == with_milliseconds(second_after)


def test_pod_without_a_call_says_nothing_of_calls() -> None:
    for one in Traffic().describe()["pods"]:
        assert not {"firstCall", "drained"} & one.keys()


def test_address_belongs_to_its_youngest_owner_so_far() -> None:
    pods = [
        line("first", OLD, created=0, ready=1, terminating=5, gone=6),
        line("second", OLD, created=10, ready=12),
    ]
    for seconds, name, phase in (
        (3, "first", "ready"),
        (8, "first", "gone"),
        (13, "second", "ready"),
    ):
        found = pod_at(pods, f"{OLD}:50051", at(seconds))
        assert found is not None
        assert (found["name"], phase_of(found, at(seconds))) == (name, phase)
    assert pod_at(pods, f"{OLD}:50051", at(-1)) is None
    assert pod_at(pods, "", at(3)) is None


@pytest.mark.parametrize("seconds", [-20, 10, 30])
def test_gap_in_any_window_makes_it_unknown(traffic: Traffic, seconds: float) -> None:
    moment = at(seconds).timestamp()
    traffic.store.gaps.add(moment, moment + 0.1, "edge-a", "StreamEnded")
    described = traffic.describe()["traffic"]
    assert (described["state"], described["reason"]) == ("Unknown", "RecorderGap")
    assert described["failed"] == described["p99During"] == "unknown"
    assert described["gaps"][0]["reason"] == "StreamEnded"
    # What was counted stays, as what at least there was.
    assert described["during"]["offered"] == 100


def test_gap_elsewhere_leaves_it_known(traffic: Traffic) -> None:
    for seconds in (-60, 120):
        moment = at(seconds).timestamp()
        traffic.store.gaps.add(moment, moment + 1, "edge-a", "StreamEnded")
    assert traffic.describe()["traffic"]["state"] == "Known"


def test_rollout_longer_than_is_kept_is_unknown(traffic: Traffic) -> None:
    traffic.store.since = at(-5).timestamp()
    described = traffic.describe()["traffic"]
    assert described["gaps"][0]["reason"] == "NotKept"
    assert described["state"] == "Unknown"


def test_no_call_at_all_is_unknown_not_zero() -> None:
    described = Traffic().describe()["traffic"]
    assert (described["state"], described["reason"]) == ("Unknown", "NoTraffic")
    assert described["failed"] == "unknown"


def test_edge_answers_for_every_call_from_outside() -> None:
    made = Traffic()
    pods = [
        line("edge-a", OTHER, created=-600, ready=-590, terminating=12, gone=18),
        line("edge-b", NEW, created=1, ready=9),
    ]
    made.see(10, cluster="app", count=10)
    made.see(10, cluster="trip", count=5)
    made.see(10, cluster="trip", listener="internal", count=100)
    made.see(13, cluster="trip", code=14, outcome="failed", envoy="edge-a")
    described = made.describe(closed(pods=pods), "edge-b")
    assert described["traffic"]["failed"] == "1/16"
    assert described["failures"]["byPod"] == [{"pod": "edge-a", "phase": "draining", "count": 1}]
    assert described["traffic"]["usersFailed"] == 1


def test_unknown_says_why() -> None:
    described = unknown_traffic("NoRecorder", "the operator has no recorder to ask")["traffic"]
    assert described["state"] == "Unknown"
    assert described["failed"] == "unknown"


def test_timeline_keeps_the_pods_address() -> None:
    body = ready_pod(1)
    body["status"]["podIP"] = OLD
    seen = observe_pod(None, body, None)
    assert seen["address"] == OLD
    # A pod that has ended no longer says it.
    del body["status"]["podIP"]
    assert observe_pod(seen, body, None)["address"] == OLD


def rolled_back(gone: bool = True) -> dict[str, Any]:
    """A release that was judged at 20 s, and whose pod was gone at 31 s."""
    ends = {"terminating": 21, "gone": 31} if gone else {}
    bad = line("app-new-a", NEW, created=1, ready=9, **ends) | {"hash": "new"}
    phases = [{"phase": "TakenBack", "at": with_milliseconds(at(31))}] if gone else []
    return closed(
        "failed",
        pods=[bad],
        podTemplateHash="new",
        phases=phases,
        policy={"action": "rollback"},
    )


def test_release_that_was_taken_back_lasts_until_its_last_pod_is_gone(traffic: Traffic) -> None:
    _, during, after = windows_of(rolled_back())
    assert during.end == after.start == at(31).replace(microsecond=0) + timedelta(seconds=1)
    for seconds, count in ((15, 8), (25, 23)):
        for kind in ("calls", "attempts"):
            traffic.see(seconds, NEW, kind=kind, code=13, outcome="failed", count=count)
    described = traffic.describe(rolled_back())
    assert described["traffic"]["failed"] == "31/131"
    assert described["traffic"]["usersFailed"] == 31
    assert described["failures"]["byPhase"] == {"draining": 23, "ready": 8}


def test_pods_that_are_not_seen_to_go_leave_it_unknown(traffic: Traffic) -> None:
    traffic.see(15, NEW, code=13, outcome="failed", count=8)
    described = traffic.describe(rolled_back(gone=False))["traffic"]
    assert (described["state"], described["reason"]) == ("Unknown", "PodsRemain")
    assert "app-new-a" in described["message"]
    assert "usersFailed" not in described
    assert described["during"]["failed"] == 8


def test_users_failed_are_calls_from_outside_that_the_new_pods_had_last(traffic: Traffic) -> None:
    status = closed(pods=[PODS[0], PODS[1] | {"hash": "new"}], podTemplateHash="new")
    traffic.see(12, NEW, code=13, outcome="failed", count=5)
    # Between services, on an old pod, on none, only the attempt, and after the rollout.
    traffic.see(12, NEW, code=13, outcome="failed", listener="internal", count=2)
    traffic.see(12, OLD, code=13, outcome="failed")
    traffic.see(12, "", code=14, outcome="failed")
    traffic.see(12, NEW, kind="attempts", code=13, outcome="failed", count=9)
    traffic.see(35, NEW, code=13, outcome="failed")
    described = traffic.describe(status)["traffic"]
    assert (described["usersFailed"], described["during"]["failed"]) == (5, 9)


def test_moment_is_read_in_any_precision() -> None:
    assert (
        phase_of(
            {"ready": "2026-11-21T09:00:01Z"}, datetime.fromisoformat("2026-11-21T09:00:01.5+00:00")
        )
        == "ready"
    )
