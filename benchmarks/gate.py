"""
How calm and how fast the rollout gate is, by simulation with the real decider.

Thousands of releases on four pods and a canary: identical ones, which must not be
aborted (AA), and ones with a defect, which must. Calls arrive at random, each
pod gets its share at random, failures are independent; one arm breaks that
last assumption on purpose (failures that come in bursts on one pod), because
the mathematics rests on it and the world does not keep to it. Pure and seeded:
the same arguments print the same table.

    python benchmarks/gate.py --output gate.json
"""

import argparse
import json
import math
import os
import platform
import random
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from hailstorm_benchmarks.documents import unknown
from hailstorm_benchmarks.figures import Asked, Figure, Spread
from hailstorm_benchmarks.report import command_of, conclude
from hailstorm_operator import api
from hailstorm_operator.bayes import Evidence, fewest_events
from hailstorm_operator.gate_inputs import GateRules, Inputs, LatencyRules
from hailstorm_operator.observations import Second, Tally
from hailstorm_operator.policy_specs import DEFAULT_ALPHA
from hailstorm_operator.rollouts import Decision, decide_rollout

EDGES: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
HOLD_MIN: Final = 30
HOLD_MAX: Final = 120
# What a pod on 0.2 of a core does while its caches are cold: slower by a factor
# that is gone after some eight seconds.
COLD_FACTOR: Final = 8.0
COLD_SECONDS: Final = 8


@dataclass(frozen=True)
class Release:
    """A release as users would meet it. Rates are shares of calls."""

    calls_per_second: float = 150.0
    pods: int = 4
    background: float = 0.0
    defect: float = 0.0
    # Every so many seconds one pod, whichever, fails this many calls in one second.
    burst_every: float = 0.0
    burst_size: int = 0
    # Latency is simulated only where it is asked about: it costs ten times the rest.
    median_ms: float = 0.0
    slower_ms: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """What became of one simulated release."""

    decision: Decision
    seconds: float
    first_failure: float | None
    canary_failures: int


def poisson(source: random.Random, mean: float) -> int:
    """A Poisson count; by the normal above 50, where the two do not differ visibly."""
    if mean > 50:
        return max(0, round(source.gauss(mean, math.sqrt(mean))))
    count, product, limit = 0, source.random(), math.exp(-mean)
    while product > limit:
        product *= source.random()
        count += 1
    return count


def simulate(release: Release, source: random.Random) -> Iterator[Second]:
    """Second after second of a release that is held."""
    share, at = 1 / (release.pods + 1), 0
    while True:
        calls = poisson(source, release.calls_per_second)
        ours = min(calls, poisson(source, calls * share))
        theirs = calls - ours
        failed = min(ours, poisson(source, ours * (release.background + release.defect)))
        failed_elsewhere = min(theirs, poisson(source, theirs * release.background))
        if release.burst_every and source.random() < 1 / release.burst_every:
            if source.random() < share:
                failed = min(ours, failed + release.burst_size)
            else:
                failed_elsewhere = min(theirs, failed_elsewhere + release.burst_size)
        slowness = 1 + (COLD_FACTOR - 1) * max(0.0, 1 - at / COLD_SECONDS)
        yield Second(
            at,
            Tally(ours, failed, 0, latencies(release, ours, slowness, release.slower_ms, source)),
            Tally(theirs, failed_elsewhere, 0, latencies(release, theirs, 1.0, 0.0, source)),
        )
        at += 1


def latencies(
    release: Release, calls: int, slowness: float, slower_ms: float, source: random.Random
) -> tuple[int, ...]:
    """A histogram of log-normal latencies; every fifth second or so has a hiccup."""
    if not release.median_ms:
        return ()
    hiccup = 3.0 if source.random() < 0.2 else 1.0
    counts = [0] * (len(EDGES) + 1)
    for _ in range(calls):
        value = release.median_ms * slowness * hiccup * source.lognormvariate(0, 0.5) + slower_ms
        counts[next((i for i, edge in enumerate(EDGES) if value <= edge), len(EDGES))] += 1
    return tuple(counts)


