"""
`make test`: static checks, then every layer of tests, on a cluster of its own.

The cluster is built while the static checks run. All layers are one pytest run,
after that, so that its closing line, the last of all output, counts every test;
it is held back until what this run started has been taken down again.
"""

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, Final

from hailstorm_platform import (
    checks,
    cluster,
    docker_daemon,
    down,
    example,
    images,
    stack,
    store_programs,
    times,
    venv,
)
from hailstorm_platform.commands import Commands
from hailstorm_platform.context import Context
from hailstorm_platform.errors import PlatformError

# In the order of what they cost.
LAYERS: Final = ("unit", "contract", "integration", "cluster")


def pytest_command(python: Path, root: Path, *, with_cluster: bool) -> list[str]:
    """One run over all layers that exist, cheapest first."""
    layers = [f"tests/{layer}" for layer in LAYERS if (root / "tests" / layer).is_dir()]
    command = [str(python), "-m", "pytest", *layers]
    return [*command, "--with-cluster"] if with_cluster else command


def relay(source: IO[str], target: IO[str]) -> str:
    """Copy lines as they come, but hold back and return the last that says anything."""
    held: list[str] = []
    for line in source:
        if line.strip():
            target.write("".join(held))
            target.flush()
            held = [line]
        else:
            held.append(line)
    return held[0].rstrip("\n") if held else ""


def run(context: Context, commands: Commands) -> int:
    """Run everything; returns 0 only when every check and every test passed."""
    venv.install(context)
    had_daemon = docker_daemon.ours_answers(context)
    with ThreadPoolExecutor(max_workers=1) as pool:
        platform = pool.submit(_prepare_cluster, context, commands)
        problems = [
            *_attempt(context, "static checks", lambda: checks.run(context)),
            *_attempt(context, "stores", lambda: store_programs.ensure(context)),
            *_attempt(context, "platform", platform.result),
        ]
    closing, code = "", 1
    try:
        closing, code = _pytest(context, commands, platform)
    finally:
        problems += _attempt(context, "tear-down", lambda: _tear_down(context, had_daemon))
    times.write(context, "test")
    for problem in problems:
        context.report.say(f"make test FAILS: {problem}")
    sys.stdout.write(f"{closing}\n")
    sys.stdout.flush()
    return code or (1 if problems else 0)


def layers_without_cluster(context: Context, commands: Commands) -> int:
    """Run the layers that need no cluster; returns pytest's exit code."""
    with stack.reach(context, commands, cluster.TEST):
        # Tests without a cluster must not find one by accident.
        del commands.environment["KUBECONFIG"]
        return subprocess.run(
            pytest_command(context.paths.venv_python, context.paths.root, with_cluster=False),
            cwd=context.paths.root,
            env=commands.merged(),
            stdin=subprocess.DEVNULL,
            check=False,
        ).returncode


def _prepare_cluster(context: Context, commands: Commands) -> images.Images:
    found = stack.cluster_with_images(context, commands, cluster.TEST, example.TOOLS)
    stack.load_both_versions(context, cluster.TEST, found)
    example.load_image(context, cluster.TEST, found.source)
    return found


def _attempt(context: Context, name: str, call: Callable[[], object]) -> list[str]:
    try:
        call()
    except PlatformError as error:
        context.report.say(f"{name}: {error}")
        return [f"{name}: {str(error).splitlines()[0]}"]
    return []


def _pytest(
    context: Context, commands: Commands, platform: Future[images.Images]
) -> tuple[str, int]:
    with_cluster = platform.exception() is None
    wanted = cluster.TEST
    environment = {
        # What tests/cluster needs to know about the cluster of KUBECONFIG.
        "HAILSTORM_TEST_EDGE": f"127.0.0.1:{wanted.edge_port}",
        "HAILSTORM_TEST_IMAGES": str(context.paths.image_values(wanted.name)),
        "HAILSTORM_TEST_IMAGES_NEXT": str(stack.next_values_path(context, wanted)),
    }
    with stack.reach(context, commands, wanted):
        process = subprocess.Popen(
            pytest_command(
                context.paths.venv_python, context.paths.root, with_cluster=with_cluster
            ),
            cwd=context.paths.root,
            env={**commands.merged(), **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        with process:
            assert process.stdout is not None
            closing = relay(process.stdout, sys.stdout)
    return closing, process.returncode


def _tear_down(context: Context, had_daemon: bool) -> None:
    down.remove_cluster(context, cluster.TEST.name)
    if not had_daemon:
        down.stop_daemon(context)
