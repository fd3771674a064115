"""The scaler against real pods: it follows the edge's in-flight, and says what it does."""

import json
from pathlib import Path
from typing import Any

import pytest

from cluster.operator.conftest import EDGE_STUB, Place
from hailstorm_operator import scaler_console


def start(place: Place, edge_pods: int = 1, **spec: Any) -> None:
    place.edge(edge_pods)
    place.apply(place.deployment(replicas=1), place.scaler(**spec))
    place.wait(lambda: place.condition("Active")[0] == "True")
    place.wait(lambda: place.condition("SignalFresh")[0] == "True")


def decisions(place: Place) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = place.get("servicescaler", "app")["status"].get("decisions", [])
    return found


def test_scaler_grows_with_calls_in_flight_and_shrinks_a_step_a_window(place: Place) -> None:
    start(place)
    place.set_in_flight(28)
    place.wait(lambda: place.replicas() == 3, deadline=15)
    place.kubectl("rollout", "status", "deployment/app", "--timeout=60s", timeout=70)
    place.set_in_flight(1)
    place.wait(lambda: place.replicas() == 1, deadline=60)
    moves = [
        (one["action"], one["inputs"]["capacity"]["replicas"], one["desired"])
        for one in place.wait(
            lambda: decisions(place) if decisions(place)[-1]["desired"] == 1 else None
        )
        if one["action"] != "hold"
    ]
    assert moves[0][0] == "up"
    assert moves[-2:] == [("down", 3, 2), ("down", 2, 1)]
    reasons = place.kubectl(
        "get", "events", "--field-selector", "involvedObject.kind=ServiceScaler",
        "-o", "jsonpath={.items[*].reason}",
    )  # fmt: skip
    assert {"ScaledUp", "ScaledDown"} <= set(reasons.split())


def test_scaler_stops_at_its_bounds(place: Place) -> None:
    start(place, maxReplicas=2)
    place.set_in_flight(500)
    place.wait(lambda: place.replicas() == 2, deadline=15)
    place.wait(lambda: place.condition("Limited") == ("True", "MaxReplicas"))


def test_scaler_holds_and_says_so_when_the_edge_is_silent(place: Place) -> None:
    start(place)
    place.set_in_flight(28)
    place.wait(lambda: place.replicas() == 3, deadline=15)
    place.kubectl("delete", "pod", "edge-0", "--grace-period=0", "--force")
    place.wait(lambda: place.condition("SignalFresh") == ("False", "ServiceHasNoEndpoints"))
    assert place.replicas() == 3
    # The history waits for a state to last before it takes it for news.
    place.wait(lambda: decisions(place)[-1]["clamp"] == "staleSignalHolds", deadline=20)
    assert place.replicas() == 3


def test_scaler_keeps_off_when_an_autoscaler_owns_the_replicas(place: Place) -> None:
    start(place)
    for name in ("first", "second"):
        place.kubectl("autoscale", "deployment/app", "--name", name, "--cpu-percent=50", "--max=3")
    expected = ("True", "HorizontalPodAutoscalerOwnsReplicas")
    place.wait(lambda: place.condition("Conflict") == expected)
    assert place.condition("Active") == ("False", "HorizontalPodAutoscalerOwnsReplicas")
    place.set_in_flight(28)
    place.wait(lambda: place.get("servicescaler", "app")["status"]["inFlight"] == 28, deadline=20)
    assert place.replicas() == 1
    place.kubectl("delete", "hpa", "first", "second")
    place.wait(lambda: place.replicas() == 3, deadline=20)


def test_younger_scaler_of_the_same_target_keeps_off(place: Place) -> None:
    start(place)
    place.apply(place.scaler(name="younger"))
    expected = ("True", "OlderServiceScalerOwnsReplicas")
    place.wait(lambda: place.condition("Conflict", "younger") == expected)
    assert place.condition("Active") == ("True", "Scaling")


def test_scaler_respects_a_count_set_by_hand_for_a_window(place: Place) -> None:
    start(place)
    place.kubectl("scale", "deployment/app", "--replicas=4")
    by_hand = place.wait(
        lambda: next((one for one in decisions(place) if one["scaled_by_other"]), None)
    )
    assert by_hand["inputs"]["capacity"]["replicas"] == 4
    assert by_hand["action"] == "hold"
    place.wait(lambda: place.replicas() == 3, deadline=30)


def test_scaler_leaves_a_target_alone_that_was_scaled_to_zero(place: Place) -> None:
    start(place)
    place.kubectl("scale", "deployment/app", "--replicas=0")
    place.wait(lambda: place.condition("Active") == ("False", "ScaledToZero"))
    place.set_in_flight(28)
    place.wait(lambda: place.get("servicescaler", "app")["status"]["inFlight"] == 28, deadline=20)
    assert place.replicas() == 0


def test_scaler_names_a_missing_target(place: Place) -> None:
    place.edge()
    place.apply(place.scaler())
    place.wait(lambda: place.condition("Active") == ("False", "TargetMissing"))
    place.apply(place.deployment())
    place.wait(lambda: place.condition("Active") == ("True", "Scaling"))


