"""The example's files fit each other, and the platform that brings its image."""

from pathlib import Path
from typing import Any

import yaml

from hailstorm_platform import example

FOLDER = Path(__file__).parents[3] / "examples" / "fortio"


def manifest(name: str) -> Any:
    return yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))


def test_server_and_load_run_the_image_that_the_nodes_have() -> None:
    for name in ("manifests/deployment.yaml", "load-job.yaml"):
        (container,) = manifest(name)["spec"]["template"]["spec"]["containers"]
        assert container["image"] == example.IMAGE, name


def test_scaler_and_policy_name_the_upstream_as_the_edge_does() -> None:
    ((name, upstream),) = manifest("edge-values.yaml")["edge"]["upstreams"].items()
    assert manifest("manifests/servicescaler.yaml")["spec"]["signal"]["edge"]["cluster"] == name
    assert manifest("manifests/rolloutpolicy.yaml")["spec"]["edge"]["cluster"] == name
    service = manifest("manifests/service.yaml")
    assert service["metadata"]["name"] == upstream.get("service", name)
    assert service["spec"]["clusterIP"] == "None"
    assert [port["port"] for port in service["spec"]["ports"]] == [upstream["port"]]
    assert upstream["namespace"] == example.NAMESPACE


def test_pod_outlives_its_pause_and_the_longest_call() -> None:
    values = yaml.safe_load(
        (FOLDER.parents[1] / "charts" / "hailstorm" / "values.yaml").read_text(encoding="utf-8")
    )
    spec = manifest("manifests/deployment.yaml")["spec"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    pause = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    # Our own services wait so long for the same news.
    assert pause >= values["lifecycle"]["propagationSeconds"]
    longest = values["edge"]["deadlines"]["maxSeconds"]
    assert pod["terminationGracePeriodSeconds"] > pause + longest
    assert spec["minReadySeconds"] >= values["rollout"]["minReadySeconds"]
    # The scaler's.
    assert "replicas" not in spec
