"""
Putting images into the nodes of a running cluster.

One `docker save` of all that is missing, less the layers that the nodes have,
into the containerd of every node at the same time: `kind load` takes about 4 s
an image and node, and moves every layer anew.
"""

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hailstorm_platform import delta_archive
from hailstorm_platform.context import Context
from hailstorm_platform.errors import CommandError


def node_names(context: Context, cluster: str, *, role: str | None = None) -> list[str]:
    """The containers of a cluster; with `role`, "worker" or "control-plane" only."""
    command = ["docker", "ps", "--all", "--format", "{{.Names}}"]
    command += ["--filter", f"label=io.x-k8s.kind.cluster={cluster}"]
    if role is not None:
        command += ["--filter", f"label=io.x-k8s.kind.role={role}"]
    return sorted(context.runner.run(command).split())


def reference(tag: str) -> str:
    """The full name under which containerd keeps `hailstorm/services:x`."""
    first = tag.split("/")[0]
    has_host = "/" in tag and ("." in first or ":" in first or first == "localhost")
    if has_host:
        return tag
    return f"docker.io/{tag}" if "/" in tag else f"docker.io/library/{tag}"


def absent(present: str, wanted: list[str]) -> list[str]:
    """Which tags a node lacks; `present` is its `ctr images list --quiet`."""
    there = set(present.split())
    return [tag for tag in wanted if reference(tag) not in there]


def parse_snapshots(listing: str) -> set[str]:
    """The stacks of layers a node has unpacked, out of `ctr snapshots list`."""
    return {line.split()[0] for line in listing.splitlines() if line.startswith("sha256:")}


def load(context: Context, cluster: str, tags: list[str]) -> None:
    """Make every node hold every image. Nodes that have them are left alone."""
    lacking: dict[str, list[str]] = {}
    # The control plane too: that is where the load runs.
    for node in node_names(context, cluster):
        missing = absent(_ctr(context, node, "images", "list", "--quiet"), tags)
        if missing:
            lacking[node] = missing
    if not lacking:
        return
    union = sorted({tag for missing in lacking.values() for tag in missing})
    with (
        context.report.step(f"load {len(union)} images into {len(lacking)} nodes"),
        tempfile.TemporaryDirectory(prefix="hailstorm-load-", dir=context.paths.cache) as scratch,
    ):
        whole, delta = Path(scratch) / "whole.tar", Path(scratch) / "delta.tar"
        context.runner.run(["docker", "save", "--output", str(whole), *union])
        there = [parse_snapshots(_ctr(context, n, "snapshots", "list")) for n in lacking]
        delta_archive.write(whole, delta, set.intersection(*there), reference)

        def import_into(node: str) -> None:
            try:
                _import(context, node, delta)
            except CommandError as error:
                # A containerd that insists on layers it has unpacked gets them.
                context.report.say(f"    {node} wants whole images: {error.tail.strip()}")
                _import(context, node, whole)

        with ThreadPoolExecutor(max_workers=len(lacking)) as pool:
            list(pool.map(import_into, lacking))


def _ctr(context: Context, node: str, *arguments: str) -> str:
    return context.runner.run(["docker", "exec", node, "ctr", "--namespace=k8s.io", *arguments])


def _import(context: Context, node: str, archive: Path) -> None:
    command = ["docker", "exec", "--interactive", node, "ctr", "--namespace=k8s.io"]
    context.runner.run([*command, "images", "import", "--digests=false", "-"], stdin=archive)


def preload_containers(context: Context) -> list[str]:
    """Containers that an interrupted build of the node image left behind."""
    command = ["docker", "ps", "--all", "--quiet", "--filter", "name=^hailstorm-(preload|copy)-"]
    return context.runner.run(command).split()
