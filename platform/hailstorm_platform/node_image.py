"""
The image that kind's nodes are made from, with everything they run inside it.

With a registry it is kind's own. Without one it is made here: Debian, kind's own
node files, Kubernetes' programs, and the images of Kubernetes, of the stores and
of the edge imported into its containerd, so that a new cluster loads nothing.
"""

import re
import shutil
import tempfile
import uuid
from pathlib import Path
from typing import Final

from hailstorm_platform import (
    base_images,
    docker_images,
    go_tools,
    kubernetes_binaries,
    system_images,
    versions,
)
from hailstorm_platform.context import Context
from hailstorm_platform.errors import PlatformError
from hailstorm_platform.inputs import cached, hash_of, hash_of_tree, locked
from hailstorm_platform.registry import Source

_FILES: Final = Path(__file__).parent / "files" / "node"
_ENTRYPOINT: Final = 'ENTRYPOINT ["/usr/local/bin/entrypoint","/sbin/init"]'


def edit_containerd_config(text: str) -> str:
    """
    kind's containerd configuration, for hosts that lack CAP_SYS_RESOURCE.

    Lowering a process' OOM score needs that capability. The pause image is the
    one that kubeadm of this version names. Raises when a line to edit is absent.
    """
    edits = (
        (r"restrict_oom_score_adj = false", "restrict_oom_score_adj = true"),
        (r'sandbox_image = "[^"]*"', f'sandbox_image = "registry.k8s.io/pause:{versions.PAUSE}"'),
    )
    for pattern, replacement in edits:
        text, count = re.subn(pattern, replacement, text)
        if count != 1:
            raise PlatformError(f"kind {versions.KIND} has no line {pattern!r} in its containerd.")
    return text


def render_manifest(text: str, images: dict[str, str]) -> str:
    """Put image tags in the place of `@NAME@`; raises when one stays unfilled."""
    for name, tag in images.items():
        text = text.replace(f"@{name}@", tag)
    left = re.search(r"@[A-Z]+@", text)
    if left:
        raise PlatformError(f"a node manifest names {left[0]}, which nothing fills in.")
    return text


def parse_kind_default(source: str) -> str:
    """The node image that kind itself would use, out of its defaults/image.go."""
    match = re.search(r'const Image = "([^"]+)"', source)
    if match is None:
        raise PlatformError(f"kind {versions.KIND} names no default node image.")
    return match[1]


def compile_parts(context: Context, source: Source) -> None:
    """Build every program that a node needs, ahead of `find`, which then finds it."""
    go_tools.link(context, go_tools.build(context, go_tools.KIND))
    if source is Source.BUILT:
        kubernetes = kubernetes_binaries.build(context)
        go_tools.link(context, kubernetes / "kubectl")
        for tool in (go_tools.COREDNS, go_tools.ETCD, go_tools.LOCAL_PATH_PROVISIONER):
            go_tools.build(context, tool)


def copy_kubectl(context: Context, image: str) -> None:
    """Take kubectl out of a node image that was pulled, and link it."""

    def make(folder: Path) -> None:
        name = f"hailstorm-copy-{uuid.uuid4().hex[:8]}"
        context.runner.run(["docker", "create", "--name", name, image])
        try:
            context.runner.run(["docker", "cp", f"{name}:/usr/bin/kubectl", f"{folder}/kubectl"])
        finally:
            context.runner.run(["docker", "rm", "--force", "--volumes", name])

    folder = cached(context.paths, "kubectl", hash_of([image]), make)
    go_tools.link(context, folder / "kubectl")


def find(context: Context, source: Source, preload: list[str]) -> str:
    """The tag of the node image; `preload` are images that it is to hold already."""
    if source is Source.REGISTRY:
        kind = go_tools.module_directory(context, go_tools.KIND.module, go_tools.KIND.version)
        text = (kind / "pkg" / "apis" / "config" / "defaults" / "image.go").read_text()
        image = parse_kind_default(text)
        if not docker_images.exists(context, image):
            with context.report.step(f"docker pull {image.partition('@')[0]}"):
                context.runner.run(["docker", "pull", "--quiet", image])
        copy_kubectl(context, image)
        return image
    return _built(context, preload)


