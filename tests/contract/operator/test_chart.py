"""The chart against the code: settings, names, defaults and rights agree."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from hailstorm_operator import api, specs
from hailstorm_operator.gate import MAX_SECONDS
from hailstorm_operator.gate_memory import Stage
from hailstorm_operator.leadership import LEASE_NAME
from hailstorm_operator.policy_specs import (
    HOLD_MIN_READY,
    HOLD_PAUSED,
    Then,
    parse_policy_spec,
)
from hailstorm_operator.policy_status import IDLE, MAX_DECISIONS
from hailstorm_operator.recorder import settings as recorder_settings
from hailstorm_operator.rollouts import Action
from hailstorm_operator.scale_events import ScaleEvents
from hailstorm_operator.scaler_rules import rules_of
from hailstorm_operator.scaler_status import HISTORY, describe, history_entry
from hailstorm_operator.scaling import decide_scale
from hailstorm_operator.scaling_inputs import Capacity, Demand, Inputs, first_memory
from hailstorm_operator.settings import PREFIX, Settings, read_settings
from hailstorm_operator.signals import Reading
from hailstorm_operator.spares import Entry
from hailstorm_operator.specs import parse_scaler_spec
from hailstorm_operator.timelines import observe_pod
from hailstorm_operator.timestamps import with_milliseconds
from unit.operator.objects import at, ready_pod
from unit.operator.recorded_traffic import OLD, OTHER, Traffic

ROOT = Path(__file__).parents[3]
CHART = ROOT / "charts" / "hailstorm-operator"
HOME_BIN = Path(os.environ.get("HAILSTORM_HOME", ROOT / ".hailstorm")) / "bin"


SCALER_SPEC = {
    "targetRef": {"name": "app"},
    "minReplicas": 1,
    "maxReplicas": 9,
    "signal": {"edge": {"cluster": "app", "service": "edge-headless"}},
    "targetInFlight": 8,
}


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    found = shutil.which("helm", path=f"{HOME_BIN}{os.pathsep}{os.environ['PATH']}")
    assert found, "helm is missing; `make tools` builds it"
    return subprocess.run([found, *arguments], capture_output=True, text=True, check=False)


def render(*arguments: str) -> list[dict[str, Any]]:
    done = helm("template", "hailstorm-operator", str(CHART), "--namespace", "system", *arguments)
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.safe_load_all(done.stdout) if one]


def pick(objects: list[dict[str, Any]], kind: str, name: str = "") -> dict[str, Any]:
    return next(
        one for one in objects if one["kind"] == kind and name in ("", one["metadata"]["name"])
    )


def pod_spec(
    objects: list[dict[str, Any]], deployment: str = "hailstorm-operator"
) -> dict[str, Any]:
    spec: dict[str, Any] = pick(objects, "Deployment", deployment)["spec"]["template"]["spec"]
    return spec


def environment(objects: list[dict[str, Any]], deployment: str) -> dict[str, str]:
    (container,) = pod_spec(objects, deployment)["containers"]
    return {one["name"]: one["value"] for one in container["env"] if "value" in one}


def test_chart_sets_every_setting_and_no_other() -> None:
    (container,) = pod_spec(render())["containers"]
    names = {one["name"] for one in container["env"]}
    assert names == {PREFIX + field.name.upper() for field in fields(Settings)}


def test_chart_defaults_are_the_codes() -> None:
    (container,) = pod_spec(render())["containers"]
    values = {one["name"]: one["value"] for one in container["env"] if "value" in one}
    assert read_settings(values) == Settings()


def test_recorder_gets_every_setting_and_the_codes_defaults() -> None:
    found = environment(render(), "hailstorm-recorder")
    names = {
        recorder_settings.PREFIX + field.name.upper()
        for field in fields(recorder_settings.Settings)
    }
    assert found.keys() == names
    # Where the journal lies is the chart's business: on a bare machine there is none.
    folder = found.pop(recorder_settings.PREFIX + "FOLDER")
    assert recorder_settings.read_settings(found) == recorder_settings.Settings()
    spec = pod_spec(render(), "hailstorm-recorder")
    (mount,) = spec["containers"][0]["volumeMounts"]
    assert mount["mountPath"] == folder
    (volume,) = spec["volumes"]
    assert volume["emptyDir"]["sizeLimit"] == "64Mi"


def test_recorder_can_be_left_out_and_the_operator_knows() -> None:
    objects = render("--set", "recorder.enabled=false")
    assert not [one for one in objects if one["metadata"]["name"] == "hailstorm-recorder"]
    assert environment(objects, "hailstorm-operator")[PREFIX + "RECORDER_URL"] == ""


def test_operator_asks_where_the_recorder_answers() -> None:
    objects = render("--set", "recorder.httpPort=9000")
    assert environment(objects, "hailstorm-operator")[PREFIX + "RECORDER_URL"] == (
        "http://hailstorm-recorder:9000"
    )
    ports = pick(objects, "Service", "hailstorm-recorder")["spec"]["ports"]
    assert {one["name"]: one["port"] for one in ports} == {"grpc": 9990, "http": 9000}


def test_edges_of_the_other_chart_send_where_the_recorder_listens() -> None:
    other = yaml.safe_load((ROOT / "charts" / "hailstorm" / "values.yaml").read_text())
    assert other["recorder"]["port"] == recorder_settings.Settings().grpc_port
    assert other["recorder"]["host"] == ""
    # What the default host is made of, and what the pulse asks.
    assert pick(render(), "Service", "hailstorm-recorder")
    assert recorder_settings.Settings().edges == ("edge-headless.hailstorm.svc:9902",)


def test_recorder_is_reached_by_edges_and_reaches_nothing_else() -> None:
    policy = pick(render(), "NetworkPolicy", "hailstorm-recorder")["spec"]
    edges, everybody = policy["ingress"]
    assert edges["ports"] == [{"port": 9990}]
    assert edges["from"][0]["podSelector"]["matchLabels"] == {"app.kubernetes.io/component": "edge"}
    assert everybody == {"ports": [{"port": 8082}]}
    pulses, dns = policy["egress"]
    assert pulses["ports"] == [{"port": 9902}]
    assert {one["port"] for one in dns["ports"]} == {53}
    selector = policy["podSelector"]["matchLabels"]
    labels = pick(render(), "Deployment", "hailstorm-recorder")["spec"]["template"]["metadata"]
    assert selector.items() <= labels["labels"].items()
    # The operator's own policy and Deployment do not take the recorder's pod for theirs.
    operator = pick(render(), "Deployment", "hailstorm-operator")["spec"]["selector"]
    assert not operator["matchLabels"].items() <= labels["labels"].items()


def signal_ports(*arguments: str) -> list[int]:
    """Ports of other namespaces' pods that the operator may call."""
    policy = pick(render(*arguments), "NetworkPolicy", "hailstorm-operator")["spec"]
    (rule,) = [one for one in policy["egress"] if one.get("to") == [{"namespaceSelector": {}}]]
    return [one["port"] for one in rule["ports"]]


