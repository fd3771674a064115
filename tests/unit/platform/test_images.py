"""Images: pulled or built, tagged by content, loaded without what is there."""

import io
import json
import tarfile
from pathlib import Path

import pytest

from hailstorm_platform import app_images, base_images, delta_archive, docker_images, node_images
from hailstorm_platform.context import Context
from hailstorm_platform.errors import PlatformError
from hailstorm_platform.registry import Source


def test_pulled_image_is_renamed_by_its_content(context: Context, runner) -> None:
    runner.answer("{{.Id}}", "redis:8", with_="sha256:0123456789abcdef0123\n")
    tag = base_images.pulled(context, "redis:8", "hailstorm/redis", "8")
    assert tag == "hailstorm/redis:8-0123456789ab"
    assert runner.called("docker", "tag", "redis:8", tag)
    assert not runner.called("docker", "pull")


def test_python_is_pulled_where_there_is_a_registry(context: Context, runner) -> None:
    answers = iter(["", "sha256:" + "a" * 64])

    def inspect() -> str:
        text = next(answers)
        if not text:
            raise PlatformError("no such image")
        return text

    runner.answer("inspect", with_=inspect)
    tag = base_images.python(context, Source.REGISTRY)
    assert runner.called("docker", "pull", "python:3.13-slim")
    assert tag.startswith("hailstorm/base-python:3.13-aaaa")
    assert not runner.called("debootstrap")


def test_build_tag_follows_every_input(context: Context, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("1")

    def tag(dockerfile: str = "FROM scratch", version: str = "", argument: str = "a") -> str:
        return docker_images.build(
            context,
            "hailstorm/x",
            dockerfile,
            files={"f": file},
            arguments={"A": argument},
            version=version,
        )

    seen = {tag(), tag(dockerfile="FROM other"), tag(argument="b")}
    file.write_text("2")
    seen.add(tag())
    assert len(seen) == 4
    assert tag(version="1.2.3").startswith("hailstorm/x:1.2.3-")


def test_next_version_is_one_patch_later() -> None:
    assert app_images.next_version("0.1.9") == "0.1.10"
    with pytest.raises(PlatformError, match=r"1\.2\.3"):
        app_images.next_version("0.1.0rc1")


def test_source_tree_lies_as_python_imports_it(context: Context) -> None:
    package = context.paths.root / "services" / "hailstorm"
    (package / "trip" / "__pycache__").mkdir(parents=True)
    (package / "trip" / "main.py").write_text("x = 1")
    (package / "trip" / "__pycache__" / "main.pyc").write_text("compiled")
    tree = app_images.source_tree(context, "services")
    names = [str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file()]
    assert names == ["hailstorm/trip/main.py"]
    with pytest.raises(PlatformError, match="hailstorm_operator is missing"):
        app_images.source_tree(context, "operator")


@pytest.mark.parametrize(
    ("tag", "full"),
    [
        ("hailstorm/services:1", "docker.io/hailstorm/services:1"),
        ("redis:8", "docker.io/library/redis:8"),
        ("registry.k8s.io/pause:3", "registry.k8s.io/pause:3"),
        ("localhost:5000/x:1", "localhost:5000/x:1"),
    ],
)
def test_reference_is_the_name_containerd_keeps(tag: str, full: str) -> None:
    assert node_images.reference(tag) == full
    assert node_images.absent(f"other:1\n{full}\n", [tag]) == []
    assert node_images.absent("other:1\n", [tag]) == [tag]


def test_load_does_nothing_when_every_worker_has_the_images(context: Context, runner) -> None:
    runner.answer("docker", "ps", with_="w1\nw2\n")
    runner.answer("list", with_="docker.io/hailstorm/services:1\n")
    node_images.load(context, "c", ["hailstorm/services:1"])
    assert not runner.called("docker", "save")


def docker_save(path: Path, layers: list[bytes]) -> list[str]:
    """An archive as `docker save` writes it; returns the layers' digests."""
    digests = [delta_archive._digest(layer) for layer in layers]
    config = json.dumps({"rootfs": {"type": "layers", "diff_ids": digests}}).encode()
    names = [f"{index}/layer.tar" for index in range(len(layers))]
    entry = {"Config": "c.json", "RepoTags": ["hailstorm/x:1"], "Layers": names}
    with tarfile.open(path, "w") as archive:
        members = [("c.json", config), ("manifest.json", json.dumps([entry]).encode())]
        for name, data in [*members, *zip(names, layers, strict=True)]:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return digests


def test_delta_leaves_out_layers_that_are_unpacked(tmp_path: Path) -> None:
    saved, target = tmp_path / "saved.tar", tmp_path / "delta.tar"
    digests = docker_save(saved, [b"base", b"code"])
    present = {delta_archive.chain_ids(digests)[0]}
    assert delta_archive.write(saved, target, present, node_images.reference) == 1
    with tarfile.open(target) as archive:
        names = archive.getnames()
        stream = archive.extractfile("index.json")
        assert stream is not None
        index = json.load(stream)
        blob = index["manifests"][0]["digest"].replace("sha256:", "blobs/sha256/")
        stream = archive.extractfile(blob)
        assert stream is not None
        manifest = json.load(stream)
    assert digests[1].replace("sha256:", "blobs/sha256/") in names
    assert digests[0].replace("sha256:", "blobs/sha256/") not in names
    assert [layer["digest"] for layer in manifest["layers"]] == digests
    name = index["manifests"][0]["annotations"]["io.containerd.image.name"]
    assert name == "docker.io/hailstorm/x:1"


def test_delta_keeps_a_layer_that_lies_on_another_base(tmp_path: Path) -> None:
    # A layer alone says nothing: what counts is the stack below it.
    saved = tmp_path / "saved.tar"
    digests = docker_save(saved, [b"base", b"code"])
    present = {digests[1]}
    assert delta_archive.write(saved, tmp_path / "d.tar", present, str) == 2


def test_chain_ids_follow_the_definition_of_oci() -> None:
    import hashlib

    second = hashlib.sha256(b"sha256:aa sha256:bb").hexdigest()
    assert delta_archive.chain_ids(["sha256:aa", "sha256:bb"]) == ["sha256:aa", f"sha256:{second}"]
