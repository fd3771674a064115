"""What the chart renders, for each values file of ci/ and beyond."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2

from contract.charts.chart_rendering import (
    CHART,
    Manifest,
    RenderError,
    ci_values,
    default_values,
    environment,
    helm,
    pick,
    pod_specs,
    render,
)
from contract.charts.golden import CASES, golden_path, golden_text
from hailstorm_operator.policy_specs import parse_policy_spec

SERVICES = ("dispatch", "location", "trip")
POLICY = "rolloutPolicy.enabled=true"
REWRITE = "python tests/contract/charts/golden.py"


@pytest.mark.parametrize("case", CASES)
def test_values_file_lints(case: str) -> None:
    helm("lint", str(CHART), "--strict", "--values", ci_values(case))


@pytest.mark.parametrize("case", CASES)
def test_values_file_renders_what_is_on_record(case: str) -> None:
    assert golden_path(case).read_text() == golden_text(case), f"meant? then run: {REWRITE}"


@pytest.mark.parametrize("case", CASES)
def test_every_pod_keeps_to_pod_security_restricted(case: str) -> None:
    specs = pod_specs(render("--values", ci_values(case)))
    assert specs
    for name, spec in specs.items():
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["runAsUser"] > 0, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["enableServiceLinks"] is False, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys(), name
        for container in spec["containers"] + spec.get("initContainers", []):
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False, name
            assert security["readOnlyRootFilesystem"] is True, name
            assert security["capabilities"] == {"drop": ["ALL"]}, name
        volumes = {kind for volume in spec["volumes"] for kind in volume if kind != "name"}
        assert volumes <= {"configMap", "secret", "emptyDir", "projected"}, name


@pytest.mark.parametrize("case", CASES)
def test_every_container_has_its_share(case: str) -> None:
    for name, spec in pod_specs(render("--values", ci_values(case))).items():
        for container in spec["containers"]:
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}, name
            assert container["resources"]["limits"].keys() == {"cpu", "memory"}, name


@pytest.mark.parametrize("service", SERVICES)
def test_service_rolls_without_losing_capacity(service: str) -> None:
    manifests = render()
    spec = pick(manifests, "Deployment", service)["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert spec["minReadySeconds"] >= 1
    assert pick(manifests, "PodDisruptionBudget", service)["spec"]["maxUnavailable"] == 1
    (spread,) = spec["template"]["spec"]["topologySpreadConstraints"]
    assert spread["topologyKey"] == "kubernetes.io/hostname"


@pytest.mark.parametrize("service", SERVICES)
def test_probes_have_meanings_of_their_own(service: str) -> None:
    (container,) = pod_specs(render())[f"Deployment/{service}"]["containers"]
    paths = {
        kind: container[f"{kind}Probe"]["httpGet"]["path"]
        for kind in ("startup", "readiness", "liveness")
    }
    assert paths == {"startup": "/readyz", "readiness": "/readyz", "liveness": "/livez"}
    # A pod that overload slows down must not fail them: 1 s did, when measured.
    for kind in paths:
        assert container[f"{kind}Probe"]["timeoutSeconds"] >= 5


def test_selectors_hold_what_never_changes() -> None:
    for one in render():
        if one["kind"] in ("Deployment", "StatefulSet"):
            assert set(one["spec"]["selector"]["matchLabels"]) == {
                "app.kubernetes.io/name",
                "app.kubernetes.io/instance",
                "app.kubernetes.io/component",
            }, one["metadata"]["name"]


def test_traffic_follows_the_serving_label() -> None:
    manifests = render()
    for name in (*SERVICES, "edge", "edge-headless"):
        selector = pick(manifests, "Service", name)["spec"]["selector"]
        assert selector["hailstorm.dev/serving"] == "true"
    for name in (*SERVICES, "edge"):
        deployment = pick(manifests, "Deployment", name)
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert labels["hailstorm.dev/serving"] == "true"
        assert deployment["metadata"]["labels"]["hailstorm.dev/record"] == "true"


def test_services_are_found_pod_by_pod() -> None:
    manifests = render()
    for name in (*SERVICES, "edge-headless"):
        assert pick(manifests, "Service", name)["spec"]["clusterIP"] == "None"
    ports = pick(manifests, "Service", "edge-headless")["spec"]["ports"]
    assert {p["name"]: p["port"] for p in ports} == {
        "public": 8080,
        "internal": 8090,
        "stats": 9902,
    }
    (public,) = pick(manifests, "Service", "edge")["spec"]["ports"]
    assert public["nodePort"] == 30080


@pytest.mark.parametrize("service", SERVICES)
def test_replicas_are_left_to_the_operator_when_it_scales(service: str) -> None:
    assert pick(render(), "Deployment", service)["spec"]["replicas"] == 2
    scaled = render("--values", ci_values("scaler"))
    assert "replicas" not in pick(scaled, "Deployment", service)["spec"]
    scaler = pick(scaled, "ServiceScaler", service)["spec"]
    assert scaler["targetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": service}
    assert scaler["signal"]["edge"] == {
        "cluster": service,
        "service": "edge-headless",
        "port": 9902,
    }


@pytest.mark.parametrize("service", SERVICES)
def test_releases_are_judged_where_that_is_asked_for(service: str) -> None:
    assert not [m for m in render() if m["kind"] == "RolloutPolicy"]
    spec = pick(render("--values", ci_values("policy")), "RolloutPolicy", service)["spec"]
    assert spec["targetRef"]["name"] == spec["edge"]["cluster"] == service
    # What a service's own block names differs, and the rest of the block above stands.
    assert spec["canary"]["minCalls"] == (20 if service == "dispatch" else 50)
    assert spec["canary"]["holdSeconds"] == {"min": 30, "max": 60}
    assert parse_policy_spec(spec).enforce
    assert parse_policy_spec(spec).latency is not None


def test_latency_guard_can_be_left_out() -> None:
    arguments = ("--set", POLICY, "--set-json", "rolloutPolicy.latency=null")
    spec = pick(render(*arguments), "RolloutPolicy", "trip")["spec"]
    assert parse_policy_spec(spec).latency is None


def test_twin_differs_where_it_must() -> None:
    twin = render("--values", ci_values("twin"))
    for service in SERVICES:
        assert environment(twin, service)["HAILSTORM_LIFECYCLE_DRAIN_ENABLED"] == "false"
    assert "retry_on" not in pick(twin, "ConfigMap", "edge")["data"]["envoy.yaml"]
    assert "retry_on" in pick(render(), "ConfigMap", "edge")["data"]["envoy.yaml"]


def test_external_stores_take_the_place_of_the_chart_s_own() -> None:
    manifests = render("--values", ci_values("external-stores"))
    assert not [m for m in manifests if m["kind"] in ("StatefulSet", "Secret")]
    trip = environment(manifests, "trip")
    assert trip["HAILSTORM_POSTGRES_HOST"] == "postgres.stores.example"
    assert trip["HAILSTORM_POSTGRES_PORT"] == "6432"
    reference = {"secretKeyRef": {"name": "matcher-database", "key": "password"}}
    assert trip["HAILSTORM_POSTGRES_PASSWORD"] == reference
    assert environment(manifests, "location")["HAILSTORM_REDIS_HOST"] == "redis.stores.example"
    assert environment(manifests, "location")["HAILSTORM_REDIS_MODE"] == "cluster"
    reference = {"secretKeyRef": {"name": "quote-key", "key": "quoteKey"}}
    assert environment(manifests, "dispatch")["HAILSTORM_QUOTES_KEY"] == reference


def test_passwords_stand_nowhere_but_in_secrets() -> None:
    manifests = render()
    for manifest in manifests:
        if manifest["kind"] == "Secret":
            (secret,) = manifest["data"].values()
            assert len(secret) >= 32
    for name, spec in pod_specs(manifests).items():
        for container in spec["containers"]:
            for variable in container["env"]:
                if variable["name"].endswith(("_PASSWORD", "_KEY")):
                    assert "secretKeyRef" in variable["valueFrom"], name


def tag(version: str) -> tuple[str, str]:
    """Arguments for a release of this version; Helm would take "1.0" for a number."""
    return ("--set-string", f"images.services.tag={version}")


def job_name(*arguments: str) -> str:
    """The name of the migration's Job."""
    (job,) = [m for m in render(*arguments) if m["kind"] == "Job"]
    name: str = job["metadata"]["name"]
    return name


