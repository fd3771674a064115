"""Every rollout leaves exactly one record, whatever becomes of it and of the operator."""

import itertools
from collections.abc import Callable
from contextlib import AbstractContextManager

from cluster.conftest import OPERATOR_NAMESPACE
from cluster.operator.conftest import Place

MOMENTS = ("created", "scheduled", "started", "ready")


def roll_out(place: Place, version: str) -> None:
    place.kubectl("set", "env", "deployment/app", f"VERSION={version}")


def start(place: Place, **spec: object) -> None:
    place.apply(place.deployment(**spec))
    place.wait_for_outcome(1)


def outcomes(place: Place) -> list[str]:
    return [one.get("status", {}).get("outcome", "") for one in place.records()]


def test_record_is_single_and_complete_after_a_rolling_deploy(place: Place) -> None:
    start(place)
    roll_out(place, "two")
    record = place.wait_for_outcome(2)
    assert [one["spec"]["revision"] for one in place.records()] == [1, 2]
    trigger, status = record["spec"]["trigger"], record["status"]
    assert (trigger["kind"], trigger["manager"]) == ("rollout", "kubectl-set")
    assert status["outcome"] == "complete"
    assert [one["phase"] for one in status["phases"]] == [
        "Started", "Surging", "Available", "Complete",
    ]  # fmt: skip
    assert all("late" not in one for one in status["phases"])
    times = [one["at"] for one in status["phases"]]
    assert times == sorted(times)
    new = [pod for pod in status["pods"] if pod["hash"] == status["podTemplateHash"]]
    old = [pod for pod in status["pods"] if pod["hash"] != status["podTemplateHash"]]
    assert (len(new), len(old)) == (2, 2)
    for pod in new:
        assert all(moment in pod for moment in (*MOMENTS, "node")), pod
        assert "gone" not in pod
    for pod in old:
        assert all(moment in pod for moment in (*MOMENTS, "terminating", "gone")), pod
        assert "late" not in pod


def test_record_hides_values_of_variables(place: Place) -> None:
    start(place)
    roll_out(place, "hunter2")
    record = place.wait_for_outcome(2)
    (change,) = record["spec"]["trigger"]["templateDiff"]
    assert change["path"] == "spec.containers[main].env[VERSION].value"
    assert change["to"].startswith("redacted:")
    assert "hunter2" not in str(record)


def test_deployment_carries_nothing_of_the_operator(place: Place) -> None:
    start(place)
    roll_out(place, "two")
    place.wait_for_outcome(2)
    metadata = place.get("deployment", "app")["metadata"]
    assert set(metadata["annotations"]) == {
        "deployment.kubernetes.io/revision",
        "kubectl.kubernetes.io/last-applied-configuration",
    }
    assert "finalizers" not in metadata


def test_record_names_both_revisions_of_a_rollback(place: Place) -> None:
    start(place)
    roll_out(place, "two")
    place.wait_for_outcome(2)
    place.kubectl("rollout", "undo", "deployment/app")
    trigger = place.wait_for_outcome(3)["spec"]["trigger"]
    assert (trigger["kind"], trigger["rollbackOf"], trigger["rollbackTo"]) == ("rollback", 2, 1)


def test_record_tells_a_restart_from_a_rollout(place: Place) -> None:
    start(place)
    place.kubectl("rollout", "restart", "deployment/app")
    trigger = place.wait_for_outcome(2)["spec"]["trigger"]
    assert (trigger["kind"], trigger["manager"]) == ("restart", "kubectl-rollout")


def test_record_is_superseded_by_the_next_template(place: Place) -> None:
    start(place, progressDeadlineSeconds=60)
    place.kubectl("set", "image", "deployment/app", "main=hailstorm.invalid/none:1")
    place.wait(lambda: len(place.records()) == 2)
    roll_out(place, "two")
    superseded = place.wait_for_outcome(2)
    assert superseded["status"]["outcome"] == "superseded"
    assert superseded["status"]["supersededBy"] == place.records()[2]["metadata"]["name"]


