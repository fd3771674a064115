"""
Replay a demand through models of the HPA, Knative's KPA and the ServiceScaler.

    hailstorm simulate step
    hailstorm simulate day --json day.json --svg day.svg
    hailstorm simulate --demand calls.csv --max 40
    hailstorm simulate --pickups nyc-pickups-2014-04.csv.gz --date 2014-04-04

Prints a scorecard. Exit code: 0, or 64 for a demand that cannot be read.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from hailstorm_operator import specs
from hailstorm_operator.scaling_inputs import Rules
from hailstorm_operator.simulation.demand import (
    SHAPES,
    Demand,
    DemandError,
    read_demand,
    read_pickups,
    shaped,
)
from hailstorm_operator.simulation.plot import draw
from hailstorm_operator.simulation.policies import Bounds, CpuHpa, InFlightHpa, Kpa, Ours, Policy
from hailstorm_operator.simulation.scorecard import Scorecard, run
from hailstorm_operator.simulation.service import PodModel

USAGE_EXIT: Final = 64
# What DESIGN's measured step runs from and to, on pods of this size.
LOW: Final = 60.0
HIGH: Final = 300.0
# The target of the measured HPA (DESIGN, 10).
CPU_TARGET: Final = 0.6


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = _parser().parse_args(arguments)
    try:
        demand = _demand(options)
    except DemandError as error:
        print(error, file=sys.stderr)
        return USAGE_EXIT
    pod = PodModel(
        calls_per_second=options.pod_rate,
        service_seconds=options.service_ms / 1000,
        startup_seconds=options.startup,
        slo_seconds=options.slo_ms / 1000,
    )
    cards = compare(demand, pod, options)
    print(
        f"{demand.name}: {demand.seconds} s, seed {options.seed}, "
        f"pods of {pod.calls_per_second:g} calls/s that start in {pod.startup_seconds:g} s, "
        f"SLO {options.slo_ms:g} ms, "
        f"target {_target(pod, options):.2f} in flight at {options.utilisation:g}"
    )
    print(table(cards))
    if options.json is not None:
        options.json.write_text(json.dumps(report(demand, pod, options, cards), indent=1) + "\n")
    if options.svg is not None:
        options.svg.write_text(draw(f"Simulated: {demand.name}", cards, pod), encoding="utf-8")
    return 0


def compare(demand: Demand, pod: PodModel, options: argparse.Namespace) -> list[Scorecard]:
    """Every policy on the same demand, from as many pods as its first second needs."""
    per_pod = _target(pod, options) * options.utilisation
    # The HPAs and ours alike, as in `make compare`: who looks back for longer pays for it.
    bounds = Bounds(options.min, options.max, options.scale_down_window)
    first = demand.calls_per_second[0] / pod.calls_per_second / options.utilisation
    start = bounds.clip(round(first + 0.5))
    found = []
    for policy in policies(pod, options, per_pod, bounds):
        found.append(run(demand, policy, pod, start, options.seed))
    return found


def policies(
    pod: PodModel, options: argparse.Namespace, per_pod: float, bounds: Bounds
) -> list[Policy]:
    """The rivals, and ours without and with warm spares."""
    rules = Rules(
        min_replicas=options.min,
        max_replicas=options.max,
        in_flight_per_pod=per_pod,
        tolerance=specs.DEFAULT_TOLERANCE,
        max_pods_in_creation=specs.DEFAULT_MAX_PODS_IN_CREATION,
        stable_window_seconds=options.stable_window,
        scale_down_window_seconds=options.scale_down_window,
        step_seconds=options.step_seconds or 0.0,
        knee_per_pod=per_pod / options.utilisation,
        startup_seconds=pod.startup_seconds,
    )
    ours = [Ours(rules, options.fast_window)]
    if options.spares:
        name = f"ServiceScaler, {options.spares} spares"
        ours.append(Ours(rules, options.fast_window, options.spares, name))
    return [
        CpuHpa(bounds, options.cpu_target),
        InFlightHpa(bounds, per_pod),
        Kpa(bounds, per_pod),
        *ours,
    ]


def table(cards: Sequence[Scorecard]) -> str:
    """The scorecard as text."""
    head = (
        "policy",
        "s short",
        "over SLO",
        "failed",
        "pod-seconds",
        "flaps",
        "writes",
        "most pods",
    )
    rows = [head] + [
        (
            card.policy,
            f"{card.underprovisioned_seconds:g}",
            f"{card.calls_over_slo:,} ({card.calls_over_slo / max(1, card.calls):.2%})",
            f"{card.calls_failed:,}",
            f"{card.pod_seconds:,}",
            f"{card.flaps}",
            f"{card.scale_writes}",
            f"{card.max_pods}",
        )
        for card in cards
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def report(
    demand: Demand, pod: PodModel, options: argparse.Namespace, cards: Sequence[Scorecard]
) -> dict[str, Any]:
    """Plain JSON: what was simulated, with which settings, and what came of it."""
    return {
        "demand": {"name": demand.name, "seconds": demand.seconds},
        "seed": options.seed,
        "pod": asdict(pod),
        "targetInFlight": round(_target(pod, options), 3),
        "utilisation": options.utilisation,
        "cpuTarget": options.cpu_target,
        "minReplicas": options.min,
        "maxReplicas": options.max,
        "behavior": {
            "fastWindowSeconds": options.fast_window,
            "stableWindowSeconds": options.stable_window,
            "scaleDown": {
                "windowSeconds": options.scale_down_window,
                "stepSeconds": options.step_seconds or options.stable_window,
            },
        },
        "scorecards": [card.as_json() for card in cards],
    }


def _target(pod: PodModel, options: argparse.Namespace) -> float:
    return float(options.target_in_flight or pod.knee())


def _demand(options: argparse.Namespace) -> Demand:
    if options.demand is not None:
        return read_demand(options.demand)
    if options.pickups is not None:
        return read_pickups(options.pickups, options.date, options.low, options.high)
    return shaped(options.shape, options.low, options.high)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hailstorm simulate",
        description="replay a demand through models of the HPA, Knative's KPA and ours",
    )
    add = parser.add_argument
    add("shape", nargs="?", default="step", help=f"one of {', '.join(SHAPES)}")
    add("--demand", type=Path, help="CSV with a column calls_per_second, or a recording of compare")
    add("--pickups", type=Path, help="CSV with a column pickup_at, .gz or not")
    add("--date", default="2014-04-04", help="the day of --pickups")
    add("--low", type=float, default=LOW, help="calls/s of a shape's calm")
    add("--high", type=float, default=HIGH, help="calls/s of its peak")
    add("--min", type=int, default=2, help="minReplicas")
    add("--max", type=int, default=20, help="maxReplicas")
    add("--spares", type=int, default=2, help="warm spares of the second ServiceScaler")
    add("--pod-rate", type=float, default=PodModel.calls_per_second, help="calls/s a pod serves")
    add("--service-ms", type=float, default=PodModel.service_seconds * 1000)
    add("--slo-ms", type=float, default=PodModel.slo_seconds * 1000)
    add("--startup", type=float, default=PodModel.startup_seconds, help="seconds to ready")
    add("--target-in-flight", type=float, help="calls in flight at a pod's knee; else the model's")
    add("--utilisation", type=float, default=specs.DEFAULT_UTILISATION)
    add(
        "--cpu-target", type=float, default=CPU_TARGET, help="share of the limit, of the HPA on CPU"
    )
    add("--fast-window", type=float, default=specs.DEFAULT_FAST_WINDOW_SECONDS)
    add("--stable-window", type=float, default=specs.DEFAULT_STABLE_WINDOW_SECONDS)
    add(
        "--scale-down-window",
        type=float,
        default=specs.DEFAULT_SCALE_DOWN_WINDOW_SECONDS,
        help="seconds that ours and both HPAs look back before they shrink",
    )
    add(
        "--step-seconds",
        type=float,
        help="seconds between two steps down of ours; else the stable window",
    )
    add("--seed", default="simulate")
    add("--json", type=Path, help="write settings and figures there")
    add("--svg", type=Path, help="write the plot there")
    return parser