def test_operator_may_ask_wherever_a_signal_is_read() -> None:
    """It once reached the edge's port only, whatever signal.pods.port said."""
    assert signal_ports() == [specs.DEFAULT_EDGE_PORT]
    assert signal_ports("--set", "networkPolicy.signalPorts={8080}") == [9902, 8080]


@pytest.mark.parametrize("name", ["hailstorm-operator", "hailstorm-recorder"])
def test_each_is_alone_and_restricted(name: str) -> None:
    objects = render()
    deployment = pick(objects, "Deployment", name)["spec"]
    assert (deployment["replicas"], deployment["strategy"]) == (1, {"type": "Recreate"})
    spec = pod_spec(objects, name)
    (container,) = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def crd(plural: str) -> dict[str, Any]:
    found = pick(render(), "CustomResourceDefinition", f"{plural}.{api.GROUP}")
    assert found["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    return found


@pytest.mark.parametrize(
    ("plural", "kind", "short"),
    [
        (api.SCALER_PLURAL, api.SCALER_KIND, "svs"),
        (api.RECORD_PLURAL, api.RECORD_KIND, "rr"),
        (api.POLICY_PLURAL, api.POLICY_KIND, "rp"),
    ],
)
def test_crd_carries_the_codes_names(plural: str, kind: str, short: str) -> None:
    spec = crd(plural)["spec"]
    assert (spec["group"], spec["names"]["kind"]) == (api.GROUP, kind)
    assert spec["names"]["shortNames"] == [short]
    (version,) = spec["versions"]
    assert version["name"] == api.VERSION
    assert "status" in version["subresources"]


def properties(plural: str, part: str) -> dict[str, Any]:
    (version,) = crd(plural)["spec"]["versions"]
    found: dict[str, Any] = version["schema"]["openAPIV3Schema"]["properties"][part]["properties"]
    return found


def test_crd_defaults_are_the_codes() -> None:
    spec = properties(api.SCALER_PLURAL, "spec")
    assert spec["utilisation"]["default"] == specs.DEFAULT_UTILISATION
    edge = spec["signal"]["properties"]["edge"]["properties"]
    assert edge["port"]["default"] == specs.DEFAULT_EDGE_PORT
    behavior = spec["behavior"]["properties"]
    defaults = {
        "fastWindowSeconds": specs.DEFAULT_FAST_WINDOW_SECONDS,
        "stableWindowSeconds": specs.DEFAULT_STABLE_WINDOW_SECONDS,
        "maxPodsInCreation": specs.DEFAULT_MAX_PODS_IN_CREATION,
        "tolerance": specs.DEFAULT_TOLERANCE,
    }
    declared = {name: one["default"] for name, one in behavior.items() if "default" in one}
    assert declared == spec["behavior"]["default"] == defaults
    pods = spec["signal"]["properties"]["pods"]["properties"]
    assert pods["path"]["default"] == specs.DEFAULT_METRICS_PATH
    window = behavior["scaleDown"]["properties"]["windowSeconds"]
    assert f"{specs.DEFAULT_SCALE_DOWN_WINDOW_SECONDS:g} by default" in window["description"]


def test_connection_budget_of_the_crd_counts_the_spares_as_the_code_does() -> None:
    (version,) = crd(api.SCALER_PLURAL)["spec"]["versions"]
    rules = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["x-kubernetes-validations"]
    (budget,) = [one for one in rules if one["fieldPath"] == ".connectionBudget"]
    assert "self.minReplicas + (has(self.spares)" in budget["rule"]
    assert "spares.count" in budget["message"]


def test_crd_declares_all_that_a_scaler_says() -> None:
    """What a schema does not declare is pruned: the replay would miss it."""
    demand = Demand(90.0, 80.0, 100.0, "partial", 4.0, 0.5, 2.0)
    inputs = Inputs(
        1000.0,
        rules_of(parse_scaler_spec(SCALER_SPEC), 4.0),
        demand,
        Capacity(2, 2, False),
        first_memory(900.0),
    )
    decision = decide_scale(inputs)
    reading = Reading(90.0, "partial", {"edge-0": 90.0}, ("edge-1 (gone)",), 4.0, 0.02)
    status, _ = describe(decision, reading, 1, None)
    status |= {"decisions": [history_entry(decision)], "scaleEvents": scale_events()}
    schema = {"properties": properties(api.SCALER_PLURAL, "status")}
    assert undeclared(schema, status, "status") == []


def scale_events() -> list[dict[str, Any]]:
    """A scale-up with a new pod and a spare, each as far as it gets."""
    events, now = ScaleEvents(), at(0).timestamp()
    events.begin(now, 2, 3, 0.3, 0.02, 0.012)
    entry = Entry(with_milliseconds(at(0.1)), {"app-spare-h1-a": "10.0.1.1"})
    events.enter(now, 2, entry, 0.3, 0.02)
    events.show_endpoints(["10.0.1.1"], at(0.2))
    body = ready_pod(1)
    body["status"]["podIP"] = OLD
    events.show_pod(body, at(1))
    rows = [{"address": f"{OLD}:50051", "count": 9}]
    events.show_calls([{"at": int(now) + 2, "rows": rows}])
    (event,) = events.describe()
    assert {"spareInService", "fairShare"} <= event["seconds"].keys()
    return [event]


def test_policy_defaults_are_the_codes() -> None:
    spec = properties(api.POLICY_PLURAL, "spec")
    canary = spec["canary"]["properties"]
    hold = canary["holdSeconds"]["properties"]
    defaults = {
        "holdSeconds": {"min": hold["min"]["default"], "max": hold["max"]["default"]},
        "minCalls": canary["minCalls"]["default"],
        "holdBy": canary["holdBy"]["default"],
    }
    assert spec["canary"]["default"] == defaults
    assert canary["holdSeconds"]["default"] == defaults["holdSeconds"]
    written = {
        "targetRef": {"name": "app"},
        "onInsufficientEvidence": "hold",
        "edge": {"cluster": "app"},
        "mode": spec["mode"]["default"],
        "canary": defaults,
        "alpha": spec["alpha"]["default"],
        "latency": {name: one["default"] for name, one in spec["latency"]["properties"].items()},
        "postPromotionWatchSeconds": spec["postPromotionWatchSeconds"]["default"],
    }
    least = {name: written[name] for name in ("targetRef", "onInsufficientEvidence", "edge")}
    assert parse_policy_spec(written) == parse_policy_spec({**least, "latency": {}})


def policy_rules() -> list[dict[str, str]]:
    """Every CEL rule of a RolloutPolicy's spec."""

    def walk(schema: dict[str, Any]) -> Iterator[dict[str, str]]:
        yield from schema.get("x-kubernetes-validations", [])
        for inner in schema.get("properties", {}).values():
            yield from walk(inner)

    (version,) = crd(api.POLICY_PLURAL)["spec"]["versions"]
    return list(walk(version["schema"]["openAPIV3Schema"]))


def test_every_refusal_of_a_policy_says_what_to_write() -> None:
    messages = [one["message"] for one in policy_rules()]
    assert len(messages) >= 10
    assert not [one for one in messages if not re.search(r"write|leave|lower|name", one)]


def test_policy_words_of_the_code_and_of_the_crd_are_the_same() -> None:
    rules = " ".join(one["rule"] for one in policy_rules())
    for words in (("enforce", "observe"), (HOLD_MIN_READY, HOLD_PAUSED), get_args(Then)):
        assert f"self in {list(words)}" in rules
    stages = properties(api.POLICY_PLURAL, "status")["stage"]["enum"]
    assert set(stages) == {IDLE, *get_args(Stage)}
    policy = properties(api.RECORD_PLURAL, "status")["policy"]["properties"]
    verdicts = {value for name, value in vars(api).items() if name.startswith("VERDICT_")}
    assert set(policy["verdict"]["enum"]) == verdicts
    assert set(policy["action"]["enum"]) == {*get_args(Action), "none"} - {"wait"}


def test_policys_longest_seconds_fit_into_the_recorded_ones() -> None:
    spec = properties(api.POLICY_PLURAL, "spec")
    hold = spec["canary"]["properties"]["holdSeconds"]["properties"]["max"]["maximum"]
    watch = spec["postPromotionWatchSeconds"]["maximum"]
    assert hold + watch < MAX_SECONDS


def test_crd_takes_every_kind_and_outcome_there_is() -> None:
    trigger = properties(api.RECORD_PLURAL, "spec")["trigger"]["properties"]
    kinds = {value for name, value in vars(api).items() if name.startswith("TRIGGER_")}
    assert set(trigger["kind"]["enum"]) == kinds
    status = properties(api.RECORD_PLURAL, "status")
    outcomes = {value for name, value in vars(api).items() if name.startswith("OUTCOME_")}
    assert set(status["outcome"]["enum"]) == outcomes - {api.OUTCOME_LABEL}


def undeclared(schema: dict[str, Any], value: Any, path: str) -> list[str]:
    """Paths of a value that the API server would drop, or refuse."""
    if isinstance(value, list):
        room = schema.get("maxItems", len(value))
        wrong = [] if len(value) <= room else [f"{path}: {len(value)} items"]
        return wrong + [one for each in value for one in undeclared(schema["items"], each, path)]
    if not isinstance(value, dict) or schema.get("x-kubernetes-preserve-unknown-fields"):
        return []
    known = schema.get("properties", {})
    other = schema.get("additionalProperties")
    return [
        one
        for key, each in value.items()
        for one in (
            undeclared(known.get(key, other), each, f"{path}.{key}")
            if key in known or other
            else [f"{path}.{key}"]
        )
    ]


def test_crd_declares_all_that_is_said_of_traffic() -> None:
    traffic = Traffic()
    for address in (OLD, OTHER):
        traffic.see(13, address, retried=True)
        traffic.see(13, address, kind="attempts", code=14, outcome="failed", count=80)
    traffic.store.gaps.add(at(13).timestamp(), at(14).timestamp(), "edge-a", "StreamEnded")
    described = traffic.describe()
    assert described["failures"]["byPod"]
    assert described["traffic"]["gaps"]
    seen = Traffic()
    seen.see(13)
    known = seen.describe()
    assert "usersFailed" in known["traffic"]
    status = properties(api.RECORD_PLURAL, "status")
    schema = {"properties": status}
    assert undeclared(schema, described, "status") == []
    assert undeclared(schema, known, "status") == []
    states = {value for name, value in vars(api).items() if name.startswith("TRAFFIC_")}
    assert set(status["traffic"]["properties"]["state"]["enum"]) == states - {
        api.TRAFFIC_LABEL,
        api.TRAFFIC_PENDING,
    }


def test_crd_declares_all_of_a_pods_timeline() -> None:
    body = ready_pod(1)
    body["status"]["podIP"] = OLD
    schema = {"properties": properties(api.RECORD_PLURAL, "status")}
    assert undeclared(schema, {"pods": [observe_pod(None, body, None)]}, "status") == []


def test_crd_takes_as_many_decisions_of_a_record_as_are_written() -> None:
    policy = properties(api.RECORD_PLURAL, "status")["policy"]["properties"]
    assert policy["decisions"]["maxItems"] == MAX_DECISIONS


def test_crd_has_room_for_the_history() -> None:
    decisions = properties(api.SCALER_PLURAL, "status")["decisions"]
    assert decisions["maxItems"] >= HISTORY


def rules(objects: list[dict[str, Any]], kind: str) -> set[tuple[str, str, str]]:
    return {
        (group, resource, verb)
        for one in objects
        if one["kind"] == kind
        for rule in one["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_rights_hold_nothing_that_kills_or_reads_secrets() -> None:
    granted = rules(render(), "ClusterRole")
    assert not {one for one in granted if "secrets" in one[1] or "exec" in one[1]}
    writes = {one for one in granted if one[2] not in ("get", "list", "watch")}
    assert writes == {
        ("apps", "deployments/scale", "patch"),
        ("apps", "deployments", "patch"),
        ("apps", "deployments", "create"),
        ("apps", "deployments/status", "patch"),
        ("", "pods", "patch"),
        (api.GROUP, "servicescalers/status", "patch"),
        (api.GROUP, "rolloutpolicies/status", "patch"),
        (api.GROUP, "rolloutrecords", "create"),
        (api.GROUP, "rolloutrecords", "patch"),
        (api.GROUP, "rolloutrecords", "delete"),
        (api.GROUP, "rolloutrecords/status", "patch"),
        ("events.k8s.io", "events", "create"),
    }


def test_namespaced_release_grants_the_same() -> None:
    namespaced = render("--values", str(CHART / "ci" / "namespaced-values.yaml"))
    missing = rules(render(), "ClusterRole") - rules(namespaced, "Role")
    assert not missing


def test_heartbeat_is_granted_by_the_codes_name() -> None:
    for one in render():
        for rule in one.get("rules", []):
            if rule["resources"] == ["leases"] and rule["verbs"] != ["create"]:
                assert rule["resourceNames"] == [LEASE_NAME]


@pytest.mark.parametrize("values", [[], ["--values", str(CHART / "ci" / "namespaced-values.yaml")]])
def test_leadership_has_its_rights_however_the_operator_is_installed(values: list[str]) -> None:
    objects = render(*values)
    (bound,) = (one for one in objects if one["kind"] == "Deployment" and "metadata" in one
                and one["metadata"]["name"] == "hailstorm-operator")  # fmt: skip
    here = bound["metadata"]["namespace"]
    local = [one for one in objects if one["metadata"].get("namespace") == here]
    granted = rules(local, "Role") | rules(objects, "ClusterRole")
    leases = "coordination.k8s.io", "leases"
    for verb in ("get", "create", "patch", "list", "watch"):
        assert (*leases, verb) in granted
    assert ("", "pods", "list") in granted


def test_namespaced_release_grants_nothing_cluster_wide() -> None:
    objects = render("--values", str(CHART / "ci" / "namespaced-values.yaml"))
    assert not [one for one in objects if one["kind"].startswith("ClusterRole")]
    places = {
        one["metadata"]["namespace"]
        for one in objects
        if one["kind"] == "Role" and one["metadata"]["name"] == "hailstorm-operator"
    }
    assert places == {"hailstorm", "hailstorm-test", "system"}


def test_crds_can_be_left_to_somebody_else() -> None:
    kinds = {one["kind"] for one in render("--set", "crds.install=false")}
    assert "CustomResourceDefinition" not in kinds


@pytest.mark.parametrize(
    "typo",
    [
        "recorder.historyLimits=5",
        "recorder.historyLimit=1",
        "log.level=loud",
        # A fence shorter than a request is none.
        "heartbeatSeconds=5",
        "replicas=2",
    ],
)
def test_typo_in_values_fails_the_rendering(typo: str) -> None:
    done = helm("template", "hailstorm-operator", str(CHART), "--set", typo)
    assert done.returncode != 0
    assert "schema" in done.stderr


def test_chart_lints() -> None:
    done = helm("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout
