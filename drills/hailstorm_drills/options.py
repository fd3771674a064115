"""
A drill's options on the command line, and how they become parameters.

What is left out is what the scenario says, and what it does not say is the
default below; the plan prints what came out.
"""

import argparse
import random
from collections.abc import Mapping
from typing import Any, Final

import yaml

from hailstorm_drills.offers import OFFER_LOAD
from hailstorm_drills.plan import Parameters
from hailstorm_drills.registry import Scenario
from hailstorm_drills.runner import SetupError
from hailstorm_drills.steady import (
    LOAD_SCALES,
    MAX_BASELINE_BUSY_SHARE,
    MAX_BASELINE_FAILED_SHARE,
    MAX_BASELINE_P99_MS,
)

# The load must outlast every wait of the drill; it is told to finish earlier.
LOAD_MARGIN_SECONDS: Final = 120.0
# (option, field of Parameters, type, default, help)
OPTIONS: Final[tuple[tuple[str, str, type, Any, str], ...]] = (
    ("--baseline-seconds", "baseline_seconds", float, 60.0, "load without a fault, before"),
    ("--recover-seconds", "recover_seconds", float, 30.0, "load without a fault, after"),
    (
        "--took-hold-seconds",
        "took_hold_seconds",
        float,
        120.0,
        "the fault must be there by then",
    ),
    ("--healed-seconds", "healed_seconds", float, 300.0, "each fault must be over by then"),
    ("--times", "times", int, 1, "how often the fault comes: deploys in a row"),
    ("--seconds", "fault_seconds", float, 0.0, "how long the fault is kept up or repeated: kills"),
    ("--interval", "interval_seconds", float, 0.0, "seconds between two kills, or two deploys"),
    ("--replicas", "replicas", int, 0, "replicas before, where the drill scales"),
    ("--to-replicas", "to_replicas", int, 0, "replicas after, where the drill scales"),
    ("--workers", "workers", int, 2, "load workers"),
    ("--min-user-calls", "min_user_calls", int, 10_000, "below it the verdict is UNKNOWN"),
    ("--max-generator-lag-ms", "max_generator_lag_ms", float, 50.0, "above it it is UNKNOWN"),
    (
        "--max-fault-p99-ms",
        "max_fault_p99_ms",
        float,
        1_000.0,
        "p99 while the fault lasts; 0 does not judge it (a guess at patience)",
    ),
    (
        "--max-p99-ratio",
        "max_p99_ratio",
        float,
        0.0,
        "p99 while the fault lasts, as so many times that before it; 0 does not judge it",
    ),
    (
        "--max-baseline-p99-ms",
        "max_baseline_p99_ms",
        float,
        MAX_BASELINE_P99_MS,
        "with a p99 above it a drill does not begin: there is no steady state to break",
    ),
    (
        "--max-baseline-failed-share",
        "max_baseline_failed_share",
        float,
        MAX_BASELINE_FAILED_SHARE,
        "nor with more failed calls than this share",
    ),
    (
        "--max-baseline-busy-share",
        "max_baseline_busy_share",
        float,
        MAX_BASELINE_BUSY_SHARE,
        "with more of this machine's cores at work the next share of the load is tried",
    ),
)


def add_options(command: argparse.ArgumentParser) -> None:
    """All of them; each says what it is when left out and the drill has no say of its own."""
    for option, name, kind, default, told in OPTIONS:
        command.add_argument(
            option,
            dest=name,
            type=kind,
            metavar="N",
            help=f"{told} ({default:g}; some drills have their own: see `plan`)",
        )
    command.add_argument(
        "--offers",
        action=argparse.BooleanOptionalAction,
        help="drivers answer their offers themselves, over WatchOffers (no; some drills have "
        "their own: see `plan`)",
    )
    command.add_argument(
        "--load-scale",
        dest="load_scales",
        type=float,
        action="append",
        default=[],
        metavar="SHARE",
        help="share of the load; repeatable: the first with which users are well served is taken "
        f"({', '.join(f'{scale:g}' for scale in LOAD_SCALES)})",
    )
    command.add_argument(
        "--component",
        dest="components",
        action="append",
        default=[],
        help="a component that the fault is for; repeatable (default: the drill's own)",
    )


def parameters_of(arguments: argparse.Namespace, scenario: Scenario) -> Parameters:
    """Arguments as the plan's parameters; the seed is drawn when none is given."""
    values: dict[str, Any] = {}
    for _, name, _, default, _ in OPTIONS:
        given = getattr(arguments, name)
        values[name] = scenario.defaults.get(name, default) if given is None else given
    seed = arguments.seed if arguments.seed is not None else random.randrange(1, 10**6)
    values["load_scales"] = tuple(arguments.load_scales) or LOAD_SCALES
    offers = arguments.offers
    if offers is None:
        offers = bool(scenario.defaults.get("offers", False))
    asked = OFFER_LOAD if offers else {}
    load: dict[str, Any] = {**scenario.load, **asked, **_settings(arguments.load)}
    load.setdefault("seed", seed)
    load.setdefault("duration_seconds", load_seconds(values))
    for name in ("max_fault_p99_ms", "max_p99_ratio"):
        values[name] = values[name] or None
    if any(not scale > 0 for scale in values["load_scales"]):
        raise SetupError("--load-scale must be above 0")
    return Parameters(
        **values,
        drill=arguments.drill,
        offers=offers,
        is_twin=arguments.twin,
        seed=seed,
        load=load,
        components=tuple(arguments.components),
        release=arguments.release,
        chart=arguments.chart,
        values=tuple(arguments.values),
        next_values=tuple(arguments.next_values),
        namespace=arguments.namespace,
        operator_namespace=arguments.operator_namespace,
        load_namespace=arguments.load_namespace,
    )


def load_seconds(values: Mapping[str, Any]) -> float:
    """As long as the drill can take at the very most, and a margin."""
    each = values["took_hold_seconds"] + values["healed_seconds"] + values["interval_seconds"]
    # Lighter load is watched for longer, so that it comes to as many calls.
    quiet = (values["baseline_seconds"] + values["recover_seconds"]) / min(values["load_scales"])
    return float(
        quiet + max(1, values["times"]) * each + values["fault_seconds"] + LOAD_MARGIN_SECONDS
    )


def _settings(words: list[str]) -> dict[str, Any]:
    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise SetupError(f"--load {word!r}: expected FIELD=VALUE")
        found[name] = yaml.safe_load(value)
    return found
