"""
Where a pod's knee lies: a pure function of the levels it was loaded with.

Callers wait for their answers, so a level's concurrency is its calls in flight.
Up to the knee more of them bring more answers; past it they only wait. A level is
past it when p99 leaves the SLO, when calls fail, or when the throughput hardly
grew; the knee is the level before the first such one.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

# Levels are a quarter to a whole apart; a gain below this is flat, and above it the
# noise of a few seconds at a level (a guess between the two).
LEAST_GAIN: Final = 0.05
# Without an SLO: this many times what a call takes when it is alone (a guess).
P99_FACTOR: Final = 3.0
# A pod that refuses more than this is past its knee, whatever the rest is like.
MOST_FAILED: Final = 0.01
# p99 of fewer calls is their maximum.
LEAST_CALLS: Final = 20


class KneeError(ValueError):
    """There is no knee in these levels; the message says what to try."""


@dataclass(frozen=True)
class Level:
    """
    One level: calls in flight, answers a second, p99, and what was not answered with OK.

    `codes` holds the status codes of the calls by name, OK included.
    """

    concurrency: int
    throughput: float
    p99_ms: float | None
    calls: int
    failed: int
    codes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Knee:
    """The last level before the knee, the first past it, and why that one is."""

    level: Level
    past: Level
    why: str
    slo_ms: float


def read_level(line: Mapping[str, Any]) -> Level:
    """A `level` line of `hailstorm_loadtests.unary`."""
    return Level(
        concurrency=line["concurrency"],
        throughput=line["throughput"],
        p99_ms=line["p99_ms"],
        calls=line["calls"],
        failed=line["calls"] - line["codes"].get("OK", 0),
        codes=dict(line["codes"]),
    )


def find_knee(levels: Sequence[Level], slo_ms: float | None = None) -> Knee:
    """
    Find the knee of levels in rising order.

    Raises KneeError when the first level is past it already, when none is, or when
    there is nothing to go by.
    """
    if not levels:
        raise KneeError("there is no level to go by")
    if levels[0].p99_ms is None or levels[0].calls < LEAST_CALLS:
        raise KneeError(_too_few(levels[0]))
    limit = slo_ms if slo_ms is not None else P99_FACTOR * levels[0].p99_ms
    before: Level | None = None
    for level in levels:
        why = _why_past(level, before, limit)
        if why is None:
            before = level
        elif before is None:
            raise KneeError(
                f"{why} with {level.concurrency} in flight, the first level: "
                "the SLO is below what a call takes, or the pod does not serve this method"
            )
        else:
            return Knee(before, level, why, limit)
    raise KneeError(
        f"no knee up to {levels[-1].concurrency} in flight: throughput still grew and p99 was "
        f"{levels[-1].p99_ms:g} ms of {limit:g}; go further with --levels"
    )


def _too_few(first: Level) -> str:
    """What is wrong with a first level of fewer calls than tell a p99, and what to try."""
    told = f"{first.calls} calls at the first level, {first.failed} of them failed"
    if first.failed:
        codes = ", ".join(f"{name} {n}" for name, n in sorted(first.codes.items()) if name != "OK")
        return f"{told} ({codes or 'of unknown codes'}): check --method and --request"
    if first.calls == 0:
        return f"{told}: none was answered in time; make --level-seconds longer than a call takes"
    times = math.ceil(LEAST_CALLS / first.calls)
    return (
        f"{told}, and {LEAST_CALLS} are needed: calls are slow, so make --level-seconds"
        f" {times} times as long"
    )


def _why_past(level: Level, before: Level | None, limit: float) -> str | None:
    if level.calls == 0 or level.failed > MOST_FAILED * level.calls:
        return f"{level.failed} of {level.calls} calls failed"
    if level.p99_ms is None or level.p99_ms > limit:
        return f"p99 was {level.p99_ms or 0:.0f} ms, above {limit:.0f}"
    if before is not None and level.throughput < before.throughput * (1 + LEAST_GAIN):
        return f"{level.throughput:.0f} calls/s hardly more than {before.throughput:.0f}"
    return None
