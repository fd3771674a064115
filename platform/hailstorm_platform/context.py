"""
What every step needs: where things lie, how to start a process, whom to tell.
"""

from dataclasses import dataclass
from pathlib import Path

from hailstorm_platform.commands import Commands, Runner
from hailstorm_platform.paths import Paths, find_paths
from hailstorm_platform.report import Report


@dataclass(frozen=True)
class Context:
    """Handed to every step; holds no state of its own."""

    paths: Paths
    runner: Runner
    report: Report

    def log(self, name: str) -> Path:
        """The file that keeps the output of the step `name`, emptied."""
        self.paths.logs.mkdir(parents=True, exist_ok=True)
        path = self.paths.logs / f"{name}.log"
        path.write_bytes(b"")
        return path


def real_context() -> tuple[Context, Commands]:
    """A context for this machine, and its runner, whose environment may grow."""
    paths = find_paths()
    paths.create()
    commands = Commands()
    return Context(paths, commands, Report()), commands
