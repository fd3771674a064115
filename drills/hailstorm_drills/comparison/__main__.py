"""
`python -m hailstorm_drills.comparison`: run the arms, judge them, write it down.

Exit codes as of a drill: 0 PASS, 1 FAIL, 2 UNKNOWN, 3 it could not begin,
64 the command line was wrong, 130 interrupted (and healed). An arm that was run
before on this cluster, at this commit and with the same settings and images is kept in
the output folder, and is used again unless it is named by --arms; so a broken comparison
goes on where it broke.
"""

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import yaml

from hailstorm_drills.__main__ import heal_when_told_to_end
from hailstorm_drills.checkers.base import Verdict
from hailstorm_drills.cluster import Cluster, CommandError
from hailstorm_drills.comparison.figures import Figures, measure
from hailstorm_drills.comparison.kept import find_origin, keep, kept
from hailstorm_drills.comparison.page import ROWS, render_page, render_picture, told
from hailstorm_drills.comparison.recording import Recording
from hailstorm_drills.comparison.rivals import raised
from hailstorm_drills.comparison.runner import Compare, CompareError, requirements_missing
from hailstorm_drills.comparison.settings import (
    ARM_TITLES,
    ARMS,
    CPU_HPA,
    IN_FLIGHT_HPA,
    MIN_REPLICAS,
    SHAPES,
    Settings,
    settings_for,
)
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
    parser.add_argument("--hold-seconds", type=int, help="of load after the first 30 s")
    parser.add_argument(
        "--min-replicas",
        type=int,
        metavar="N",
        help=f"of ours, and of the HPAs unless told (default: {MIN_REPLICAS})",
    )
    parser.add_argument("--spares", type=int, help="of ours (default: what the shape needs)")
    parser.add_argument(
        "--rival-min-replicas",
        metavar="N|ARM=N,...",
        help="minReplicas of the HPAs: what they need to hold the SLO is the least that does",
    )
    parser.add_argument(
        "--load-scale",
        type=float,
        metavar="SHARE",
        help="share of the calls, each so much dearer, where the generator lags (0.25 to 1)",
    )
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--judge-only", action="store_true", help="judge what is kept")
    either.add_argument(
        "--find-rivals",
        action="store_true",
        help="run each HPA that did not hold the SLO again, from one pod more, until it does",
    )
    return parser


def rivals_from(words: str | None) -> dict[str, int] | None:
    """`5`, or `cpu-hpa=5,in-flight-hpa=3`: minReplicas by rival. Raises ValueError."""
    if words is None:
        return None
    if words.strip().isdecimal():
        return {arm: int(words) for arm in (CPU_HPA, IN_FLIGHT_HPA)}
    pairs = [part.strip().partition("=") for part in words.split(",")]
    if not all(count.isdecimal() for _, _, count in pairs):
        raise ValueError(f"--rival-min-replicas {words}: write 5, or {CPU_HPA}=5,...")
    return {arm: int(count) for arm, _, count in pairs}


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
    folder = options.output / f"compare-{options.shape}"
    try:
        settings = settings_for(
            options.shape,
            seed=options.seed,
            hold_seconds=options.hold_seconds,
            min_replicas=options.min_replicas,
            spares=options.spares,
            load_scale=options.load_scale,
            rivals_from=rivals_from(options.rival_min_replicas),
        )
        if options.find_rivals and not settings.asks_for_pod_seconds:
            raise ValueError(f"--find-rivals: the {options.shape} asks for no pod-seconds")
        folder.mkdir(parents=True, exist_ok=True)
        heal_when_told_to_end()
        code, recordings = _compare(options, settings, folder)
        while options.find_rivals:
            figures = {arm: measure(one, settings) for arm, one in recordings.items()}
            more = raised(figures, settings)
            if more is None:
                break
            told = ", ".join(f"{ARM_TITLES[arm]} from {n}" for arm, n in more.rivals_from.items())
            print(f"\ncompare: not every HPA held the SLO; next {told} pods on", flush=True)
            changed = [arm for arm in ARMS if more.least_of(arm) != settings.least_of(arm)]
            settings = more
            code, recordings = _compare(options, settings, folder, changed)
    except KeyboardInterrupt:
        print("interrupted; healed. The arms that were finished are kept")
        return EX_INTERRUPTED
    except (CompareError, LockedError, CommandError, OSError) as error:
        print(f"compare: {error}", file=sys.stderr)
        return EX_SETUP
    except (SetupError, ValueError, yaml.YAMLError) as error:
        print(f"compare: {error}", file=sys.stderr)
        return EX_USAGE
    return code


