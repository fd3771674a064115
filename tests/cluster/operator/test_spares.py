"""Warm spares and the two phases of scaling down, on real pods and a real Service."""

import json
from typing import Any

from cluster.operator.conftest import Place

BOUNDED = {"minReplicas": 1, "maxReplicas": 2, "spares": {"count": 2}}


def start(place: Place, replicas: int = 1, **spec: Any) -> None:
    place.edge()
    place.apply(place.service(), place.deployment(replicas=replicas), place.scaler(**spec))
    place.wait(lambda: place.condition("SignalFresh")[0] == "True")


def listed(place: Place, kind: str, selector: str = "") -> list[dict[str, Any]]:
    found = json.loads(place.kubectl("get", kind, "-l", selector, "-o", "json"))["items"]
    return list(found)


def pods(place: Place, name: str) -> list[dict[str, Any]]:
    """Pods of a Deployment that do not leave."""
    return [
        one
        for one in listed(place, "pods", "pod-template-hash")
        if one["metadata"]["ownerReferences"][0]["name"].rpartition("-")[0] == name
        and "deletionTimestamp" not in one["metadata"]
    ]


def behind_service(place: Place) -> set[str]:
    """Names of the pods that the Service's EndpointSlices list as ready."""
    return {
        endpoint["targetRef"]["name"]
        for one in listed(place, "endpointslices", "kubernetes.io/service-name=app")
        for endpoint in one.get("endpoints") or []
        if endpoint["conditions"]["ready"]
    }


def serving_spares(place: Place) -> set[str]:
    return {name for name in behind_service(place) if name.startswith("app-spare-")}


def versions(place: Place, name: str) -> set[str]:
    return {one["spec"]["containers"][0]["env"][0]["value"] for one in pods(place, name)}


def status(place: Place) -> dict[str, Any]:
    found: dict[str, Any] = place.get("servicescaler", "app")["status"].get("spares", {})
    return found


def scale_events(place: Place) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = place.get("servicescaler", "app")["status"]["scaleEvents"]
    return found


def test_spares_stand_in_for_what_is_missing_and_go_back(place: Place, operator_away: Any) -> None:
    start(place, **BOUNDED)
    place.wait(lambda: place.condition("SparesReady") == ("True", "SparesReady"))
    assert behind_service(place) == {one["metadata"]["name"] for one in pods(place, "app")}
    assert (status(place)["ready"], status(place)["inService"]) == (2, 0)
    owners = {
        one["kind"] for one in place.get("deployment", "app-spare")["metadata"]["ownerReferences"]
    }
    assert owners == {"ServiceScaler"}

    # Four pods' worth of calls and room for two: both spares have to serve.
    place.set_in_flight(38)
    place.wait(lambda: len(serving_spares(place)) == 2, deadline=15)
    place.wait(lambda: len(behind_service(place)) == 4)
    assert len(pods(place, "app")) == 2, "the target's ReplicaSet adopts no spare"
    assert len(pods(place, "app-spare")) == 2, "the spares' ReplicaSet lets none go"
    assert place.replicas() == 2
    place.wait(lambda: any("spareInService" in one["seconds"] for one in scale_events(place)))

    with operator_away():
        assert len(serving_spares(place)) == 2
    place.wait(lambda: place.condition("SignalFresh")[0] == "True")
    assert len(serving_spares(place)) == 2

    place.set_in_flight(1)
    place.wait(lambda: not serving_spares(place))
    place.wait(lambda: status(place)["inService"] == 0)
    moves = [(one["to"], one["why"]) for one in status(place)["moves"]]
    assert moves[0] == ("service", "demand")
    assert moves[-1][0] == "pool"

    place.kubectl("delete", "pod", pods(place, "app-spare")[0]["metadata"]["name"], "--wait=false")
    place.wait(lambda: len(pods(place, "app-spare")) == 2)


def test_new_template_reaches_the_spares_after_the_target(place: Place) -> None:
    start(place, replicas=2, spares={"count": 1}, minReplicas=2)
    place.wait(lambda: place.condition("SparesReady") == ("True", "SparesReady"))
    place.kubectl("set", "env", "deployment/app", "VERSION=two")
    place.wait(lambda: versions(place, "app-spare") == {"two"})
    assert versions(place, "app") == {"two"}
    # Stamps are whole seconds: the spares' template never comes before the target's last pod.
    made = max(
        one["metadata"]["creationTimestamp"]
        for one in listed(place, "replicasets", "hailstorm.dev/spare-of=app")
    )
    assert made >= max(one["status"]["startTime"] for one in pods(place, "app"))
    place.wait(lambda: status(place)["templateInStep"])


def test_spares_need_a_service_to_go_into(place: Place) -> None:
    place.edge()
    place.apply(place.deployment(replicas=1), place.scaler(**BOUNDED))
    place.wait(lambda: place.condition("SparesReady") == ("False", "ServiceNotFound"))
    place.apply(place.service())
    place.wait(lambda: place.condition("SparesReady") == ("True", "SparesReady"))


def test_least_busy_pod_leaves_when_the_target_shrinks(place: Place) -> None:
    start(place, replicas=3, minReplicas=2)
    found = place.wait(
        lambda: (
            {one["metadata"]["name"]: one["status"]["podIP"] for one in pods(place, "app")}
            if len(behind_service(place)) == 3
            else None
        )
    )
    # Not the youngest of the fullest node, which is who Kubernetes would take.
    quiet, *busy = sorted(found)
    place.set_in_flight(10, by_address={found[quiet]: 0, **{found[name]: 5 for name in busy}})
    place.wait(lambda: place.replicas() == 2)
    place.wait(lambda: {one["metadata"]["name"] for one in pods(place, "app")} == set(busy))


def test_changes_of_endpoints_are_batched(cluster: Any) -> None:
    # What kind-config.yaml asks for: a patch that kubeadm does not know is passed over silently.
    (manager,) = cluster.get(
        "pods", "--namespace", "kube-system", "--selector", "component=kube-controller-manager"
    )["items"]
    words = manager["spec"]["containers"][0]["command"]
    assert "--endpointslice-updates-batch-period=100ms" in words