def test_migration_gets_a_new_name_with_a_new_image() -> None:
    # A Job cannot be changed: without a new name the upgrade itself would fail.
    assert job_name(*tag("1.0")) != job_name(*tag("1.1"))
    assert job_name("--set", "images.services.tag=0.1.0") == job_name()
    assert job_name("--set", "trip.settings.postgres.poolMax=4") != job_name()


def test_no_hooks() -> None:
    for one in render():
        annotations = one["metadata"].get("annotations", {})
        assert not [key for key in annotations if key.startswith("helm.sh/hook")]


def test_configuration_rolls_the_edge_and_nothing_else() -> None:
    def templates(*arguments: str) -> dict[str, Any]:
        return {
            m["metadata"]["name"]: m["spec"]["template"]
            for m in render(*arguments)
            if m["kind"] in ("Deployment", "StatefulSet")
        }

    before, after = templates(), templates("--set", "edge.retries.attempts=2")
    assert {name for name in before if before[name] != after[name]} == {"edge"}


def test_new_release_rolls_the_services_and_nothing_else() -> None:
    def templates(version: str) -> dict[str, Any]:
        return {
            m["metadata"]["name"]: m["spec"]["template"]
            for m in render(*tag(version))
            if m["kind"] in ("Deployment", "StatefulSet")
        }

    before, after = templates("1.0"), templates("1.1")
    assert {name for name in before if before[name] != after[name]} == set(SERVICES)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--set", "edge.retrys.enabled=false"), "retrys"),
        (("--set", "lifecycle.drainenabled=false"), "drainenabled"),
        (("--set", "edge.retries.enabled=1"), "/edge/retries/enabled"),
        (("--set", "images.services.tagg=1"), "tagg"),
        (("--set", "log.level=verbose"), "/log/level"),
        (("--set", "dispatch.replicas=0"), "/dispatch/replicas"),
        (("--set", "lifecycle.drainMaxSeconds=5"), "edge.deadlines.maxSeconds"),
        (("--set-json", "lifecycle.propagationSeconds=0.5"), "lifecycle.propagationSeconds"),
        (("--set", "lifecycle.propagationSeconds=20"), "lifecycle.drainMaxSeconds"),
        (("--set", "rollout.minReadySeconds=0"), "rollout.minReadySeconds"),
        (("--set", "rollout.terminationGracePeriodSeconds=20"), "is below 37"),
        (("--set", "edge.deadlines.defaultSeconds=11"), "edge.deadlines.defaultSeconds"),
        (("--set", "trip.settings.postgres.poolMax=64"), "postgres.maxConnections"),
        (("--set", "scaler.enabled=true,scaler.trip.maxReplicas=40"), "40 pods"),
        (("--set", "server.grpcPort=50052"), "server.grpcPort"),
        (("--set", "server.maxConnectionAgeGraceSeconds=30"), "streamMaxSeconds"),
        (("--set", "postgres.external.host=elsewhere"), "postgres.existingSecret"),
        (("--set", "redis.external.host=elsewhere"), "redis.existingSecret"),
        (("--set", "redis.external.cluster=true"), "redis.external.host"),
        (("--set", "postgres.external.cluster=true"), "cluster"),
        (("--set", "edge.resources.limits.memory=268435456"), "limits"),
        (("--set-json", "location.rehearsal.failShare=1.5"), "/location/rehearsal/failShare"),
        (("--set", "location.rehearsal.failRate=1"), "failRate"),
        (("--set", "rolloutPolicy.dispatch.hold=1"), "hold"),
        (("--set", f"{POLICY},rolloutPolicy.canary.holdSeconds.max=120"), "holdSeconds.max"),
        (("--set", f"{POLICY},rolloutPolicy.trip.progressDeadlineSeconds=120"), "of trip"),
        (("--set", f"{POLICY},recorder.enabled=false"), "recorder.enabled"),
    ],
)
def test_values_that_do_not_fit_fail_by_name(arguments: tuple[str, ...], words: str) -> None:
    with pytest.raises(RenderError) as caught:
        render(*arguments)
    assert words in str(caught.value)