def test_scaler_counts_refused_calls_as_demand(place: Place) -> None:
    start(place)
    place.set_in_flight(9)
    # 400 refused a second, of 50 ms each, are 20 calls that would be in flight.
    place.set_shed(400)
    place.wait(lambda: place.replicas() == 3, deadline=30)
    up = next(one for one in decisions(place) if one["action"] == "up")
    assert up["inputs"]["demand"]["shed"] > 1


def test_scaler_reads_a_gauge_of_each_pod_and_names_one_that_has_none(place: Place) -> None:
    serving = place.deployment(replicas=1)
    container = serving["spec"]["template"]["spec"]["containers"][0]
    container["command"] = ["python3", "-c", EDGE_STUB]
    container["readinessProbe"] = {
        "httpGet": {"path": "/metrics", "port": 9902},
        "periodSeconds": 1,
    }
    pods = {"pods": {"metric": "calls_in_flight", "port": 9902}}
    place.apply(serving, place.scaler(signal=pods))
    place.wait(lambda: place.condition("SignalFresh") == ("True", "AllSourcesAnswer"))
    (pod,) = place.kubectl("get", "pods", "-o", "name").split()
    place.set_in_flight(28, pod.removeprefix("pod/"))
    place.wait(lambda: place.replicas() == 3, deadline=30)
    wrong = {"pods": {"metric": "another", "port": 9902}}
    place.apply(place.scaler(signal=wrong))
    place.wait(lambda: place.condition("SignalFresh") == ("False", "NoSourceAnswers"))
    missing = place.get("servicescaler", "app")["status"]["signal"]["missing"]
    assert any(one.startswith(pod.removeprefix("pod/")) for one in missing)
    assert all("no metric 'another'" in one for one in missing)
    assert place.replicas() == 3


def test_scaler_stops_at_the_connection_budget(place: Place) -> None:
    start(place, connectionBudget={"connectionsPerPod": 9, "max": 30, "reserved": 10})
    place.set_in_flight(500)
    place.wait(lambda: place.condition("Limited") == ("True", "ConnectionBudget"), deadline=20)
    assert place.replicas() == 2


def test_scaler_accounts_for_itself(
    place: Place, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    start(place)
    place.set_in_flight(28)
    place.wait(lambda: place.replicas() == 3, deadline=15)
    place.kubectl("rollout", "status", "deployment/app", "--timeout=60s", timeout=70)

    def events() -> list[dict[str, Any]] | None:
        """Each step up (the fast window may take two), once its pods are ready."""
        found: list[dict[str, Any]] = place.get("servicescaler", "app")["status"]["scaleEvents"]
        return found if all("ready" in one["seconds"] for one in found) else None

    seen = place.wait(events)
    assert (seen[0]["from"], seen[-1]["to"]) == (1, 3)
    assert sum(len(one["pods"]) for one in seen) == 2
    assert all(one["writeMilliseconds"] > 0 for one in seen)
    place.wait(lambda: "latest" in place.get("servicescaler", "app")["status"])
    # What the schema does not declare is gone from here: the replay finds it.
    path = tmp_path / "app.json"
    path.write_text(json.dumps(place.get("servicescaler", "app")))
    assert scaler_console.replay_main([str(path)]) == scaler_console.SAME
    assert scaler_console.explain_main([str(path)]) == 0
    assert "app has" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "advice"),
    [
        ({"minReplicas": 6}, "write minReplicas or more here"),
        ({"minReplicas": 0}, "scale the target itself to 0"),
        ({"utilisation": 70}, "write a share from 0.1 to 1"),
        ({"targetInFlight": 0}, "at which one pod is at its knee"),
        ({"behavior": {"stableWindowSeconds": 5, "fastWindowSeconds": 9}}, "must be longer than"),
        ({"targetRef": {"kind": "StatefulSet", "name": "app"}}, "only Deployments can be scaled"),
        ({"signal": {}}, "write one source: edge"),
        ({"signal": {"edge": {"cluster": "a", "service": "b"}, "pods": {"metric": "a", "port": 1}}},
         "write one source: edge"),
        ({"signal": {"pods": {"metric": "calls{a=1}", "port": 1}}}, "write the name alone"),
        ({"signal": {"pods": {"metric": "calls", "port": 1, "path": "m"}}}, "with a slash"),
        ({"behavior": {"scaleDown": {"windowSeconds": 9}}}, "must not be shorter"),
        ({"behavior": {"scaleDown": {"stepSeconds": 1}}}, "what the last step has done"),
        ({"connectionBudget": {"connectionsPerPod": 9, "max": 8}}, "raise connectionBudget.max"),
    ],
)  # fmt: skip
def test_bad_spec_is_refused_with_advice(place: Place, change: dict[str, Any], advice: str) -> None:
    assert advice in place.refused(place.scaler(**change))
