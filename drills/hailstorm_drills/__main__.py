"""
Command line of the drills: list, plan, run, judge, drain-test.

Exit codes: 0 PASS, 1 FAIL, 2 UNKNOWN; 3 the drill could not begin, 64 the
command line was wrong, 70 the drill itself is broken, 130 interrupted (and healed).
"""

import argparse
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Final, NoReturn

import yaml

from hailstorm_drills.checkers.base import Verdict
from hailstorm_drills.cluster import Cluster, CommandError
from hailstorm_drills.drain_test.command import add_drain_test, run_drain_test
from hailstorm_drills.evidence import Directory
from hailstorm_drills.images import image_of
from hailstorm_drills.load import Load, LoadSpec
from hailstorm_drills.lock import LockedError, locked
from hailstorm_drills.options import add_options, parameters_of
from hailstorm_drills.registry import scenarios
from hailstorm_drills.report.page import render_page
from hailstorm_drills.report.postmortem import render_postmortem
from hailstorm_drills.runner import Runner, SetupError
from hailstorm_drills.table import render
from hailstorm_drills.verdict import as_json, judge

EXIT_CODES: Final = {Verdict.PASS: 0, Verdict.FAIL: 1, Verdict.UNKNOWN: 2}
EX_SETUP: Final = 3
EX_USAGE: Final = 64
EX_SOFTWARE: Final = 70
EX_INTERRUPTED: Final = 130
# Installing before the load, collecting and healing after it.
LOCK_MARGIN_SECONDS: Final = 900.0
# Half-way down. The drill, its kubectl and its helm run beside the cluster, where
# one process of the host weighs as much as all of kind's nodes together: at the
# usual priority they took a core from the pods that they were watching.
NICENESS: Final = 10


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaint is not mistaken for UNKNOWN."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(EX_USAGE, f"{self.prog}: {message}\n")


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = Parser(prog="python -m hailstorm_drills", description=__doc__.split("\n\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="the drills there are")
    judging = commands.add_parser("judge", help="judge a drill's directory again")
    judging.add_argument("directory", type=Path)
    add_drain_test(commands)
    for name, told in (("plan", "print what a drill will do"), ("run", "run a drill")):
        command = commands.add_parser(name, help=told)
        command.add_argument("drill", choices=sorted(scenarios()))
        command.add_argument("--twin", action="store_true", help="the broken twin: must FAIL")
        command.add_argument("--namespace", default="hailstorm")
        command.add_argument("--operator-namespace", default="hailstorm-system")
        command.add_argument("--load-namespace", default="hailstorm-load")
        command.add_argument("--release", default="hailstorm")
        command.add_argument("--chart", default="charts/hailstorm")
        command.add_argument(
            "--values", action="append", required=True, help="values of the release before"
        )
        command.add_argument(
            "--next-values",
            action="append",
            default=[],
            help="values of the release after, for drills that roll to it",
        )
        command.add_argument("--seed", type=int, help="default: drawn and printed")
        command.add_argument(
            "--load",
            action="append",
            default=[],
            metavar="FIELD=VALUE",
            help="one field of the load's profile; repeatable",
        )
        add_options(command)
    run = commands.choices["run"]
    run.add_argument("--kubeconfig", type=Path, required=True)
    run.add_argument("--edge", default="127.0.0.1:18080", help="host:port of the edge")
    run.add_argument("--output", type=Path, required=True, help="directory for the drill's own")
    run.add_argument(
        "--target",
        help="where the load goes (default: the edge's headless Service of --namespace)",
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """See the module."""
    parser = make_parser()
    arguments = parser.parse_args(argv)
    if (
        arguments.command in ("plan", "run")
        and scenarios()[arguments.drill].needs_next_values
        and not arguments.next_values
    ):
        parser.error(f"{arguments.drill} rolls to --next-values, which is missing")
    try:
        match arguments.command:
            case "list":
                width = 2 + max(map(len, scenarios()))
                for scenario in scenarios().values():
                    print(f"{scenario.name:<{width}}{scenario.summary}")
                    print(f"{'':<{width}}--twin: {scenario.twin_summary}")
                return 0
            case "plan":
                scenario = scenarios()[arguments.drill]
                print(scenario.make_plan(parameters_of(arguments, scenario)).render())
                return 0
            case "drain-test":
                heal_when_told_to_end()
                return run_drain_test(arguments)
            case "judge":
                return _judge(Directory(arguments.directory))
        return _run(arguments)
    except (SetupError, LockedError, CommandError, OSError, yaml.YAMLError) as error:
        print(f"hailstorm_drills: {error}", file=sys.stderr)
        return EX_SETUP


def _run(arguments: argparse.Namespace) -> int:
    scenario = scenarios()[arguments.drill]
    parameters = parameters_of(arguments, scenario)
    image, pull_policy = image_of(parameters.values)
    plan = scenario.make_plan(parameters)
    print(plan.render(), flush=True)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    name = f"{parameters.drill}{'-twin' if parameters.is_twin else ''}-{stamp}"
    path = arguments.output / name
    path.mkdir(parents=True)
    directory = Directory(path)
    directory.write("plan.json", plan.as_json())
    cluster = Cluster(arguments.kubeconfig.resolve())
    target = (
        arguments.target or f"dns:///edge-headless.{parameters.namespace}.svc.cluster.local:8080"
    )
    load_seconds = float(parameters.load["duration_seconds"])
    load = Load(
        cluster,
        LoadSpec(
            parameters.load_namespace,
            image,
            pull_policy,
            target,
            parameters.workers,
            parameters.load,
            deadline_seconds=int(load_seconds) + 600,
        ),
    )
    log = (path / "drill.log").open("w", encoding="utf-8")

    def say(text: str) -> None:
        print(text, flush=True)
        log.write(text + "\n")
        log.flush()

    runner = Runner(scenario, parameters, cluster, load, arguments.edge, directory, say)
    heal_when_told_to_end()
    try:
        with locked(cluster, parameters.load_namespace, name, load_seconds + LOCK_MARGIN_SECONDS):
            runner.run()
    except KeyboardInterrupt:
        print("interrupted; healed, and judged by what was seen")
        _judge(directory)
        return EX_INTERRUPTED
    finally:
        log.close()
    return _judge(directory)


def heal_when_told_to_end() -> None:
    """
    SIGTERM ends a drill as SIGINT does: it heals, takes its load away, and judges.

    Only the first counts: an impatient second one must not cut the healing short.
    """

    def interrupt(_: int, __: object) -> NoReturn:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)


def _judge(directory: Directory) -> int:
    evidence = directory.load()
    judgement = judge(evidence)
    directory.write("verdict.json", as_json(evidence, judgement))
    page = directory.path / "report.html"
    page.write_text(render_page(evidence, judgement), encoding="utf-8")
    draft = render_postmortem(evidence, judgement)
    (directory.path / "postmortem.md").write_text(draft, encoding="utf-8")
    print()
    print(render(judgement, colour=sys.stdout.isatty()))
    print(page)
    return EXIT_CODES[judgement.verdict]


if __name__ == "__main__":
    os.nice(NICENESS)
    try:
        sys.exit(main())
    except Exception:
        # Python's own 1 would be a FAIL: a twin that crashed has not failed as it must.
        traceback.print_exc()
        sys.exit(EX_SOFTWARE)
