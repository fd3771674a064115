"""The gate on real pods: a release that cannot run is undone, one that can is held and let go."""

import json
from typing import Any

import pytest

from cluster.conftest import OPERATOR_NAMESPACE
from cluster.operator.conftest import Place

HOLDS = ("minReadySeconds", "paused")
MISSING = "main=hailstorm.invalid/none:1"


def start(place: Place, **spec: Any) -> None:
    place.apply(place.deployment(progressDeadlineSeconds=60), place.policy(**spec))
    place.wait(lambda: stage(place) == "Idle" and status(place).get("stableRevision") == 1)


def status(place: Place) -> dict[str, Any]:
    found: dict[str, Any] = place.get("rolloutpolicy", "app").get("status", {})
    return found


def stage(place: Place) -> str:
    return str(status(place).get("stage", ""))


def roll_out(place: Place, version: str) -> None:
    place.kubectl("set", "env", "deployment/app", f"VERSION={version}")


def block(place: Place, revision: int) -> dict[str, Any]:
    """What the policy wrote into the record of a revision."""
    for one in place.records():
        if one["spec"]["revision"] == revision:
            found: dict[str, Any] = one.get("status", {}).get("policy", {})
            return found
    return {}


def pods(place: Place) -> set[str]:
    found = json.loads(place.kubectl("get", "pods", "-l", "app=app", "-o", "json"))["items"]
    return {one["metadata"]["name"] for one in found if "deletionTimestamp" not in one["metadata"]}


def leftovers(place: Place) -> list[str]:
    """What still shows that a policy held the Deployment."""
    deployment = place.get("deployment", "app")
    fields = [name for name in ("paused", "minReadySeconds") if deployment["spec"].get(name)]
    return fields + [key for key in deployment["metadata"]["annotations"] if "hailstorm.dev" in key]


def assert_nothing_is_left(place: Place) -> None:
    # The end is remembered first and the hold lifted after it, so that an operator
    # that dies in between does it again.
    place.wait(lambda: leftovers(place) == [])


@pytest.mark.parametrize("hold_by", HOLDS)
def test_missing_image_is_undone_and_no_old_pod_was_touched(place: Place, hold_by: str) -> None:
    start(place, canary={"holdSeconds": {"min": 5, "max": 20}, "holdBy": hold_by})
    before = pods(place)
    place.kubectl("set", "image", "deployment/app", MISSING)
    waited = place.cluster.run(
        "kubectl", "--namespace", place.namespace, "rollout", "status", "deployment/app",
        "--timeout=60s", timeout=70, check=False,
    )  # fmt: skip
    # The rollback is no success of the release.
    assert waited.returncode != 0
    record = place.wait_for_outcome(2)
    assert (record["status"]["outcome"], record["status"]["reason"]) == (
        "failed", "RolledBackByPolicy",
    )  # fmt: skip
    assert (block(place, 2)["verdict"], block(place, 2)["action"]) == ("aborted", "rollback")
    assert block(place, 2)["rule"] in ("ErrImagePull", "ImagePullBackOff")
    trigger = place.wait_for_outcome(3)["spec"]["trigger"]
    writers = place.kubectl("get", "deployment", "app", "-o", "yaml", "--show-managed-fields")
    assert (trigger["kind"], trigger["manager"]) == ("rollback", "hailstorm-operator"), (
        f"{trigger}\n{writers}"
    )
    assert trigger["cause"].startswith("rolled back to revision 1 by RolloutPolicy app")
    assert pods(place) == before
    place.wait(lambda: stage(place) == "Idle")
    assert_nothing_is_left(place)


def test_release_that_crashes_is_undone(place: Place) -> None:
    start(place)
    before = pods(place)
    patch = {"spec": {"template": {"spec": {"containers": [
        {"name": "main", "command": ["sh", "-c", "exit 3"]}
    ]}}}}  # fmt: skip
    place.kubectl("patch", "deployment", "app", "--patch", json.dumps(patch))
    place.wait(lambda: block(place, 2).get("verdict") == "aborted")
    assert block(place, 2)["rule"] == "CrashLoopBackOff"
    place.wait_for_outcome(3)
    assert pods(place) == before