def judge(release: Release, rules: GateRules, source: random.Random) -> Outcome:
    """
    Look each second until the decider has a verdict.

    Up to the shortest hold a verdict can only be an abort, and without latencies
    only one by failures; their evidence is added up as the seconds come, and the
    decider is asked when it would abort, which saves looking at every second again.
    """
    seconds: list[Second] = []
    evidence, failures, first = Evidence(), 0, None
    for second in simulate(release, source):
        seconds.append(second)
        now = float(second.at + 1)
        failures += second.canary.failed
        if first is None and second.canary.failed:
            # Somewhere within its second.
            first = now - 1 + source.random()
        both = second.canary.calls + second.others.calls
        if both:
            failed = second.canary.failed + second.others.failed
            share = second.canary.calls / both
            most = max(1, fewest_events(round(share, 2), rules.alpha) - 1)
            evidence.add(second.canary.failed, failed, share, most)
        quiet = now < HOLD_MIN and not release.median_ms and not evidence.reaches(rules.alpha)
        if quiet:
            continue
        decision = decide_rollout(
            Inputs(now, "canary", rules, 0.0, 0.0, seconds=tuple(seconds), edges=EDGES)
        )
        if evidence.reaches(rules.alpha) and decision.verdict != api.VERDICT_ABORTED:
            raise AssertionError(f"the decider disagrees with its own evidence: {decision}")
        if decision.verdict:
            return Outcome(decision, now, first, failures)
    raise AssertionError("unreachable")


def arm(release: Release, rules: GateRules, runs: int, seed: str) -> dict[str, Any]:
    """Figures of many releases of one kind."""
    outcomes = [judge(release, rules, random.Random(f"{seed}/{run}")) for run in range(runs)]
    aborted = [one for one in outcomes if one.decision.verdict == api.VERDICT_ABORTED]
    figures: dict[str, Any] = {
        "runs": runs,
        "aborted": len(aborted),
        "abortedShare": round(len(aborted) / runs, 5),
        "promoted": sum(one.decision.verdict == api.VERDICT_PROMOTED for one in outcomes),
        "insufficient": sum(one.decision.verdict == api.VERDICT_INSUFFICIENT for one in outcomes),
        "heldLonger": sum(
            one.seconds > HOLD_MIN + 1 and one.decision.verdict == api.VERDICT_PROMOTED
            for one in outcomes
        ),
    }
    if aborted:
        since = [one.seconds - one.first_failure for one in aborted if one.first_failure]
        figures |= {
            "secondsSinceReady": spread([one.seconds for one in aborted]),
            "secondsSinceFirstFailure": spread(since) if since else None,
            "canaryFailures": spread([one.canary_failures for one in aborted]),
            "within20s": round(sum(one.seconds <= 20 for one in aborted) / runs, 4),
            "within30s": round(sum(one.seconds <= 30 for one in aborted) / runs, 4),
        }
    return figures


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, 90 % and 99 % of values."""
    ordered = sorted(values)

    def at(share: float) -> float:
        return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 2)

    return {"p50": round(statistics.median(ordered), 2), "p90": at(0.9), "p99": at(0.99)}


ARMS: Final = {
    "AA 0 %": Release(),
    "AA 0.5 %": Release(background=0.005),
    "AA 2 %": Release(background=0.02),
    "AA 0.5 %, 20 calls/s": Release(background=0.005, calls_per_second=20),
    "AA bursts of 3": Release(background=0.001, burst_every=30, burst_size=3),
    "AA bursts of 8": Release(background=0.001, burst_every=30, burst_size=8),
    "AA latency": Release(background=0.005, median_ms=25),
    "5 % over 0": Release(defect=0.05),
    "2 % over 0.5 %": Release(background=0.005, defect=0.02),
    "0.5 % over 0.1 %": Release(background=0.001, defect=0.005),
    "100 %": Release(defect=1.0),
    "+200 ms": Release(median_ms=25, slower_ms=200),
}
# Latencies cost; an AA rate needs thousands, a median of detection times does not.
SHARE_OF_RUNS: Final = {"AA latency": 0.05, "+200 ms": 0.05}


def rules_for(alpha: float, release: Release) -> GateRules:
    """The CRD's defaults."""
    latency = LatencyRules(1.5, 50, 50, 10) if release.median_ms else None
    return GateRules(alpha, HOLD_MIN, HOLD_MAX, 100, 120, 0, "hold", True, latency)


