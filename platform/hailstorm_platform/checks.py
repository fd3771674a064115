"""
The static checks, all of them run before the verdict.

A reader who broke three things learns of three, not of one at a time. Each check
is a command that can be run by hand; its whole output is shown when it fails.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hailstorm_platform import go_tools, protos, venv
from hailstorm_platform.context import Context
from hailstorm_platform.errors import CommandError, PlatformError

# Folders with Python of ours; those that do not exist yet are left out.
PYTHON_FOLDERS: Final = (
    "services",
    "operator",
    "drills",
    "loadtests",
    "platform",
    "tests",
    "benchmarks",
)
CHARTS: Final = ("charts/hailstorm-operator", "charts/hailstorm")


@dataclass(frozen=True)
class Check:
    """One static check: its name and the command, run in the project's root."""

    name: str
    command: tuple[str, ...]


def shell_scripts(root: Path) -> list[str]:
    """Files of the repository that a shell runs."""
    # Not a glob over everything: .hailstorm holds the file systems of running
    # containers, where files vanish while they are listed.
    folders = [path for path in root.iterdir() if path.is_dir() and path.name[0] != "."]
    candidates = [path for folder in folders for path in folder.rglob("*.sh")]
    candidates.append(root / ".ci" / "run")
    return sorted(str(path.relative_to(root)) for path in candidates if path.is_file())


def plan(context: Context) -> list[Check]:
    """The checks for this tree, cheapest first."""
    root, tools = context.paths.root, context.paths.venv / "bin"
    python = [folder for folder in PYTHON_FOLDERS if (root / folder).is_dir()]
    checks = [
        Check("ruff format", (f"{tools}/ruff", "format", "--check", "--quiet", *python)),
        Check("ruff check", (f"{tools}/ruff", "check", "--quiet", *python)),
        Check("buf lint", (str(context.paths.bin / "buf"), "lint")),
    ]
    scripts = shell_scripts(root)
    if scripts:
        checks.append(Check("shellcheck", (f"{tools}/shellcheck", *scripts)))
    for chart in CHARTS:
        # The chart's own checks refuse some values; ci/ holds those that must pass.
        lint = (str(context.paths.bin / "helm"), "lint", "--strict", "--quiet", chart)
        values = [path.relative_to(root) for path in (root / chart / "ci").glob("*-values.yaml")]
        for path in sorted(values):
            checks.append(Check(f"helm lint {path}", (*lint, "--values", str(path))))
        if not values:
            checks.append(Check(f"helm lint {chart}", lint))
    checks.append(Check("import-linter", (f"{tools}/lint-imports",)))
    checks.append(Check("mypy", (f"{tools}/mypy",)))
    return checks


def run(context: Context) -> None:
    """Run every static check; raises one error that names all that failed."""
    venv.install(context)
    for tool in (go_tools.BUF, go_tools.HELM):
        go_tools.link(context, go_tools.build(context, tool))
    protos.lay_out_imports(context)
    failed = run_all(
        context,
        [
            *((check.name, _command(context, check)) for check in plan(context)),
            ("verify-protos", lambda: protos.verify(context)),
        ],
    )
    if failed:
        raise PlatformError(f"static checks failed: {', '.join(failed)}.")
    context.report.say("static checks passed")


def _command(context: Context, check: Check) -> Callable[[], object]:
    # Lint writes what it found to standard output, which only a log keeps whole.
    name = "".join(letter if letter.isalnum() else "-" for letter in check.name)

    def call() -> None:
        log = context.log(f"check-{name}")
        try:
            context.runner.run(check.command, cwd=context.paths.root, log=log)
        except CommandError as error:
            raise PlatformError(
                f"`{' '.join(check.command)}`\n{log.read_text(errors='replace')}"
            ) from error

    return call


def run_all(context: Context, checks: Sequence[tuple[str, Callable[[], object]]]) -> list[str]:
    """Run every check whatever the others did; returns the names of those that failed."""
    failed = []
    for name, call in checks:
        try:
            call()
        except PlatformError as error:
            failed.append(name)
            context.report.say(f"  x {name}: {error}")
        else:
            context.report.say(f"  . {name}")
    return failed