@pytest.mark.parametrize("hold_by", HOLDS)
def test_canary_is_held_alone_and_let_go_by_the_policys_word(place: Place, hold_by: str) -> None:
    start(place, canary={"holdSeconds": {"min": 5, "max": 20}, "holdBy": hold_by})
    before = pods(place)
    roll_out(place, "two")
    place.wait(lambda: stage(place) == "Holding" and len(pods(place)) == 3)
    assert before < pods(place)
    place.wait(lambda: block(place, 2).get("verdict") == "insufficient_evidence")
    assert (block(place, 2)["rule"], block(place, 2)["action"]) == ("NoTrafficSource", "promote")
    assert place.wait_for_outcome(2)["status"]["outcome"] == "complete"
    place.wait(lambda: stage(place) == "Idle" and status(place).get("stableRevision") == 2)
    assert_nothing_is_left(place)


def test_users_undo_while_held_is_theirs(place: Place) -> None:
    start(place, canary={"holdSeconds": {"min": 20, "max": 30}})
    roll_out(place, "two")
    place.wait(lambda: stage(place) == "Holding" and len(pods(place)) == 3)
    place.kubectl("rollout", "undo", "deployment/app")
    place.kubectl("rollout", "status", "deployment/app", "--timeout=60s", timeout=70)
    trigger = place.wait_for_outcome(3)["spec"]["trigger"]
    assert (trigger["kind"], trigger["rollbackOf"]) == ("rollback", 2)
    assert trigger["manager"] != "hailstorm-operator"
    assert block(place, 2)["verdict"] == "superseded"
    assert block(place, 3) == {}
    place.wait(lambda: stage(place) == "Idle")
    assert_nothing_is_left(place)


def test_operator_killed_while_it_holds_goes_on_from_there(place: Place) -> None:
    start(place)
    roll_out(place, "two")
    place.wait(lambda: stage(place) == "Holding")
    place.cluster.kubectl(
        "--namespace", OPERATOR_NAMESPACE, "delete", "pod", "-l",
        "app.kubernetes.io/component=operator", "--grace-period=0", "--force",
    )  # fmt: skip
    assert place.wait_for_outcome(2)["status"]["outcome"] == "complete"
    verdicts = [one["verdict"] for one in block(place, 2)["decisions"]]
    assert verdicts[0] == "insufficient_evidence"
    assert len(verdicts) <= 2
    place.wait(lambda: stage(place) == "Idle")
    assert_nothing_is_left(place)


def test_observing_says_what_it_would_have_done_and_does_nothing(place: Place) -> None:
    start(place, mode="observe")
    generation = place.get("deployment", "app")["metadata"]["generation"]
    place.kubectl("set", "image", "deployment/app", MISSING)
    place.wait(lambda: block(place, 2).get("verdict") == "aborted")
    assert block(place, 2)["action"] == "none"
    assert place.get("deployment", "app")["metadata"]["generation"] == generation + 1


def test_policy_that_is_deleted_lets_go(place: Place) -> None:
    start(place, canary={"holdSeconds": {"min": 300, "max": 300}, "holdBy": "paused"})
    roll_out(place, "two")
    place.wait(lambda: place.get("deployment", "app")["spec"].get("paused"))
    place.kubectl("delete", "rolloutpolicy", "app")
    assert place.wait_for_outcome(2)["status"]["outcome"] == "complete"
    assert_nothing_is_left(place)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"onInsufficientEvidence": None}, "write onInsufficientEvidence: promote, rollback or"),
        ({"alpha": 0.5}, "write a share above 0"),
        ({"latency": {}}, "name edge.cluster, or leave latency out"),
        ({"canary": {"holdSeconds": {"min": 60, "max": 30}}}, "write min or more here"),
        ({"targetRef": {"name": "app", "kind": "StatefulSet"}}, "write apiVersion: apps/v1"),
    ],
)
def test_mistake_is_refused_with_its_cure(
    place: Place, change: dict[str, Any], message: str
) -> None:
    assert message in place.refused(place.policy(**change))
