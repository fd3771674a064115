"""Records and verdicts when what writes them, counts for them or keeps them is away."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cluster.conftest import OPERATOR_NAMESPACE, Cluster
from cluster.operator.conftest import Place

API_AWAY_SECONDS = 20
LEASE = "hailstorm-operator"


def system(place: Place, *arguments: str, **options: Any) -> str:
    return place.cluster.kubectl("--namespace", OPERATOR_NAMESPACE, *arguments, **options)


def pods(place: Place, component: str) -> list[dict[str, Any]]:
    """Pods of the operator's release that are not about to go."""
    found = place.cluster.get(
        "pods", "--namespace", OPERATOR_NAMESPACE,
        "-l", f"app.kubernetes.io/component={component}",
    )["items"]  # fmt: skip
    return [one for one in found if "deletionTimestamp" not in one["metadata"]]


def ready(pod: dict[str, Any]) -> bool:
    conditions = {one["type"]: one["status"] for one in pod["status"].get("conditions", [])}
    return conditions.get("Ready") == "True"


def holder(place: Place) -> str:
    lease = place.cluster.get("lease", LEASE, "--namespace", OPERATOR_NAMESPACE)
    return str(lease["spec"].get("holderIdentity", ""))


@contextmanager
def two_operators(place: Place) -> Iterator[None]:
    """As somebody would have it who scales what can be scaled."""
    system(place, "scale", "deployment/hailstorm-operator", "--replicas=2")
    try:
        yield
    finally:
        system(place, "scale", "deployment/hailstorm-operator", "--replicas=1")
        place.wait(lambda: len(pods(place, "operator")) == 1)
        place.wait(lambda: holder(place) == pods(place, "operator")[0]["metadata"]["name"])


@contextmanager
def frozen_api_server(cluster: Cluster) -> Iterator[None]:
    """The API server keeps its connections and answers nothing."""
    control_plane = "node-role.kubernetes.io/control-plane"
    (node,) = cluster.get("nodes", "-l", control_plane)["items"]

    def send(signal: str) -> None:
        # A node of kind is a container of its name.
        command = f"kill -{signal} $(pidof kube-apiserver)"
        cluster.run("docker", "exec", node["metadata"]["name"], "sh", "-c", command)

    send("STOP")
    try:
        yield
    finally:
        send("CONT")


def test_second_operator_stands_by_and_takes_over(place: Place) -> None:
    place.apply(place.deployment())
    place.wait_for_outcome(1)
    with two_operators(place):
        place.wait(lambda: [ready(one) for one in pods(place, "operator")] == [True, True])
        leader = holder(place)
        (waiting,) = {one["metadata"]["name"] for one in pods(place, "operator")} - {leader}
        assert f"{leader} leads; this operator stands by" in system(place, "logs", waiting)
        place.kubectl("set", "env", "deployment/app", "VERSION=two")
        place.wait_for_outcome(2)
        # Without a word to anybody, as a node dies.
        system(place, "delete", "pod", leader, "--grace-period=0", "--force")
        place.wait(lambda: holder(place) not in ("", leader))
        place.kubectl("set", "env", "deployment/app", "VERSION=three")
        place.wait_for_outcome(3)
    assert [one["spec"]["revision"] for one in place.records()] == [1, 2, 3]
    assert {one["status"]["outcome"] for one in place.records()} == {"complete"}


def test_held_rollout_outlives_recorder_and_api_server(place: Place) -> None:
    place.apply(
        place.deployment(progressDeadlineSeconds=120),
        place.policy(
            edge={"cluster": "nobody-calls-it"}, canary={"holdSeconds": {"min": 5, "max": 15}}
        ),
    )
    place.wait(
        lambda: place.get("rolloutpolicy", "app").get("status", {}).get("stableRevision") == 1
    )
    before = pods(place, "operator")[0]
    place.kubectl("set", "env", "deployment/app", "VERSION=two")
    place.wait(lambda: place.get("rolloutpolicy", "app")["status"].get("stage") == "Holding")
    system(
        place, "delete", "pod", "-l", "app.kubernetes.io/component=recorder",
        "--grace-period=0", "--force",
    )  # fmt: skip
    with frozen_api_server(place.cluster):
        # The hold ends meanwhile, and nobody can be told.
        time.sleep(API_AWAY_SECONDS)
    record = place.wait_for_outcome(2)
    assert [one["spec"]["revision"] for one in place.records()] == [1, 2]
    assert record["status"]["outcome"] == "complete"
    verdicts = [one["verdict"] for one in record["status"]["policy"]["decisions"]]
    # Neither what a gap hides nor what nobody called is a promotion by evidence.
    assert verdicts[0] == "insufficient_evidence"
    (after,) = pods(place, "operator")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert [one["restartCount"] for one in after["status"]["containerStatuses"]] == [
        one["restartCount"] for one in before["status"]["containerStatuses"]
    ]

    def traffic() -> dict[str, Any]:
        found: dict[str, Any] = place.records()[1]["status"].get("traffic", {})
        return found

    place.wait(traffic, deadline=120)
    assert (traffic()["state"], traffic()["reason"]) == ("Unknown", "RecorderGap")