def test_grace_period_follows_from_its_parts() -> None:
    def grace(*arguments: str) -> int:
        spec = pod_specs(render(*arguments))["Deployment/trip"]
        seconds: int = spec["terminationGracePeriodSeconds"]
        return seconds

    assert grace() == 15 + 10 + 4 * 3
    assert grace("--set", "lifecycle.drainMaxSeconds=30") == 30 + 10 + 4 * 3
    assert grace("--set", "lifecycle.stopGraceSeconds=12") == 15 + 12 + 4 * 3
    assert grace("--set", "rollout.terminationGracePeriodSeconds=90") == 90


def test_schema_closes_every_object() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert schema["$schema"] == "http://json-schema.org/draft-07/schema#"
    # What a service's settings are called is the service's own business.
    open_ones = ("/definitions/settings", "/properties/global")

    def walk(node: Any, path: str) -> None:
        if isinstance(node, dict):
            if node.get("type") == "object" and not path.startswith(open_ones):
                assert node.get("additionalProperties") is False, path
            for key, value in node.items():
                # A condition takes nothing in; it only asks.
                if key != "if":
                    walk(value, f"{path}/{key}")

    walk(schema, "")


def test_network_policies_deny_what_none_allows() -> None:
    manifests = render()
    policies = [m for m in manifests if m["kind"] == "NetworkPolicy"]
    default = pick(manifests, "NetworkPolicy", "default-deny")["spec"]
    assert default == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    # Every workload has a policy of its own, or it could talk to DNS alone.
    components = {_component(p["spec"]["podSelector"]) for p in policies}
    assert components - {None} == {*SERVICES, "edge", "postgres", "redis", "migrate"}
    # Only the public port is open to everybody.
    for policy in policies:
        for rule in policy["spec"].get("ingress", []):
            if "from" not in rule:
                assert (policy["metadata"]["name"], rule["ports"]) == ("edge", [{"port": "public"}])
    assert not [m for m in render("--set", "networkPolicy.enabled=false") if m in policies]


