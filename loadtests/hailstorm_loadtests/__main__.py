"""
Command line of the load generator: plan, run, master, worker.

gevent takes over the standard library's sockets and gRPC's core here, before
anything else is imported: a channel made earlier would block every greenlet.
"""

# ruff: noqa: E402
from gevent import monkey

monkey.patch_all()

import grpc.experimental.gevent as grpc_gevent  # type: ignore[import-not-found]

grpc_gevent.init_gevent()

import argparse
import dataclasses
import itertools
import json
import logging
import sys
import uuid
from pathlib import Path
from typing import Any, NoReturn

import yaml

from hailstorm_loadtests.arrivals import make_schedule
from hailstorm_loadtests.city import PickupsError, read_pickups
from hailstorm_loadtests.fence import TargetError, assert_private, parse_target
from hailstorm_loadtests.profile import Profile, ProfileError, from_mapping, read_profile, scaled

# sysexits.h: the command line was wrong. 2, argparse's own choice, is the
# drills' UNKNOWN.
EX_USAGE = 64


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaint ends with EX_USAGE."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(EX_USAGE, f"{self.prog}: {message}\n")


def make_parser() -> argparse.ArgumentParser:
    """The command line; `--help` of each command explains it."""
    parser = Parser(prog="python -m hailstorm_loadtests", description=__doc__.split("\n\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    plan = commands.add_parser("plan", help="print what a profile comes to, and send nothing")
    run = commands.add_parser("run", help="generate load from this process alone")
    master = commands.add_parser("master", help="Locust master: assign, collect, serve HTTP")
    worker = commands.add_parser("worker", help="Locust worker: generate a share of the load")
    for command in (plan, run, master):
        command.add_argument("--profile", type=Path, help="YAML of what differs from the default")
        command.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="FIELD=VALUE",
            dest="settings",
            help="one field of the profile; repeatable, wins over --profile",
        )
    for command in (plan, run, worker):
        command.add_argument(
            "--pickups", type=Path, help="CSV of pickups (default: New York, April 2014)"
        )
    for command in (run, master):
        command.add_argument(
            "--target",
            required=True,
            help="host:port of the edge: loopback, a private address, or a Service's name",
        )
        command.add_argument(
            "--output", type=Path, required=True, help="directory for history.jsonl.gz"
        )
    master.add_argument("--workers", type=int, required=True, help="workers to wait for")
    master.add_argument("--bind-port", type=int, default=5557, help="for workers (5557)")
    master.add_argument("--http-port", type=int, default=8089, help="for /state, /history (8089)")
    master.add_argument("--http-host", default="", help="address to serve on (all)")
    master.add_argument(
        "--linger-seconds", type=float, default=900.0, help="serve this long after the end (900)"
    )
    worker.add_argument("--master", required=True, help="host:port of the master")
    return parser


def profile_of(arguments: argparse.Namespace) -> Profile:
    """The default profile, under --profile, under --set, and scaled as that says."""
    base = read_profile(arguments.profile) if arguments.profile else Profile()
    values = {}
    for setting in arguments.settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise ProfileError(f"--set {setting!r}: expected FIELD=VALUE")
        values[name] = yaml.safe_load(value)
    return scaled(from_mapping(values, base))


def main(argv: list[str] | None = None) -> int:
    """0: done and complete; 1: history incomplete; 64: wrong command line."""
    arguments = make_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        if arguments.command == "worker":
            return _worker(arguments)
        profile = profile_of(arguments)
        if arguments.command == "plan":
            return _plan(profile, arguments.pickups)
        target = parse_target(arguments.target).address
        if arguments.command == "master":
            return _master(profile, target, arguments)
        return _run(profile, target, arguments)
    except (ProfileError, PickupsError, TargetError) as error:
        print(f"hailstorm_loadtests: {error}", file=sys.stderr)
        return EX_USAGE


def _plan(profile: Profile, pickups: Path | None) -> int:
    schedule = make_schedule(profile, read_pickups(pickups))
    print(yaml.safe_dump(dataclasses.asdict(profile), sort_keys=False).rstrip())
    print("---")
    print(f"trips: {len(schedule.trips)}, replayed {schedule.replay_speed:.1f} times as fast")
    print(f"views: {len(schedule.views)}, Poisson")
    print(f"about {profile.calls_per_second():.0f} user calls/s at multiplier 1")
    print(f"ends by itself after {profile.total_seconds():.0f} s at the latest")
    for trip in schedule.trips[:3]:
        print(f"  {trip.due:8.3f} s  {trip.pickup} -> {trip.dropoff}")
    return 0


def _master(profile: Profile, target: str, arguments: argparse.Namespace) -> int:
    from hailstorm_loadtests.distributed import Master

    make_schedule(profile, read_pickups(None))
    master = Master(profile, target, arguments.workers, arguments.bind_port, arguments.output)
    server = master.console.serve(arguments.http_host, arguments.http_port)
    is_complete = master.run(arguments.linger_seconds)
    server.stop()
    return 0 if is_complete else 1


def _worker(arguments: argparse.Namespace) -> int:
    from hailstorm_loadtests.distributed import Worker

    target = parse_target(arguments.master)
    Worker(target.host, target.port, arguments.pickups).run()
    return 0


def _run(profile: Profile, target: str, arguments: argparse.Namespace) -> int:
    import signal

    import gevent

    from hailstorm_loadtests.calls import now
    from hailstorm_loadtests.engine import Assignment, Engine
    from hailstorm_loadtests.ledger import Ledger

    assert_private(parse_target(target))
    schedule = make_schedule(profile, read_pickups(arguments.pickups))
    ledger = Ledger(arguments.output, workers=1)
    assignment = Assignment(uuid.uuid4().hex[:8], 0, 1, now() + 0.5, target)
    numbers = itertools.count(1)

    def record(line: dict[str, Any]) -> None:
        ledger.accept("local", next(numbers), [line])

    engine = Engine(profile, schedule, assignment, lambda call: record(call.line()), lambda _: None)
    gevent.signal_handler(signal.SIGINT, engine.finish)
    record(engine.run())
    ledger.declare("local", next(numbers) - 1)
    ledger.close("complete" if ledger.is_complete else "incomplete")
    print(json.dumps(ledger.state_at(now()), indent=2))
    print(ledger.path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
