"""
`python -m hailstorm_drills.comparison`: run the arms, judge them, write it down.

Exit codes as of a drill: 0 PASS, 1 FAIL, 2 UNKNOWN, 3 it could not begin,
64 the command line was wrong, 130 interrupted (and healed). An arm that was run
before with the same settings and images is kept in the output folder, and is used again
unless it is named by --arms; so a broken comparison goes on where it broke.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from hailstorm_drills.__main__ import heal_when_told_to_end
from hailstorm_drills.checkers.base import Verdict
from hailstorm_drills.cluster import Cluster, CommandError
from hailstorm_drills.comparison.figures import Figures, measure
from hailstorm_drills.comparison.page import ROWS, render_page, told
from hailstorm_drills.comparison.recording import Recording, from_json
from hailstorm_drills.comparison.runner import Compare, CompareError, keep, requirements_missing
from hailstorm_drills.comparison.settings import ARM_TITLES, ARMS, SHAPES, Settings
from hailstorm_drills.comparison.verdicts import Line, judge, ratios
from hailstorm_drills.images import images_of
from hailstorm_drills.lock import LockedError, locked
from hailstorm_drills.runner import SetupError

EXIT_CODES: Final = {Verdict.PASS: 0, Verdict.FAIL: 1, Verdict.UNKNOWN: 2}
EX_SETUP: Final = 3
EX_USAGE: Final = 64
EX_INTERRUPTED: Final = 130
# As the drills: beside the pods that it watches, a process of the host weighs too much.
NICENESS: Final = 10
# What an arm's figures come from: another one of these is another measurement.
IMAGES: Final = ("drills", "envoy", "operator")
LOCK_NAMESPACE: Final = "hailstorm-load"
# Set-up, reset, a scaler's first look and the way back, beside an arm's load.
ARM_MARGIN_SECONDS: Final = 420.0


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m hailstorm_drills.comparison", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--values", action="append", required=True, help="values with the images")
    parser.add_argument("--output", type=Path, required=True, help="folder of recordings and page")
    parser.add_argument("--evidence", type=Path, help="docs/evidence/scaling.json")
    parser.add_argument("--shape", choices=SHAPES, default="step")
    parser.add_argument("--arms", help=f"some of {','.join(ARMS)} (default: those not kept yet)")
    parser.add_argument("--fresh", action="store_true", help="run every arm again")
    parser.add_argument("--seed", type=int, default=Settings.seed)
    parser.add_argument("--hold-seconds", type=int, default=Settings.hold_seconds)
    parser.add_argument("--spares", type=int, default=Settings.spares)
    parser.add_argument("--judge-only", action="store_true", help="judge what is kept")
    return parser


def kept(folder: Path, settings: Settings, images: Mapping[str, str]) -> dict[str, Recording]:
    """Recordings of arms that were run with these settings and images; others are passed over."""
    found = {}
    for arm in ARMS:
        path = folder / f"{arm}.json"
        with contextlib.suppress(FileNotFoundError):
            document = json.loads(path.read_text(encoding="utf-8"))
            wanted = (json.loads(json.dumps(settings.as_json())), dict(images))
            # Recordings of before had no images.
            if (document["settings"], document.get("images")) == wanted:
                found[arm] = from_json(document)
    return found


def choose_arms(asked: str | None, have: Mapping[str, Recording], fresh: bool) -> list[str]:
    """Which arms to run, in their order. Raises ValueError for one that there is not."""
    if asked is None:
        return [arm for arm in ARMS if fresh or arm not in have]
    named = [word.strip() for word in asked.split(",") if word.strip()]
    unknown = [name for name in named if name not in ARMS]
    if unknown:
        raise ValueError(f"--arms {', '.join(unknown)}: there are {', '.join(ARMS)}")
    return [arm for arm in ARMS if arm in named]


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module."""
    options = make_parser().parse_args(arguments)
    settings = Settings(
        shape=options.shape,
        seed=options.seed,
        hold_seconds=options.hold_seconds,
        spares=options.spares,
    )
    folder = options.output / f"compare-{settings.shape}"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        images, pull_policy = images_of(options.values, IMAGES)
        have = kept(folder, settings, images)
        arms = [] if options.judge_only else choose_arms(options.arms, have, options.fresh)
    except (SetupError, ValueError, OSError, yaml.YAMLError) as error:
        print(f"compare: {error}", file=sys.stderr)
        return EX_USAGE
    for arm, one in have.items():
        if arm not in arms:
            print(f"compare: {ARM_TITLES[arm]} is not run: kept from {one.measured_at}")
    heal_when_told_to_end()
    try:
        _run(options, settings, arms, (images, pull_policy), folder)
    except KeyboardInterrupt:
        print("interrupted; healed. The arms that were finished are kept")
        return EX_INTERRUPTED
    except (CompareError, LockedError, CommandError, OSError) as error:
        print(f"compare: {error}", file=sys.stderr)
        return EX_SETUP
    return report(kept(folder, settings, images), settings, folder, options.evidence)


