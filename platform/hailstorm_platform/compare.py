"""
`make compare`: three autoscalers under the same load on the demo's cluster.

It needs the operator and metrics-server and none of the services; a demo that is
up stays as it is. The exit code is the comparison's: 0 PASS, 1 FAIL, 2 UNKNOWN.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from hailstorm_platform import charts, cluster, metrics_server, stack, venv
from hailstorm_platform.commands import Commands
from hailstorm_platform.context import Context
from hailstorm_platform.errors import PlatformError

# The comparison's own option: it runs nothing.
JUDGE_ONLY: Final = "--judge-only"


def command(
    context: Context, wanted: cluster.Cluster, images: Path, arguments: Sequence[str]
) -> list[str]:
    """How the comparison is called, from the host's environment."""
    return [
        *(str(context.paths.venv_python), "-m", "hailstorm_drills.comparison"),
        *("--kubeconfig", str(context.paths.kubeconfig(wanted.name))),
        *("--values", str(images)),
        *("--output", str(context.paths.reports)),
        *("--evidence", str(context.paths.root / "docs" / "evidence" / "scaling.json")),
        *arguments,
    ]


def run(context: Context, commands: Commands, arguments: Sequence[str]) -> int:
    """Bring up what is needed, compare, take metrics-server away again."""
    wanted = cluster.DEMO
    venv.install(context)
    if JUDGE_ONLY in arguments:
        # Of recordings alone, by the images that the last arms were run with.
        return _attend(
            context, commands, wanted, context.paths.image_values(wanted.name), arguments
        )
    found = stack.cluster_with_images(context, commands, wanted)
    images, _ = stack.load_both_versions(context, wanted, found)
    with stack.reach(context, commands, wanted):
        charts.install_operator(context, wanted, images)
        with metrics_server.installed(context, wanted, found.source):
            return _attend(context, commands, wanted, images, arguments)


def _attend(
    context: Context,
    commands: Commands,
    wanted: cluster.Cluster,
    images: Path,
    arguments: Sequence[str],
) -> int:
    # The reader watches the comparison itself, so its output is not captured.
    code = commands.attend(command(context, wanted, images, arguments), context.paths.root)
    if code not in (0, 1, 2):
        raise PlatformError(f"the comparison ended with exit code {code}, which is no verdict.")
    return code