def _compare(
    options: argparse.Namespace, settings: Settings, folder: Path, again: Sequence[str] = ()
) -> tuple[int, dict[str, Recording]]:
    """
    Run what is missing, judge all; the exit code, and the recordings that were judged.

    `again` are the arms that differ from the round before: only those are missing, and
    `--fresh` runs only them. Raises as the arms do, and ValueError.
    """
    images, pull_policy = images_of(options.values, IMAGES)
    cluster = Cluster(options.kubeconfig.resolve())
    origin = None if options.judge_only else find_origin(cluster)
    have, refused = kept(folder, settings, images, origin)
    if options.judge_only:
        arms = []
    elif again:
        arms = [arm for arm in again if options.fresh or arm not in have]
    else:
        arms = choose_arms(options.arms, have, options.fresh)
    for arm, one in have.items():
        if arm not in arms:
            print(f"compare: {ARM_TITLES[arm]} is not run: kept from {one.measured_at}")
    for arm, why in refused.items():
        print(f"compare: {ARM_TITLES[arm]} as it was kept is not used: {why}")
    if origin is not None and arms:
        compare = Compare(cluster, settings, images, pull_policy, origin, say=_say)
        _run(compare, cluster, settings, arms, folder)
    have, _ = kept(folder, settings, images, origin)
    return report(have, settings, folder, options.evidence), have


def _say(text: str) -> None:
    print(text, flush=True)


def _run(
    compare: Compare, cluster: Cluster, settings: Settings, arms: Sequence[str], folder: Path
) -> None:
    """Run the arms, and keep each as soon as it is done. Raises CompareError."""
    missing = requirements_missing(cluster, arms)
    if missing:
        raise CompareError("; ".join(missing))
    _say(f"compare: {settings.pace} at {settings.base_rate:g} calls/s, seed {settings.seed}")
    _say(f"compare: arms {', '.join(arms)}, some {settings.seconds + 60} s each")
    seconds = len(arms) * (settings.seconds + ARM_MARGIN_SECONDS)
    with locked(cluster, LOCK_NAMESPACE, f"compare-{settings.shape}", seconds):
        try:
            compare.set_up(arms)
            for arm in arms:
                keep(folder / settings.file_of(arm), compare.run_arm(arm))
        finally:
            compare.clean_up()


def report(
    recordings: Mapping[str, Recording], settings: Settings, folder: Path, evidence: Path | None
) -> int:
    """Judge, print, draw, write; the exit code."""
    figures = {arm: measure(one, settings) for arm, one in recordings.items()}
    lines, verdict = judge(figures, settings)
    page = folder / ("report" + settings.name.removeprefix(settings.shape) + ".html")
    page.write_text(render_page(recordings, figures, lines, verdict, settings), encoding="utf-8")
    print()
    print(render_table(figures, lines, verdict))
    print(page)
    if recordings:
        picture = page.with_suffix(".svg")
        picture.write_text(render_picture(recordings, settings), encoding="utf-8")
        print(picture)
    # Nothing that was measured is no news to what is there.
    if evidence is not None and recordings:
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
    """Put these figures beside those of other shapes, and of other rivals, in the file."""
    document: dict[str, Any] = {"command": "make compare", "shapes": {}}
    with contextlib.suppress(FileNotFoundError):
        document = json.loads(path.read_text(encoding="utf-8"))
    document["shapes"][settings.name] = {
        "command": command_of(settings),
        # All are of one run's cluster and commit; `kept` sees to it.
        "origin": next((asdict(one.origin) for one in recordings.values()), None),
        "measured_at": {arm: one.measured_at for arm, one in recordings.items()},
        "machine": {"cores": os.cpu_count()},
        "settings": asdict(settings) | {"pace": settings.pace},
        "arms": {arm: one.as_json() for arm, one in figures.items()},
        "ours_divided_by": ratios(figures),
        "verdict": str(verdict),
        "lines": [line.as_json() for line in lines],
    }
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def command_of(settings: Settings) -> str:
    """The words that make these figures again, as far as they differ from the defaults."""
    plain = settings_for(settings.shape)
    words = [] if settings.shape == Settings.shape else ["--shape", settings.shape]
    for name in ("seed", "hold_seconds", "min_replicas", "spares"):
        if getattr(settings, name) != getattr(plain, name):
            words += [f"--{name.replace('_', '-')}", str(getattr(settings, name))]
    if settings.rivals_from:
        told = ",".join(f"{arm}={least}" for arm, least in settings.rivals_from.items())
        words += ["--rival-min-replicas", told]
    if settings.load_scale != 1:
        words += ["--load-scale", f"{settings.load_scale:g}"]
    return f'make compare COMPARE="{" ".join(words)}"' if words else "make compare"


if __name__ == "__main__":
    os.nice(NICENESS)
    sys.exit(main())
