"""`python -m hailstorm_drills drain-test`: its options, its directory, its exit code."""

import argparse
import time
from pathlib import Path
from typing import Any, Final

from hailstorm_drills.checkers.base import Verdict
from hailstorm_drills.cluster import Cluster, CommandError
from hailstorm_drills.drain_test.judgement import judge, render
from hailstorm_drills.drain_test.run import METHODS, DrainTest
from hailstorm_drills.drain_test.scene import Wanted
from hailstorm_drills.evidence import Directory
from hailstorm_drills.faults.base import FaultError
from hailstorm_drills.images import image_of
from hailstorm_drills.lock import locked
from hailstorm_drills.machine import machine

EXIT_CODES: Final = {Verdict.PASS: 0, Verdict.FAIL: 1, Verdict.UNKNOWN: 2}
# A pod's end, its successor's start, and the waits between, on a busy machine.
SECONDS_A_POD: Final = 300.0


def add_drain_test(commands: Any) -> None:
    """The subcommand."""
    command: argparse.ArgumentParser = commands.add_parser(
        "drain-test",
        help="shoot at terminating pods and measure how long callers go on sending to them",
        description="Deletes pods, one after another, each when every replica is ready again and "
        "every Envoy has seen it; calls each one directly, through the edge and through a "
        "ClusterIP while it ends. Publishes the propagation time of this cluster, by way, and "
        "its margin to the chart's lifecycle.propagationSeconds.",
    )
    command.add_argument("--kubeconfig", type=Path, required=True)
    command.add_argument("--output", type=Path, required=True, help="directory for its own")
    command.add_argument("--values", action="append", required=True, help="values of the release")
    command.add_argument("--namespace", default="hailstorm")
    command.add_argument("--load-namespace", default="hailstorm-load")
    command.add_argument("--component", choices=sorted(METHODS), default="trip")
    command.add_argument("--pods", type=int, default=10, help="how many pods, one by one (10)")
    command.add_argument(
        "--seconds", type=float, default=12.0, help="shoot at each pod for so long (12)"
    )


def run_drain_test(arguments: argparse.Namespace) -> int:
    """Run it and write its directory; returns the exit code of its verdict."""
    image, pull_policy = image_of(tuple(arguments.values))
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    path = arguments.output / f"drain-test-{stamp}"
    path.mkdir(parents=True)
    directory = Directory(path)
    cluster = Cluster(arguments.kubeconfig.resolve())
    wanted = Wanted(
        arguments.namespace,
        arguments.load_namespace,
        arguments.component,
        arguments.pods,
        arguments.seconds,
        image,
        pull_policy,
    )
    test = DrainTest(cluster, wanted, say=lambda text: print(text, flush=True))
    problem, propagation = "", 0.0
    seconds = arguments.pods * (SECONDS_A_POD + arguments.seconds)
    with locked(cluster, arguments.load_namespace, path.name, seconds):
        try:
            propagation = test.run()
        except (CommandError, FaultError) as error:
            problem = str(error)
            propagation = test.propagation
    told = judge(test.shots, propagation, arguments.pods)
    if problem:
        told["why"] = f"it could not go on: {problem}; {told['why']}"
    told |= {"component": arguments.component, "started_at": stamp, "machine": machine()}
    directory.write("calls.json", [vars(shot) for shot in test.shots])
    directory.write("verdict.json", told)
    print()
    print(render(told))
    print(path / "verdict.json")
    return EXIT_CODES[Verdict(told["verdict"])]