def _built(context: Context, preload: list[str]) -> str:
    kubernetes = kubernetes_binaries.build(context)
    network = system_images.pod_network(context, kubernetes)
    helper = system_images.network(context)
    provisioner = system_images.provisioner(context)
    official = system_images.kubeadm_images(context, kubernetes)
    manifests = {"NETWORK": network, "PROVISIONER": provisioner, "HELPER": helper}
    base = docker_images.build(
        context,
        "hailstorm/node-base",
        (_FILES / "node.Dockerfile").read_text(),
        arguments={"BASE": _packages(context), "VERSION": versions.KUBERNETES},
        files={
            "files": _kind_files(context),
            "manifests": _manifests(context, manifests),
            **{name: kubernetes / name for name in ("kubeadm", "kubelet", "kubectl")},
        },
    )
    own = sorted({network, helper, provisioner, *preload})
    digest = hash_of([base, *own, *(f"{name}={tag}" for name, tag in sorted(official.items()))])
    tag = f"hailstorm/node:{versions.KUBERNETES}-{digest}"
    with locked(context.paths.cache / ".locks" / f"image-{digest}"):
        if not docker_images.exists(context, tag):
            with context.report.step(f"preload images into {tag}"):
                for name, ours in official.items():
                    docker_images.tag_as(context, ours, name)
                try:
                    _preload(context, base, tag, [*own, *official])
                finally:
                    # Only the names go: on this daemon they would pass for the
                    # official images.
                    context.runner.run(["docker", "image", "rm", "--no-prune", *official])
    return tag


def _packages(context: Context) -> str:
    return docker_images.build(
        context,
        "hailstorm/node-packages",
        (_FILES / "packages.Dockerfile").read_text(),
        arguments={"BASE": base_images.debian(context)},
    )


def _kind_files(context: Context) -> Path:
    def make(folder: Path) -> None:
        kind = go_tools.module_directory(context, go_tools.KIND.module, go_tools.KIND.version)
        source = kind / "images" / "base" / "files"
        # The module cache is read-only, a copy of its modes would be as well.
        shutil.copytree(source, folder, dirs_exist_ok=True, copy_function=shutil.copyfile)
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)
        config = folder / "etc" / "containerd" / "config.toml"
        config.write_text(edit_containerd_config(config.read_text()))

    return cached(context.paths, "kind-files", hash_of([versions.KIND, versions.PAUSE]), make)


def _manifests(context: Context, images: dict[str, str]) -> Path:
    source = _FILES / "manifests"

    def make(folder: Path) -> None:
        for path in source.iterdir():
            (folder / path.name).write_text(render_manifest(path.read_text(), images))

    parts = [hash_of_tree(source), *(f"{name}={tag}" for name, tag in sorted(images.items()))]
    return cached(context.paths, "node-manifests", hash_of(parts), make)


def _preload(context: Context, base: str, tag: str, images: list[str]) -> None:
    log = context.log("node-preload")
    name = f"hailstorm-preload-{uuid.uuid4().hex[:8]}"
    docker = ["docker", "exec", name]
    context.runner.run(
        [
            *("docker", "run", "--detach", "--privileged", "--name", name, "--network", "none"),
            *("--entrypoint", "sleep", base, "3600"),
        ],
        log=log,
    )
    try:
        context.runner.run(
            ["docker", "exec", "--detach", name, "containerd", "--log-level", "warn"], log=log
        )
        wait = (
            "for i in $(seq 100); do ctr version >/dev/null 2>&1 && exit 0; sleep 0.2; done; exit 1"
        )
        context.runner.run([*docker, "bash", "-c", wait], log=log)
        with tempfile.TemporaryDirectory(prefix="hailstorm-save-", dir=context.paths.cache) as t:
            archive = Path(t) / "images.tar"
            context.runner.run(["docker", "save", "--output", str(archive), *images], log=log)
            # Layers are of no use once unpacked, and would double every node's disk.
            context.runner.run(
                [
                    *("docker", "exec", "--interactive", name),
                    *(
                        "ctr",
                        "--namespace=k8s.io",
                        "images",
                        "import",
                        "--digests=false",
                        "--discard-unpacked-layers",
                        "-",
                    ),
                ],
                stdin=archive,
                log=log,
            )
        # Stopped, not killed: the commit must not catch its database half written.
        stop = "kill $(pidof containerd); while pidof containerd >/dev/null; do sleep 0.1; done"
        context.runner.run([*docker, "bash", "-c", stop], log=log)
        context.runner.run(
            [
                *("docker", "commit", "--change", _ENTRYPOINT, "--change", "ENV container=docker"),
                *(name, tag),
            ],
            log=log,
        )
    finally:
        context.runner.run(["docker", "rm", "--force", "--volumes", name])
