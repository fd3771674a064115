"""
`make bench` and `make seed`: the programs of benchmarks/, with what they need.

They run in the virtual environment over Redis and Postgres of their own; only
RequestTrip is measured on the demo's cluster, and is UNKNOWN where none is up.
"""

from collections.abc import Sequence

from hailstorm_platform import docker_daemon, store_programs, venv
from hailstorm_platform.commands import Commands
from hailstorm_platform.context import Context


def run(context: Context, commands: Commands, arguments: Sequence[str]) -> int:
    """
    Run the benchmarks; 0 every figure is PASS, 1 one is FAIL, 2 one is UNKNOWN.

    All of them write docs/evidence/core.json; a choice of them, or --quick, does not.
    """
    output = context.paths.root / "docs" / "evidence" / "core.json"
    options = [] if arguments else ["--output", str(output)]
    return _program(context, commands, "bench.py", [*arguments, *options])


def seed(context: Context, commands: Commands, arguments: Sequence[str]) -> int:
    """Load trips into the database that the arguments name, or one of its own."""
    return _program(context, commands, "seed.py", arguments)


def _program(context: Context, commands: Commands, name: str, arguments: Sequence[str]) -> int:
    python = venv.install(context)
    store_programs.ensure(context)
    if docker_daemon.ours_answers(context):
        # RequestTrip divides the cores between the nodes and the generator.
        commands.environment["DOCKER_HOST"] = docker_daemon.our_address(context.paths)
    program = str(context.paths.root / "benchmarks" / name)
    return commands.attend([str(python), program, *arguments], context.paths.root)