def main() -> int:
    """Print the table, and whether the default alpha reaches the figures of issue 5."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--runs", type=int, default=2000, help="releases an arm")
    parser.add_argument("--seed", default="gate")
    parser.add_argument("--alpha", type=float, nargs="+", default=[0.05, 0.02, 0.01, 0.005])
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    started = time.monotonic()
    print(f"seed {options.seed}, {options.runs} releases an arm, hold {HOLD_MIN} to {HOLD_MAX} s")
    print(f"{'alpha':>6}  {'arm':<22} {'runs':>5} {'aborted':>8} {'longer':>7}  "
          f"{'s since ready':>18}  {'s since 1st failure':>20}  {'its failures':>14}")  # fmt: skip
    results: dict[str, dict[str, Any]] = {}
    for alpha in options.alpha:
        for name, release in ARMS.items():
            runs = max(20, round(options.runs * SHARE_OF_RUNS.get(name, 1)))
            figures = arm(release, rules_for(alpha, release), runs, f"{options.seed}/{name}")
            results.setdefault(str(alpha), {})[name] = figures
            print(f"{alpha:>6}  {name:<22} {runs:>5} {figures['abortedShare']:>8.2%} "
                  f"{figures['heldLonger'] / runs:>7.2%}  "
                  f"{shown(figures, 'secondsSinceReady'):>18}  "
                  f"{shown(figures, 'secondsSinceFirstFailure'):>20}  "
                  f"{shown(figures, 'canaryFailures'):>14}", flush=True)  # fmt: skip
    report = {
        "command": command_of("gate", sys.argv[1:]),
        "seed": options.seed,
        "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
        "fewestFailuresThatDecide": {
            str(alpha): {str(share): fewest_events(share, alpha) for share in (0.2, 0.25, 0.5)}
            for alpha in options.alpha
        },
        "seconds": round(time.monotonic() - started, 1),
        "arms": {name: vars(replace(release)) for name, release in ARMS.items()},
        "results": results,
    }
    if options.output:
        options.output.write_text(json.dumps(report, indent=2) + "\n")
    return conclude(promises(results.get(str(DEFAULT_ALPHA))))


def promises(results: dict[str, dict[str, Any]] | None) -> list[Figure]:
    """What issue 5 asks of the default alpha, and what these figures give."""
    if results is None:
        return [unknown("gate", f"alpha {DEFAULT_ALPHA} was not simulated")]
    undone = max(results[name]["abortedShare"] for name in ("AA 0 %", "AA 0.5 %", "AA 2 %"))
    since = results["5 % over 0"].get("secondsSinceFirstFailure")
    # Shares of all releases: one that nobody undid was not undone in time either.
    within = {name: results[name].get(key, 0.0) for name, key in (
        ("2 % over 0.5 %", "within20s"), ("+200 ms", "within30s"),
    )}  # fmt: skip
    asked = [
        ("identical releases undone", "share", undone, Asked(DEFAULT_ALPHA, is_floor=False)),
        ("5 % failing: p50 since its first failure", "s", since["p50"] if since else None,
         Asked(3.0, is_floor=False)),
        ("5 % failing: undone", "share", results["5 % over 0"]["abortedShare"], Asked(0.99)),
        ("2 % over 0.5 % failing: undone within 20 s", "share", within["2 % over 0.5 %"],
         Asked(0.5)),
        ("200 ms slower: undone within 30 s", "share", within["+200 ms"], Asked(0.99)),
    ]  # fmt: skip
    return [
        Figure(name, unit, None if value is None else Spread((float(value),)), limit)
        for name, unit, value, limit in asked
    ]


def shown(figures: dict[str, Any], name: str) -> str:
    """p50 / p90 / p99, or nothing."""
    found = figures.get(name)
    return " / ".join(f"{value:g}" for value in found.values()) if found else ""


if __name__ == "__main__":
    sys.exit(main())
