"""
All benchmarks of the core, one after the other, as one table and one file.

Each is a program of its own, so that one that fails hides nothing of the
others. The last line says PASS, FAIL or UNKNOWN, and the exit code with it. 0:
every figure is what was asked for; 1: one is not; 2: one could not be had, which
is not a pass. `make` makes 2 of both, so read the line.
"""

import argparse
import datetime as dt
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from hailstorm_benchmarks.documents import figures_of
from hailstorm_benchmarks.figures import Figure, worst
from hailstorm_benchmarks.report import ROOT, conclude, machine, say

FOLDER: Final = Path(__file__).parent
# In this order, so that the machine is as quiet as can be for those that count calls.
BENCHMARKS: Final = (
    *("positions", "nearby", "transitions", "explain", "overload", "matching", "request_trip"),
)
# Of the operator and not of the core: run when named, and not among the core's figures.
BY_NAME: Final = ("scaler_fleet",)
# Those that take --quick; the others have no shorter form, and are left out then.
QUICK: Final = frozenset(
    {"positions", "nearby", "transitions", "explain", "request_trip", "scaler_fleet"}
)
# The longest, which loads five million trips, takes some ten minutes; a hang must not keep
# the others waiting for ever.
LIMIT_SECONDS: Final = 3_600.0
# A line while one runs, as a silent minute looks like a hang.
HEARTBEAT_SECONDS: Final = 30.0


def run_one(name: str, quick: bool, folder: Path) -> tuple[dict[str, Any] | None, int, float]:
    """Run one benchmark; its document if it wrote one, its exit code, and the seconds."""
    output = folder / f"{name}.json"
    command = [sys.executable, str(FOLDER / f"{name}.py"), "--output", str(output)]
    began = time.monotonic()
    process = subprocess.Popen(
        [*command, "--quick"] if quick else command,
        cwd=ROOT,
        # Its table is shown with all others at the end; its progress, now.
        stdout=sys.stderr,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        while True:
            try:
                code = process.wait(HEARTBEAT_SECONDS)
                break
            except subprocess.TimeoutExpired:
                seconds = time.monotonic() - began
                say(f"{name} (for {seconds:.0f} s)")
                if seconds > LIMIT_SECONDS:
                    raise
    except BaseException as error:
        process.kill()
        code = process.wait()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
    try:
        document: dict[str, Any] | None = json.loads(output.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        document = None
    return document, code, time.monotonic() - began


def command(names: list[str], quick: bool) -> str:
    """What to type for the same figures."""
    words = [*names, *(["--quick"] if quick else [])]
    return f'make bench BENCH="{" ".join(words)}"' if words else "make bench"


def commit() -> str | None:
    """The commit that was measured; None when files differ from it."""
    if _git("status", "--porcelain") != "":
        return None
    return _git("rev-parse", "HEAD")


def _git(*words: str) -> str | None:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "names",
        nargs="*",
        metavar="benchmark",
        help=f"{', '.join(BENCHMARKS)}; by name only: {', '.join(BY_NAME)}",
    )
    parser.add_argument("--quick", action="store_true", help="for development; judges nothing")
    parser.add_argument("--output", type=Path, help="write all figures there as JSON")
    options = parser.parse_args()
    if strangers := sorted(set(options.names) - {*BENCHMARKS, *BY_NAME}):
        parser.error(f"no benchmark is called {', '.join(strangers)}")
    names = [
        name
        for name in options.names or BENCHMARKS
        if (FOLDER / f"{name}.py").exists() and (name in QUICK or not options.quick)
    ]
    measured_commit = commit()
    figures: list[Figure] = []
    documents: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="hailstorm-bench-") as folder:
        for number, name in enumerate(names, start=1):
            say(f"> {name} ({number} of {len(names)})")
            document, code, seconds = run_one(name, options.quick, Path(folder))
            own = figures_of(name, document, code)
            figures += own
            documents[name] = {
                "exit_code": code,
                "seconds": round(seconds, 1),
                "document": document,
            }
            verdict = worst(figure.verdict for figure in own)
            say(f". {name}: {verdict} ({seconds:.0f} s)")
    verdict = worst(figure.verdict for figure in figures)
    if options.output:
        summary = {
            "command": command(options.names, options.quick),
            "measured_at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            "commit": measured_commit,
            "is_quick": options.quick,
            "machine": machine(),
            "verdict": verdict.value,
            "figures": [figure.to_json() for figure in figures],
            "benchmarks": documents,
        }
        options.output.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
        say(f"figures: {options.output}")
    return conclude(figures)


if __name__ == "__main__":
    sys.exit(main())
