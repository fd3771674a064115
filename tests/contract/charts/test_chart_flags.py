"""
Flags in the chart: where pods find them, and what a pod may ask the API server.

The names of flags stand in four places (services, schema, annotation, docs), and
these tests hold them together.
"""

import json
import re
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest

from contract.charts.chart_rendering import (
    CHART,
    ROOT,
    Manifest,
    RenderError,
    environment,
    pick,
    pod_specs,
    render,
)
from hailstorm.runtime.flags.values import parse_flag

SERVICES = ("dispatch", "location", "trip")
PAGE = ROOT / "docs" / "reference" / "flags.md"


def flags_of(service: str) -> set[str]:
    """The flags that a service reads: the names in its module of them."""
    if find_spec(f"hailstorm.{service}.flags") is None:
        return set()
    module = import_module(f"hailstorm.{service}.flags")
    return {v for k, v in vars(module).items() if k.isupper() and isinstance(v, str)}


def schema_flags() -> dict[str, Any]:
    """The flags that values may hold, with their schemas."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    found: dict[str, Any] = schema["properties"]["flags"]["properties"]["values"]["properties"]
    return found


@pytest.mark.parametrize("service", SERVICES)
def test_flags_of_a_service_can_be_set_and_are_documented(service: str) -> None:
    page = {
        (name, reader)
        for name, reader in re.findall(r"^\| `([a-z-]+)` \| ([a-z]+) \|", PAGE.read_text(), re.M)
    }
    for name in flags_of(service):
        assert name in schema_flags(), name
        assert (name, service) in page, name


@pytest.mark.parametrize("service", SERVICES)
def test_flags_of_a_service_are_declared_with_what_they_may_be(service: str) -> None:
    """Or a process could not tell a slip of the pen from a value."""
    if (module := find_spec(f"hailstorm.{service}.flags")) is None:
        return
    declared = getattr(import_module(module.name), "FLAGS", None)
    assert declared is not None, f"{module.name} has no FLAGS"
    assert declared.keys() == flags_of(service)
    for name, kind in declared.items():
        words = schema_flags()[name].get("enum")
        assert kind is bool if words is None else list(kind) == words, name


def test_page_and_annotation_name_what_the_schema_knows() -> None:
    told = set(re.findall(r"^\| `([a-z-]+)` \| [a-z]+ \|", PAGE.read_text(), re.M))
    assert told == schema_flags().keys()
    note = pick(render(), "ConfigMap", "flags")["metadata"]["annotations"]["hailstorm.dev/flags"]
    assert set(re.findall(r"[a-z]+-[a-z]+|surge", note)) == schema_flags().keys()


def test_nothing_is_set_unless_values_say_so() -> None:
    """What is not in the chart is left alone by an upgrade: a switch stays thrown."""
    assert pick(render(), "ConfigMap", "flags")["data"] == {}


def test_values_become_what_a_process_reads() -> None:
    rules = {"value": True, "rules": [{"cell": ["8a", "8b"], "value": False}]}
    values = {"surge": False, "geo-backend": "geosearch", "new-requests": rules}
    data = pick(render("--set-json", f"flags.values={json.dumps(values)}"), "ConfigMap", "flags")[
        "data"
    ]
    assert parse_flag(data["surge"], bool).of({}) is False
    assert parse_flag(data["geo-backend"], ("ring", "geosearch")).of({}) == "geosearch"
    new_requests = parse_flag(data["new-requests"], bool)
    assert [new_requests.of({"cell": cell}) for cell in ("8a", "8b", "8c")] == [False, False, True]


@pytest.mark.parametrize(
    "values",
    [
        {"surge": "false"},
        {"surge": 0},
        {"sugre": False},
        {"geo-backend": "rnig"},
        {"new-requests": {"rules": []}},
        {"new-requests": {"value": True, "rules": [{"value": False}]}},
        {"new-requests": {"value": True, "rules": [{"cell": 1, "value": False}]}},
        {"new-requests": {"value": True, "rule": []}},
    ],
)
def test_slip_of_the_pen_does_not_render(values: dict[str, Any]) -> None:
    with pytest.raises(RenderError, match="/flags/values"):
        render("--set-json", f"flags.values={json.dumps(values)}")


def test_flip_rolls_no_pod() -> None:
    def templates(manifests: list[Manifest]) -> dict[str, Any]:
        return {
            m["metadata"]["name"]: m["spec"]["template"]
            for m in manifests
            if m["kind"] in ("Deployment", "StatefulSet", "Job")
        }

    assert templates(render()) == templates(render("--set", "flags.values.surge=false"))


def test_a_pod_of_a_service_may_watch_one_config_map_and_nothing_else() -> None:
    manifests = render()
    roles = [m for m in manifests if m["kind"] in ("Role", "ClusterRole")]
    assert [role["rules"] for role in roles] == [
        [
            {
                "apiGroups": [""],
                "resources": ["configmaps"],
                "resourceNames": ["flags"],
                "verbs": ["watch"],
            }
        ]
    ]
    (binding,) = [m for m in manifests if m["kind"].endswith("RoleBinding")]
    assert binding["kind"] == "RoleBinding"
    (subject,) = binding["subjects"]
    account = pick(manifests, "ServiceAccount", "flags-reader")
    assert (subject["kind"], subject["name"]) == ("ServiceAccount", account["metadata"]["name"])
    assert account["automountServiceAccountToken"] is False
    for name, spec in pod_specs(manifests).items():
        is_service = name in {f"Deployment/{service}" for service in SERVICES}
        projected = [v["projected"] for v in spec["volumes"] if "projected" in v]
        assert bool(projected) is is_service, name
        assert spec.get("serviceAccountName") == ("flags-reader" if is_service else None), name


@pytest.mark.parametrize("service", SERVICES)
def test_process_finds_its_flags_where_they_are_mounted(service: str) -> None:
    manifests = render()
    env = environment(manifests, service)
    spec = pod_specs(manifests)[f"Deployment/{service}"]
    (container,) = spec["containers"]
    mounts = {m["name"]: m["mountPath"] for m in container["volumeMounts"]}
    volumes = {v["name"]: v for v in spec["volumes"]}
    assert env["HAILSTORM_FLAGS_FOLDER"] == mounts["flags"]
    assert volumes["flags"]["configMap"] == {"name": "flags", "optional": True}
    assert env["HAILSTORM_FLAGS_CONFIG_MAP"] == "flags"
    # The settings' default, and the names that the process reads there.
    assert mounts["api-access"] == "/var/run/secrets/kubernetes.io/serviceaccount"
    files = {
        item["path"]
        for source in volumes["api-access"]["projected"]["sources"]
        for one in source.values()
        for item in one.get("items", [one])
    }
    assert files == {"token", "ca.crt", "namespace"}


@pytest.mark.parametrize("service", SERVICES)
def test_without_the_watch_no_pod_holds_a_token(service: str) -> None:
    manifests = render("--set", "flags.watch=false")
    assert not [m for m in manifests if m["kind"] in ("Role", "RoleBinding", "ServiceAccount")]
    spec = pod_specs(manifests)[f"Deployment/{service}"]
    assert {v["name"] for v in spec["volumes"]} == {"tmp", "flags"}
    env = environment(manifests, service)
    assert [name for name in env if "FLAGS" in name] == ["HAILSTORM_FLAGS_FOLDER"]
    policy = pick(manifests, "NetworkPolicy", service)["spec"]
    assert "ipBlock" not in json.dumps(policy)


def test_api_server_is_reached_where_values_say() -> None:
    arguments = ("--set", "networkPolicy.apiServerCidrs={10.0.0.1/32}")
    (rule,) = [
        rule
        for rule in pick(render(*arguments), "NetworkPolicy", "dispatch")["spec"]["egress"]
        if "ipBlock" in json.dumps(rule)
    ]
    assert rule["to"] == [{"ipBlock": {"cidr": "10.0.0.1/32"}}]
    assert rule["ports"] == [{"port": 443}, {"port": 6443}]
