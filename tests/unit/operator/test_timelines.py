"""Timelines of pods: each moment once, none invented."""

from datetime import timedelta
from typing import Any

from hailstorm_operator.timelines import end_pod, observe_pod
from hailstorm_operator.timestamps import whole_seconds, with_milliseconds, witnessed
from unit.operator.objects import START, at, pod, ready_pod, stamp


def test_stamp_gains_the_fraction_of_an_event_of_the_same_second() -> None:
    assert witnessed(stamp(0), START) == "2026-11-21T09:00:00.250Z"


def test_stamp_stays_whole_when_the_event_came_later_or_clocks_disagree() -> None:
    for seen in (START + timedelta(seconds=1), START - timedelta(seconds=1), None):
        assert witnessed(stamp(0), seen) == "2026-11-21T09:00:00Z"


def test_timeline_holds_every_moment_of_a_ready_pod() -> None:
    line = observe_pod(None, ready_pod(3), at(3))
    assert line["node"] == "node-1"
    assert line["created"] == whole_seconds(at(0))
    assert line["ready"] == with_milliseconds(at(3))


def test_observing_again_changes_nothing() -> None:
    line = observe_pod(None, ready_pod(3), at(3))
    assert observe_pod(line, ready_pod(3), at(9)) == line


def test_first_ready_stands_when_readiness_flaps() -> None:
    line = observe_pod(None, ready_pod(3), at(3))
    assert observe_pod(line, ready_pod(60), at(60))["ready"] == line["ready"]


def deleted(seconds: float, grace: int) -> dict[str, Any]:
    return pod(
        metadata={
            "deletionTimestamp": stamp(seconds + grace),
            "deletionGracePeriodSeconds": grace,
        }
    )


def test_terminating_is_when_the_deletion_was_asked_for() -> None:
    line = observe_pod(None, deleted(5, 30), None)
    assert line["terminating"] == whole_seconds(at(5))
    assert "late" not in line


def test_terminating_is_late_when_only_the_kubelets_last_step_was_seen() -> None:
    line = observe_pod(None, deleted(5, 0), None)
    assert line["late"] == ["terminating"]


def test_gone_is_exact_when_a_watch_told_and_late_when_not() -> None:
    line = observe_pod(None, pod(), None)
    assert end_pod(line, at(7), live=True)["gone"] == with_milliseconds(at(7))
    missed = end_pod(line, at(7), live=False)
    assert (missed["gone"], missed["late"]) == (whole_seconds(at(7)), ["gone"])


def test_gone_is_written_once() -> None:
    line = end_pod(observe_pod(None, pod(), None), at(7), live=True)
    assert end_pod(line, at(9), live=False) == line


def waiting(reason: str) -> dict[str, Any]:
    return pod(
        status={
            "containerStatuses": [
                {"restartCount": 2, "state": {"waiting": {"reason": reason, "message": "m" * 999}}}
            ]
        }
    )


def test_reasons_of_waiting_gather() -> None:
    line = observe_pod(None, waiting("ErrImagePull"), None)
    line = observe_pod(line, waiting("ImagePullBackOff"), None)
    line = observe_pod(line, waiting("ErrImagePull"), None)
    assert line["reasons"] == ["ErrImagePull", "ImagePullBackOff"]
    assert (line["restarts"], len(line["detail"])) == (2, 200)


def test_ordinary_waiting_is_no_reason() -> None:
    assert "reasons" not in observe_pod(None, waiting("ContainerCreating"), None)


def ended(**extra: Any) -> dict[str, Any]:
    state = {"terminated": {"reason": "Error", "exitCode": 143}}
    return pod(status={"containerStatuses": [{"restartCount": 0, "state": state}]}, **extra)


def test_exit_counts_as_trouble_only_when_nobody_asked_for_it() -> None:
    asked = {"deletionTimestamp": stamp(9), "deletionGracePeriodSeconds": 1}
    assert observe_pod(None, ended(), None)["reasons"] == ["Error"]
    assert "reasons" not in observe_pod(None, ended(metadata=asked), None)


def test_pod_without_a_node_says_why() -> None:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    line = observe_pod(None, pod(status={"conditions": [condition]}), None)
    assert line["reasons"] == ["Unschedulable"]
    assert "scheduled" not in line
