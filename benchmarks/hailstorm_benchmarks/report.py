"""
The end of every benchmark: table and verdicts on the terminal, the figures in a file.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from hailstorm_benchmarks.figures import EXIT_CODES, Figure, table, verdict_lines, worst

ROOT: Final = Path(__file__).parents[2]
_PACKAGES: Final = ("asyncpg", "grpcio", "h3", "protobuf", "redis")
_began: Final = time.monotonic()


def arguments(description: str | None) -> argparse.ArgumentParser:
    """The arguments that every benchmark takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--quick", action="store_true", help="fewer and shorter runs, for development"
    )
    parser.add_argument("--runs", type=int, help="turns of each; the median is judged")
    parser.add_argument("--output", type=Path, help="write the figures there as JSON")
    return parser


def command_of(name: str, words: Sequence[str]) -> str:
    """What to type for the same figures: without where this machine put them."""
    kept = list(words)
    if "--output" in kept:
        place = kept.index("--output")
        del kept[place : place + 2]
    return " ".join([f"python benchmarks/{name}.py", *kept])


def say(text: str) -> None:
    """A line of progress with the seconds since the start."""
    print(f"[{time.monotonic() - _began:6.1f}s] {text}", file=sys.stderr, flush=True)


def finish(name: str, figures: Sequence[Figure], output: Path | None) -> int:
    """Print the table, write the file, and end as `conclude` does."""
    if output is not None:
        document = {
            "benchmark": name,
            "machine": machine(),
            "figures": [figure.to_json() for figure in figures],
        }
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return conclude(figures)


def conclude(figures: Sequence[Figure]) -> int:
    """Print the table and a verdict for each figure; the exit code is the worst one's."""
    print(table(figures))
    print(verdict_lines(figures), flush=True)
    return EXIT_CODES[worst(figure.verdict for figure in figures)]


def machine() -> dict[str, Any]:
    """What the figures hold for."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGESIZE")
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(pages / 2**30, 1),
        "cpu": _cpu_model(),
        # Above the cores, others were at work too.
        "load_average": [round(load, 1) for load in os.getloadavg()],
        "python": platform.python_version(),
        "kernel": platform.release(),
        "packages": {name: metadata.version(name) for name in _PACKAGES},
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
