"""metrics-server for a comparison: all of it labelled, removed again, never someone else's."""

import json
import re

import pytest
import yaml

from hailstorm_platform import cluster, compare, metrics_server
from hailstorm_platform.errors import CommandError, PlatformError
from hailstorm_platform.registry import Source


@pytest.fixture
def tag(monkeypatch):
    monkeypatch.setattr(metrics_server, "image", lambda *_: "hailstorm/metrics-server:x")
    monkeypatch.setattr(metrics_server.node_images, "load", lambda *_: None)


def documents():
    return list(yaml.safe_load_all(metrics_server.render("hailstorm/metrics-server:x")))


def test_every_object_carries_the_label_it_is_removed_by():
    found = documents()
    assert len(found) == 10
    for one in found:
        assert one["metadata"]["labels"][metrics_server.LABEL] == metrics_server.LABEL_VALUE
    assert not re.search(r"@\w+@", metrics_server.render("x"))


def test_the_kinds_that_lie_outside_the_namespace_are_removed_by_name():
    outside = {
        one["kind"].lower()
        for one in documents()
        if one["metadata"].get("namespace") != metrics_server.NAMESPACE
    }
    removed = {kind.split(".")[0].removesuffix("s") for kind in metrics_server._KINDS.split(",")}
    assert outside == removed | {"rolebinding", "namespace"}


def test_its_pod_is_restricted_and_reads_each_fifteen_seconds():
    (deployment,) = (one for one in documents() if one["kind"] == "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert "--metric-resolution=15s" in container["args"]
    assert "--kubelet-insecure-tls" in container["args"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True


def nodes(count):
    return json.dumps({"items": [{}] * count})


def test_it_is_removed_when_the_block_fails(context, runner, tag):
    runner.answer("/apis/metrics.k8s.io/v1beta1/nodes", with_=nodes(cluster.NODES))

    def fail_inside() -> None:
        with metrics_server.installed(context, cluster.DEMO, Source.BUILT):
            assert runner.called("apply")
            assert not runner.called("delete")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_inside()
    assert runner.called("delete", "namespaces")
    assert runner.called("delete", "--namespace=kube-system")


def test_one_without_figures_is_an_error_and_removed(context, runner, tag, monkeypatch):
    monkeypatch.setattr(metrics_server, "READY_SECONDS", 0.0)
    runner.answer("/apis/metrics.k8s.io/v1beta1/nodes", with_=nodes(1))
    with (
        pytest.raises(PlatformError, match="1 of 3 nodes"),
        metrics_server.installed(context, cluster.DEMO, Source.BUILT),
    ):
        pass
    assert runner.called("delete", "namespaces")


def test_api_server_that_does_not_answer_is_an_error_and_nothing_is_installed(context, runner, tag):
    runner.answer("get", "apiservices.apiregistration.k8s.io", with_=1)
    runner.answer("/apis/metrics.k8s.io/v1beta1/nodes", with_=nodes(cluster.NODES))
    with (
        pytest.raises(CommandError),
        metrics_server.installed(context, cluster.DEMO, Source.BUILT),
    ):
        pass
    assert not runner.called("apply")
    assert not runner.called("delete")


def test_someone_elses_is_used_and_left_alone(context, runner, tag):
    other = json.dumps({"metadata": {"labels": {"k8s-app": "metrics-server"}}})
    runner.answer("apiservices.apiregistration.k8s.io", with_=other)
    with metrics_server.installed(context, cluster.DEMO, Source.BUILT):
        pass
    assert not runner.called("apply")
    assert not runner.called("delete")


def test_compare_passes_its_arguments_on(context):
    words = compare.command(
        context, cluster.DEMO, context.paths.run / "i.yaml", ["--shape", "ramp"]
    )
    assert words[-2:] == ["--shape", "ramp"]
    assert "hailstorm_drills.comparison" in words


def test_judging_needs_no_cluster(context, runner, monkeypatch):
    attended = []

    class Attending:
        def attend(self, words, _):
            attended.append(list(words))
            return 2

    monkeypatch.setattr(compare.venv, "install", lambda _: None)
    for name in ("cluster_with_images", "load_both_versions"):
        monkeypatch.setattr(compare.stack, name, lambda *_: pytest.fail("a cluster was asked for"))
    assert compare.run(context, Attending(), ["--judge-only", "--shape", "ramp"]) == 2
    (words,) = attended
    assert words[-3:] == ["--judge-only", "--shape", "ramp"]
    assert str(context.paths.image_values("hailstorm")) in words
    assert not runner.calls
