"""The example's image goes by its authors' name on the nodes, and not on our daemon."""

import pytest

from hailstorm_platform import cluster, example, external_images
from hailstorm_platform.context import Context
from hailstorm_platform.registry import Source

OURS = "hailstorm/fortio:1.2.3-0123456789ab"


@pytest.mark.parametrize(("source", "removed"), [(Source.BUILT, True), (Source.REGISTRY, False)])
def test_image_that_was_built_keeps_its_borrowed_name_only_while_it_is_loaded(
    context: Context, runner, monkeypatch: pytest.MonkeyPatch, source: Source, removed: bool
) -> None:
    monkeypatch.setattr(external_images, "fortio", lambda *_: OURS)
    runner.answer("{{.Names}}", with_="node-1\n")
    runner.answer("images", "list", with_=f"docker.io/{example.IMAGE}\n")
    example.load_image(context, cluster.TEST, source)
    assert runner.called("docker", "tag", OURS, example.IMAGE)
    assert runner.called("docker", "image", "rm", "--no-prune", example.IMAGE) is removed


def test_image_is_pulled_where_there_is_a_registry(context: Context, runner) -> None:
    runner.answer("{{.Id}}", with_="sha256:0123456789abcdef\n")
    tag = external_images.fortio(context, Source.REGISTRY)
    assert runner.called("docker", "tag", example.IMAGE, tag)
    assert tag.startswith("hailstorm/fortio:")