def _component(selector: Manifest) -> str | None:
    """The component whose pods a selector takes, its warm spares left out."""
    name = "app.kubernetes.io/component"
    if named := selector.get("matchLabels", {}).get(name):
        return str(named)
    for one in selector.get("matchExpressions", []):
        if one["key"] == name:
            service, spare = one["values"]
            assert spare == f"{service}-spare"
            return str(service)
    return None


def _ports(manifests: list[Manifest], component: str) -> set[str | int]:
    """Names and numbers of the ports of a component's containers."""
    found: set[str | int] = set()
    for one in manifests:
        if one["kind"] in ("Deployment", "StatefulSet") and one["metadata"]["name"] == component:
            for container in one["spec"]["template"]["spec"]["containers"]:
                for port in container["ports"]:
                    found |= {port["name"], port["containerPort"]}
    return found


def test_network_policies_name_ports_that_exist() -> None:
    manifests = render()
    for policy in (m for m in manifests if m["kind"] == "NetworkPolicy"):
        for rule in policy["spec"].get("ingress", []):
            own = _component(policy["spec"]["podSelector"])
            assert own is not None
            known = _ports(manifests, own)
            assert {port["port"] for port in rule["ports"]} <= known
        for rule in policy["spec"].get("egress", []):
            for peer in rule["to"]:
                if "namespaceSelector" in peer:
                    # Another release's; tests/contract/operator compares the recorder's port.
                    continue
                if component := _component(peer.get("podSelector", {})):
                    known = _ports(manifests, component)
                    assert {port["port"] for port in rule["ports"]} <= known


def listed_methods() -> dict[str, dict[str, Any]]:
    """What values.yaml says of each method, by "<package>.<Service>/<Method>"."""
    return {
        f"{service}/{method}": options
        for upstream in default_values()["edge"]["upstreams"].values()
        for service, methods in upstream["services"].items()
        for method, options in methods.items()
    }


def proto_methods() -> dict[str, tuple[str, Any]]:
    """What the protos say of each method: its comment, and its descriptor."""
    compiled = descriptor_pb2.FileDescriptorSet.FromString(
        (CHART / "files" / "hailstorm.pb").read_bytes()
    )
    found = {}
    for file in compiled.file:
        if not file.name.startswith("hailstorm/"):
            continue
        text = (Path(CHART).parents[1] / "protos" / file.name).read_text()
        for service in file.service:
            for method in service.method:
                match = re.search(rf"((?:^ *//.*\n)+) *rpc {method.name}\(", text, re.MULTILINE)
                assert match, f"{file.name}: {method.name} has no comment"
                comment = re.sub(r"\s*//\s*", " ", match[1])
                found[f"{file.package}.{service.name}/{method.name}"] = (comment, method)
    return found


def test_edge_lists_every_method_there_is() -> None:
    assert listed_methods().keys() == proto_methods().keys()


def test_methods_for_services_are_not_public() -> None:
    for name, (comment, _) in proto_methods().items():
        is_public = listed_methods()[name].get("public", True)
        assert is_public is ("Called by dispatch" not in comment), name


def test_streams_are_listed_as_streams() -> None:
    for name, (_, method) in proto_methods().items():
        assert listed_methods()[name].get("stream", False) is method.server_streaming, name


def test_json_is_offered_for_all_public_methods_and_no_other() -> None:
    for name, (_, method) in proto_methods().items():
        has_path = len(method.options.SerializeToString()) > 0
        assert has_path is listed_methods()[name].get("public", True), name


def test_descriptors_can_spell_out_the_details_of_errors() -> None:
    compiled = descriptor_pb2.FileDescriptorSet.FromString(
        (CHART / "files" / "hailstorm.pb").read_bytes()
    )
    messages = {f"{f.package}.{m.name}" for f in compiled.file for m in f.message_type}
    assert {"google.rpc.Status", "google.rpc.ErrorInfo", "google.rpc.RetryInfo"} <= messages
