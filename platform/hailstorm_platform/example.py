"""
The app of examples/fortio, which has no code of ours, behind the demo's edge.

Its manifests are plain, so that a newcomer can apply them anywhere: they name the
image as its authors do. Where no registry answers, an image of the same version is
built from the Go module, and the nodes get it under that name.
"""

from pathlib import Path
from typing import Final

from hailstorm_platform import (
    charts,
    cluster,
    docker_images,
    external_images,
    go_tools,
    node_images,
    stack,
    venv,
    versions,
)
from hailstorm_platform.commands import Commands
from hailstorm_platform.context import Context
from hailstorm_platform.kubectl import kubectl
from hailstorm_platform.registry import Source

NAMESPACE: Final = "fortio"
IMAGE: Final = f"fortio/fortio:{versions.FORTIO.removeprefix('v')}"
TOOLS: Final = (go_tools.FORTIO,)
# Two pods of a program that starts at once; loaded machines take longer.
READY_SECONDS: Final = 120


def folder(context: Context) -> Path:
    """Where the example's files lie."""
    return context.paths.root / "examples" / "fortio"


def load_image(context: Context, wanted: cluster.Cluster, source: Source) -> None:
    """Put the image into every node under its authors' name. Safe to repeat."""
    ours = external_images.fortio(context, source)
    docker_images.tag_as(context, ours, IMAGE)
    try:
        node_images.load(context, wanted.name, [IMAGE])
    finally:
        if source is Source.BUILT:
            # On this daemon the name would pass for the official image.
            context.runner.run(["docker", "image", "rm", "--no-prune", IMAGE])


def install(context: Context, commands: Commands) -> int:
    """Bring up the demo with the app behind its edge, and wait until both serve."""
    wanted = cluster.DEMO
    venv.install(context)
    found = stack.cluster_with_images(context, commands, wanted, TOOLS)
    values, _ = stack.load_both_versions(context, wanted, found)
    load_image(context, wanted, found.source)
    files = folder(context)
    with stack.reach(context, commands, wanted):
        charts.install(
            context, wanted, values, charts.demo_values(context), files / "edge-values.yaml"
        )
        with context.report.step("apply examples/fortio"):
            namespace = charts.render_namespaces(NAMESPACE)
            kubectl(context, wanted.name, "apply", "-f", "-", stdin=namespace)
            place = ("--namespace", NAMESPACE)
            kubectl(context, wanted.name, *place, "apply", "-f", str(files / "manifests"))
            status = ("rollout", "status", "deployment/fortio", f"--timeout={READY_SECONDS}s")
            kubectl(context, wanted.name, *place, *status, timeout=READY_SECONDS + 10)
    context.report.say(f"fortio is behind the edge; {files / 'README.md'} goes on from here")
    return 0