def test_record_says_why_a_bad_image_failed(place: Place) -> None:
    start(place, progressDeadlineSeconds=5)
    place.kubectl("set", "image", "deployment/app", "main=hailstorm.invalid/none:1")
    record = place.wait_for_outcome(2)
    status = record["status"]
    assert (status["outcome"], status["reason"]) == ("failed", "ProgressDeadlineExceeded")

    def reasons() -> set[str]:
        # The kubelet may need longer than the deadline to give up on the name.
        pods = place.records()[1]["status"]["pods"]
        return set(itertools.chain(*(pod.get("reasons", []) for pod in pods)))

    place.wait(lambda: {"ErrImagePull", "ImagePullBackOff"} <= reasons())
    assert record["spec"]["trigger"]["images"][0]["to"] == "hailstorm.invalid/none:1"


def test_scaling_is_no_rollout(place: Place) -> None:
    start(place)
    place.kubectl("scale", "deployment/app", "--replicas=3")
    place.kubectl("rollout", "status", "deployment/app", "--timeout=60s", timeout=70)
    roll_out(place, "two")
    place.wait_for_outcome(2)
    assert [one["spec"]["revision"] for one in place.records()] == [1, 2]


def test_record_is_single_and_complete_when_the_operator_is_killed_midway(place: Place) -> None:
    start(place, replicas=4)
    roll_out(place, "two")
    place.wait(lambda: len(place.records()) == 2)
    place.cluster.kubectl(
        "--namespace", OPERATOR_NAMESPACE, "delete", "pod", "-l",
        "app.kubernetes.io/component=operator", "--grace-period=0", "--force",
    )  # fmt: skip
    record = place.wait_for_outcome(2)
    assert [one["spec"]["revision"] for one in place.records()] == [1, 2]
    status = record["status"]
    assert status["outcome"] == "complete"
    new = [pod for pod in status["pods"] if pod["hash"] == status["podTemplateHash"]]
    assert len(new) == 4
    for pod in new:
        assert all(moment in pod for moment in MOMENTS), pod


def test_record_outlives_its_deployment_and_says_so(place: Place) -> None:
    start(place, progressDeadlineSeconds=60)
    place.kubectl("set", "image", "deployment/app", "main=hailstorm.invalid/none:1")
    place.wait(lambda: len(place.records()) == 2)
    place.kubectl("delete", "deployment", "app")
    assert place.wait_for_outcome(2)["status"]["outcome"] == "deleted"
    assert len(place.records()) == 2


def test_record_cannot_be_rewritten(place: Place) -> None:
    start(place)
    name = place.records()[0]["metadata"]["name"]
    done = place.cluster.run(
        "kubectl", "--namespace", place.namespace, "patch", "rolloutrecord", name,
        "--type=merge", "--patch", '{"spec": {"revision": 9}}', check=False,
    )  # fmt: skip
    assert "a record is not rewritten" in done.stderr


def test_each_of_two_quick_templates_has_its_record(place: Place) -> None:
    start(place)
    for version in ("two", "three"):
        place.kubectl("set", "env", "deployment/app", f"VERSION={version}")
    place.wait(lambda: outcomes(place) == ["complete", "superseded", "complete"])
    generations = [one["spec"]["generation"] for one in place.records()]
    assert generations == [1, 2, 3]


def test_rollouts_without_an_operator_are_found_later_and_marked_so(
    place: Place, operator_away: Callable[[], AbstractContextManager[None]]
) -> None:
    start(place)
    with operator_away():
        for version in ("two", "three"):
            roll_out(place, version)
            place.kubectl("rollout", "status", "deployment/app", "--timeout=60s", timeout=70)
    place.wait(lambda: sorted(outcomes(place)) == ["complete", "complete", "unknown"])
    by_revision = {one["spec"]["revision"]: one for one in place.records()}
    assert by_revision[2]["status"]["outcome"] == "unknown"
    assert "durationSeconds" not in by_revision[2]["status"]
    assert by_revision[3]["status"]["observation"] == "late"
    assert by_revision[3]["spec"]["trigger"]["kind"] == "rollout"


def test_rollback_without_an_operator_is_still_a_rollback(
    place: Place, operator_away: Callable[[], AbstractContextManager[None]]
) -> None:
    start(place)
    roll_out(place, "two")
    place.wait_for_outcome(2)
    with operator_away():
        place.kubectl("rollout", "undo", "deployment/app")
        place.kubectl("rollout", "status", "deployment/app", "--timeout=60s", timeout=70)
    trigger = place.wait_for_outcome(3)["spec"]["trigger"]
    assert (trigger["kind"], trigger["rollbackOf"], trigger["rollbackTo"]) == ("rollback", 2, 1)
