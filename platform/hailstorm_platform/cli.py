"""
The command line, which the Makefile wraps.

Every command prints progress to standard error. A `PlatformError` ends it with
exit code 1 and its one sentence; anything else is a defect and shows a traceback.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from hailstorm_platform import (
    bench,
    checks,
    cluster,
    compare,
    demo,
    docker_daemon,
    doctor,
    down,
    example,
    go_tools,
    protos,
    stack,
    store_programs,
    test_run,
    venv,
)
from hailstorm_platform.commands import Commands
from hailstorm_platform.context import Context, real_context
from hailstorm_platform.errors import PlatformError


@dataclass(frozen=True)
class Call:
    """What a command works with."""

    context: Context
    commands: Commands
    options: argparse.Namespace


def _tools(call: Call) -> None:
    known = (go_tools.KIND, go_tools.HELM, go_tools.BUF, go_tools.GHZ)
    wanted = [tool for tool in known if tool.name in call.options.names]
    for tool in wanted:
        go_tools.link(call.context, go_tools.build(call.context, tool))


def _cluster(call: Call) -> None:
    context, commands, options = call.context, call.commands, call.options
    known = {wanted.name: wanted for wanted in (cluster.DEMO, cluster.TEST)}
    default = known.get(options.name, cluster.DEMO)
    wanted = cluster.Cluster(options.name, options.edge_port or default.edge_port)
    if options.action == "up":
        stack.cluster_with_images(context, commands, wanted)
        context.report.say(f"kubeconfig: {context.paths.kubeconfig(wanted.name)}")
    else:
        docker_daemon.connect(context, commands)
        down.remove_cluster(context, wanted.name)


def _images(call: Call) -> None:
    context, commands, options = call.context, call.commands, call.options
    wanted = cluster.Cluster(options.name, options.edge_port or cluster.DEMO.edge_port)
    found = stack.cluster_with_images(context, commands, wanted)
    if options.version:
        values = context.paths.run / f"{wanted.name}-images-{options.version}.yaml"
        stack.load_versions(context, wanted, found, {options.version: values})
        paths = [values]
    else:
        paths = list(stack.load_both_versions(context, wanted, found))
    example.load_image(context, wanted, found.source)
    for path in paths:
        context.report.say(f"values: {path}")


def _unit(call: Call) -> int:
    context = call.context
    venv.install(context)
    store_programs.ensure(context)
    go_tools.link(context, go_tools.build(context, go_tools.HELM))
    return test_run.layers_without_cluster(context, call.commands)


def _venv(call: Call) -> None:
    venv.install(call.context)
    protos.lay_out_imports(call.context)


def _docker(call: Call) -> None:
    docker_daemon.connect(call.context, call.commands)
    sys.stdout.write(f"{call.commands.environment.get('DOCKER_HOST', '')}\n")


COMMANDS: Final[dict[str, tuple[str, Callable[[Call], int | None]]]] = {
    "doctor": ("say what this machine lacks", lambda c: doctor.check(c.context, c.commands)),
    "venv": ("install the locked dependencies", _venv),
    "lock": ("resolve the dependencies anew", lambda c: venv.lock_requirements(c.context)),
    "tools": ("build kind, helm, buf or ghz", _tools),
    "docker": ("print DOCKER_HOST of the daemon in use", _docker),
    "cluster": ("bring a cluster up or down", _cluster),
    "images": ("build our images and load them into a cluster", _images),
    "protos": ("regenerate the stubs", lambda c: protos.generate_in_place(c.context)),
    "verify-protos": ("compare the stubs with the protos", lambda c: protos.verify(c.context)),
    "lint": ("run the static checks", lambda c: checks.run(c.context)),
    "unit": ("run the tests that need no cluster", _unit),
    "test": ("run every check and every test", lambda c: test_run.run(c.context, c.commands)),
    "demo": (
        "cluster, charts, and one drill",
        lambda c: demo.run(c.context, c.commands, c.options.drill),
    ),
    "drain-test": (
        "how long callers send to a pod that ends",
        lambda c: demo.drain_test(c.context, c.commands, c.options.arguments),
    ),
    "example": ("install examples/fortio", lambda c: example.install(c.context, c.commands)),
    "footprint": (
        "measure what the idle demo costs",
        lambda c: demo.footprint(c.context, c.commands),
    ),
    "operator-footprint": (
        "measure what operator and recorder cost under load",
        lambda c: demo.operator_footprint(c.context, c.commands),
    ),
    "bench": (
        "measure the core against its limits",
        lambda c: bench.run(c.context, c.commands, c.options.arguments),
    ),
    "compare": (
        "three autoscalers under one load",
        lambda c: compare.run(c.context, c.commands, c.options.arguments),
    ),
    "seed": (
        "load millions of trips",
        lambda c: bench.seed(c.context, c.commands, c.options.arguments),
    ),
    "down": ("remove clusters, network and rule", lambda c: down.run(c.context, c.commands)),
    "clean": ("down, and drop every cache", lambda c: down.clean(c.context, c.commands)),
}


def parser() -> argparse.ArgumentParser:
    """The arguments of every command."""
    top = argparse.ArgumentParser(prog="hailstorm_platform", description=__doc__)
    subparsers = top.add_subparsers(dest="command", required=True, metavar="command")
    for name, (text, _) in COMMANDS.items():
        sub = subparsers.add_parser(name, help=text, description=text)
        if name == "cluster":
            sub.add_argument("action", choices=("up", "down"))
        if name in ("cluster", "images"):
            sub.add_argument("--name", default=cluster.DEMO.name, help="the cluster's name")
            sub.add_argument("--edge-port", type=int, help="port of 127.0.0.1 for the edge")
        if name == "images":
            sub.add_argument("--version", help="build this version only")
        if name == "demo":
            sub.add_argument(
                "drill",
                nargs="*",
                default=["rolling-deploy"],
                help="the drill and its options; after -- where options come first",
            )
        if name in ("bench", "compare", "drain-test", "seed"):
            sub.add_argument(
                "arguments",
                nargs="*",
                help="its own arguments; after -- where options come first",
            )
        if name == "tools":
            sub.add_argument("names", nargs="*", default=["kind", "helm", "buf"])
    return top


def main(arguments: Sequence[str]) -> int:
    """Run one command; returns the process's exit code."""
    options = parser().parse_args(arguments)
    context, commands = real_context()
    try:
        code = COMMANDS[options.command][1](Call(context, commands, options))
    except PlatformError as error:
        context.report.say(f"{options.command}: {error}")
        return 1
    except KeyboardInterrupt:
        context.report.say(f"{options.command}: interrupted; nothing half-made is kept")
        return 130
    return code or 0
