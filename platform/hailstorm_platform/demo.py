"""
The demo: a cluster, both charts, a rolling deploy under load, and its verdict.

The drill's exit code is the demo's: 0 PASS, 1 FAIL, 2 UNKNOWN. The twin is the
same drill with the drain off, which must FAIL.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from hailstorm_platform import charts, cluster, docker_daemon, stack, times, venv
from hailstorm_platform.commands import Commands
from hailstorm_platform.context import Context
from hailstorm_platform.errors import PlatformError

_VERDICTS: Final = {0: "PASS", 1: "FAIL", 2: "UNKNOWN"}


def drill_command(
    context: Context,
    wanted: cluster.Cluster,
    drill: Sequence[str],
    images: Path,
    next_images: Path,
) -> list[str]:
    """How the drill is called, from the host's environment; `drill` is its name and options."""
    demo = str(charts.demo_values(context))
    return [
        *(str(context.paths.venv_python), "-m", "hailstorm_drills", "run", *drill),
        *("--kubeconfig", str(context.paths.kubeconfig(wanted.name))),
        *("--namespace", charts.NAMESPACE),
        *("--edge", f"127.0.0.1:{wanted.edge_port}"),
        *("--chart", str(context.paths.root / "charts" / "hailstorm")),
        *("--values", str(images), "--values", demo),
        *("--next-values", str(next_images), "--next-values", demo),
        *("--output", str(context.paths.reports)),
    ]


def run(context: Context, commands: Commands, drill: Sequence[str]) -> int:
    """Bring everything up and run one drill; returns its exit code."""

    def words(wanted: cluster.Cluster, values: Path, next_values: Path) -> list[str]:
        return drill_command(context, wanted, drill, values, next_values)

    code = _judged(context, commands, drill, words)
    times.write(context, "demo")
    return code


def drain_test_command(
    context: Context, wanted: cluster.Cluster, images: Path, arguments: Sequence[str]
) -> list[str]:
    """How the drain is tested by itself; it rolls to nothing, and makes its own calls."""
    return [
        *(str(context.paths.venv_python), "-m", "hailstorm_drills", "drain-test"),
        *("--kubeconfig", str(context.paths.kubeconfig(wanted.name))),
        *("--namespace", charts.NAMESPACE),
        *("--values", str(images), "--values", str(charts.demo_values(context))),
        *("--output", str(context.paths.reports)),
        *arguments,
    ]


def drain_test(context: Context, commands: Commands, arguments: Sequence[str]) -> int:
    """Bring everything up and measure how long callers send to a pod that ends."""

    def words(wanted: cluster.Cluster, values: Path, _: Path) -> list[str]:
        return drain_test_command(context, wanted, values, arguments)

    return _judged(context, commands, ["drain-test", *arguments], words)


def _judged(
    context: Context,
    commands: Commands,
    drill: Sequence[str],
    words: Callable[[cluster.Cluster, Path, Path], list[str]],
) -> int:
    """Bring everything up and call `words`; returns the exit code of a verdict."""
    wanted = cluster.DEMO
    venv.install(context)
    found = stack.cluster_with_images(context, commands, wanted)
    values, next_values = stack.load_both_versions(context, wanted, found)
    with stack.reach(context, commands, wanted):
        charts.install(context, wanted, values, charts.demo_values(context))
        context.report.say(f"drill: {' '.join(drill)} (its own output follows)")
        # The reader watches the drill itself, so its output is not captured.
        code = commands.attend(words(wanted, values, next_values), context.paths.root)
    if code not in _VERDICTS:
        raise PlatformError(
            f"the drill {drill[0]} ended with exit code {code}, which is no verdict."
        )
    context.report.say(
        f"drill {drill[0]}: {_VERDICTS[code]}; reports lie in {context.paths.reports}"
    )
    return code


def footprint(context: Context, commands: Commands) -> int:
    """Measure the idle demo and write docs/evidence/footprint.json; returns 0 within limits."""
    arguments = ("--cluster", cluster.DEMO.name, "--namespace", charts.NAMESPACE)
    return _measure(context, commands, "footprint.py", "footprint.json", *arguments)


def operator_footprint(context: Context, commands: Commands) -> int:
    """Measure the operator under load and write its evidence; returns 0 within limits."""
    edge = f"127.0.0.1:{cluster.DEMO.edge_port}"
    name = "operator-footprint.json"
    return _measure(context, commands, "operator_footprint.py", name, "--edge", edge)


def _measure(
    context: Context, commands: Commands, script: str, evidence: str, *arguments: str
) -> int:
    """Run a script of benchmarks/ against the demo; it writes to docs/evidence."""
    venv.install(context)
    docker_daemon.connect(context, commands)
    root = context.paths.root
    with stack.reach(context, commands, cluster.DEMO):
        return commands.attend(
            [
                *(str(context.paths.venv_python), str(root / "benchmarks" / script), *arguments),
                *("--output", str(root / "docs" / "evidence" / evidence)),
            ],
            root,
        )