def _run(
    options: argparse.Namespace,
    settings: Settings,
    arms: Sequence[str],
    images: tuple[dict[str, str], str],
    folder: Path,
) -> None:
    if not arms:
        return
    cluster = Cluster(options.kubeconfig.resolve())
    missing = requirements_missing(cluster, arms)
    if missing:
        raise CompareError("; ".join(missing))
    print(f"compare: {settings.pace} at {settings.base_rate:g} calls/s, seed {settings.seed}")
    print(f"compare: arms {', '.join(arms)}, some {settings.seconds + 60} s each", flush=True)
    compare = Compare(cluster, settings, *images, say=lambda text: print(text, flush=True))
    seconds = len(arms) * (settings.seconds + ARM_MARGIN_SECONDS)
    with locked(cluster, LOCK_NAMESPACE, f"compare-{settings.shape}", seconds):
        try:
            compare.set_up(arms)
            for arm in arms:
                keep(folder / f"{arm}.json", compare.run_arm(arm))
        finally:
            compare.clean_up()


def report(
    recordings: Mapping[str, Recording], settings: Settings, folder: Path, evidence: Path | None
) -> int:
    """Judge, print, draw, write; the exit code."""
    figures = {arm: measure(one, settings) for arm, one in recordings.items()}
    lines, verdict = judge(figures, settings)
    page = folder / "report.html"
    page.write_text(render_page(recordings, figures, lines, verdict, settings), encoding="utf-8")
    print()
    print(render_table(figures, lines, verdict))
    print(page)
    if evidence is not None:
        write_evidence(evidence, recordings, figures, lines, verdict, settings)
        print(evidence)
    return EXIT_CODES[verdict]


def render_table(figures: Mapping[str, Figures], lines: Sequence[Line], verdict: Verdict) -> str:
    """Figures by arm, then what was asked, for a terminal."""
    head = ("", *(ARM_TITLES[arm] for arm in figures))
    rows = [
        head,
        *((name, *(told(getattr(one, field)) for one in figures.values())) for name, field in ROWS),
    ]
    asked = [("what", "asked", "measured", "verdict", "why")]
    asked += [(one.name, one.asked, one.measured, str(one.verdict), one.why) for one in lines]
    return f"{_columns(rows)}\n\n{_columns(asked)}\n\n{verdict}"


def _columns(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def write_evidence(
    path: Path,
    recordings: Mapping[str, Recording],
    figures: Mapping[str, Figures],
    lines: Sequence[Line],
    verdict: Verdict,
    settings: Settings,
) -> None:
    """Put this shape's figures beside those of the others that are in the file."""
    document: dict[str, Any] = {"command": "make compare", "shapes": {}}
    with contextlib.suppress(FileNotFoundError):
        document = json.loads(path.read_text(encoding="utf-8"))
    document["shapes"][settings.shape] = {
        "measured_at": {arm: one.measured_at for arm, one in recordings.items()},
        "machine": {"cores": os.cpu_count()},
        "settings": dataclasses.asdict(settings) | {"pace": settings.pace},
        "arms": {arm: one.as_json() for arm, one in figures.items()},
        "ours_divided_by": ratios(figures),
        "verdict": str(verdict),
        "lines": [line.as_json() for line in lines],
    }
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    os.nice(NICENESS)
    sys.exit(main())
