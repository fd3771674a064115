"""Texts made for other programs: kind, Helm, Go, containerd, the node's manifests."""

import json
import re
from pathlib import Path

import pytest

from hailstorm_platform import image_values, kind_config, kubernetes_binaries, node_image
from hailstorm_platform.charts import render_namespaces
from hailstorm_platform.errors import PlatformError

REPOSITORY = Path(__file__).parents[3]
KIND_CONFIG = (REPOSITORY / "kind-config.yaml").read_text()


def test_kind_config_renders_another_cluster_and_changes_nothing_else() -> None:
    text = kind_config.render(KIND_CONFIG, name="hailstorm-test", edge_port=28080)
    changed = [
        pair
        for pair in zip(KIND_CONFIG.splitlines(), text.splitlines(), strict=True)
        if pair[0] != pair[1]
    ]
    assert changed == [
        ("name: hailstorm", "name: hailstorm-test"),
        ("        hostPort: 18080", "        hostPort: 28080"),
    ]


@pytest.mark.parametrize(
    ("name", "port", "said"),
    [
        ("Bad Name", 28080, "no name for a cluster"),
        ("", 28080, "no name for a cluster"),
        ("fine", 80, "no port for the edge"),
        ("fine", 70000, "no port for the edge"),
    ],
)
def test_kind_config_refuses_what_kind_would_trip_over(name: str, port: int, said: str) -> None:
    with pytest.raises(PlatformError, match=said):
        kind_config.render(KIND_CONFIG, name=name, edge_port=port)


def test_kind_config_refuses_a_file_with_two_host_ports() -> None:
    with pytest.raises(PlatformError, match="exactly one line"):
        kind_config.render(KIND_CONFIG + "        hostPort: 1\n", name="x", edge_port=28080)


def test_image_values_split_repository_and_tag() -> None:
    values = json.loads(
        image_values.render({"services": "localhost:5000/h/services:0.1.0-ab", "redis": "r/d:8-c"})
    )
    assert values == {
        "images": {
            "pullPolicy": "IfNotPresent",
            "services": {"repository": "localhost:5000/h/services", "tag": "0.1.0-ab"},
            "redis": {"repository": "r/d", "tag": "8-c"},
        }
    }


def test_go_mod_replaces_every_staging_module_by_its_release() -> None:
    own = (
        "module k8s.io/kubernetes\n\ngo 1.24.0\n\nreplace (\n"
        "\tk8s.io/api => ./staging/src/k8s.io/api\n"
        "\tk8s.io/client-go => ./staging/src/k8s.io/client-go\n)\n"
    )
    text = kubernetes_binaries.render_go_mod(own, "v1.34.4")
    assert "require k8s.io/kubernetes v1.34.4\n" in text
    assert "\tk8s.io/api => k8s.io/api v0.34.4\n" in text
    assert "\tk8s.io/client-go => k8s.io/client-go v0.34.4\n" in text
    with pytest.raises(PlatformError, match="no staging modules"):
        kubernetes_binaries.render_go_mod("go 1.24\n", "v1.34.4")


def test_link_flags_carry_the_version_into_both_packages() -> None:
    flags = kubernetes_binaries.link_flags("v1.34.4")
    assert flags.count("gitVersion=v1.34.4") == 2
    assert flags.count("gitMajor=1") == flags.count("gitMinor=34") == 2


def test_containerd_edits_raise_when_kind_changes_its_file() -> None:
    text = 'sandbox_image = "registry.k8s.io/pause:3.10"\nrestrict_oom_score_adj = false\n'
    edited = node_image.edit_containerd_config(text)
    assert "restrict_oom_score_adj = true" in edited
    assert "pause:3.10.1" in edited
    with pytest.raises(PlatformError, match="has no line"):
        node_image.edit_containerd_config("version = 3\n")


def test_manifests_raise_when_an_image_is_left_unnamed() -> None:
    folder = Path(node_image.__file__).parent / "files" / "node" / "manifests"
    texts = [path.read_text() for path in folder.iterdir()]
    assert len(texts) == 2
    named = {"NETWORK": "n:1", "PROVISIONER": "p:1", "HELPER": "h:1"}
    for text in texts:
        assert not re.search(r"@[A-Z]+@", node_image.render_manifest(text, named))
        with pytest.raises(PlatformError, match="nothing fills in"):
            node_image.render_manifest(text, {})


def test_kind_default_image_is_read_from_its_source() -> None:
    source = 'package defaults\n\nconst Image = "kindest/node:v1.34.0@sha256:74"\n'
    assert node_image.parse_kind_default(source) == "kindest/node:v1.34.0@sha256:74"
    with pytest.raises(PlatformError, match="names no default"):
        node_image.parse_kind_default("package defaults\n")


def test_namespaces_insist_on_the_strictest_pod_security() -> None:
    documents = render_namespaces().split("---\n")
    assert len(documents) == 2
    assert all("pod-security.kubernetes.io/enforce: restricted" in text for text in documents)
