"""
From a bare machine to a cluster that holds every image: what demo and tests share.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from hailstorm_platform import (
    app_images,
    cluster,
    docker_daemon,
    go_tools,
    image_values,
    images,
    node_images,
    registry,
)
from hailstorm_platform.commands import Commands
from hailstorm_platform.context import Context


def cluster_with_images(
    context: Context,
    commands: Commands,
    wanted: cluster.Cluster,
    meanwhile: Sequence[go_tools.GoTool] = (),
) -> images.Images:
    """
    Bring up a cluster and the images it is made from; ours are loaded separately.

    Whatever exists is kept, so a second call takes seconds. `meanwhile` are
    programs to compile in the time that the nodes take, where there is no registry.
    """
    docker_daemon.connect(context, commands)
    source = registry.find_source(context)
    found = images.platform_images(context, source)
    with ThreadPoolExecutor(max_workers=1) as pool:
        # Helm compiles while kind waits for its nodes.
        helm = pool.submit(go_tools.build, context, go_tools.HELM)
        others = meanwhile if source is registry.Source.BUILT else ()
        compiled = [pool.submit(go_tools.build, context, tool) for tool in others]
        cluster.up(context, wanted, found.node, found.python)
        go_tools.link(context, helm.result())
        for one in compiled:
            one.result()
    return found


def load_versions(
    context: Context, wanted: cluster.Cluster, found: images.Images, versions: dict[str, Path]
) -> None:
    """
    Build our images at each version, load them all, and write their Helm values.

    `versions` maps a version to the values file that is to name its images. They
    are loaded together, because they share every layer but the last.
    """
    tags = {version: images.app_tags(context, found, version) for version in versions}
    every = sorted({tag for named in tags.values() for tag in named.values()})
    node_images.load(context, wanted.name, every)
    for version, path in versions.items():
        path.write_text(image_values.render(tags[version]))


def next_values_path(context: Context, wanted: cluster.Cluster) -> Path:
    """The values file of the version that drills roll to."""
    return context.paths.run / f"{wanted.name}-images-next.yaml"


def load_both_versions(
    context: Context, wanted: cluster.Cluster, found: images.Images
) -> tuple[Path, Path]:
    """Today's version and the one that drills roll to; returns both values files."""
    version = app_images.project_version(context.paths.root)
    first = context.paths.image_values(wanted.name)
    second = next_values_path(context, wanted)
    files = {version: first, app_images.next_version(version): second}
    load_versions(context, wanted, found, files)
    return first, second


@contextmanager
def reach(context: Context, commands: Commands, wanted: cluster.Cluster) -> Iterator[None]:
    """Commands inside find our tools first, and kubectl finds the cluster."""
    before = dict(commands.environment)
    commands.environment["PATH"] = ":".join(
        (str(context.paths.bin), str(context.paths.venv / "bin"), os.environ.get("PATH", ""))
    )
    commands.environment["KUBECONFIG"] = str(context.paths.kubeconfig(wanted.name))
    try:
        yield
    finally:
        commands.environment.clear()
        commands.environment.update(before)
