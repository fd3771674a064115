"""The run in equal steps of time: rates, failures, percentiles, pods; pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from hailstorm_drills.phases import Interval
from hailstorm_drills.pods import READY, PodLife
from hailstorm_loadtests.history import STREAMS, Call, percentile

# More points than this cannot be told apart on the page.
MAX_STEPS: Final = 600


@dataclass(frozen=True)
class Step:
    """One step of time."""

    start: float
    n: int
    failed: int
    unknown: int
    retried: int
    p50_ms: float | None
    p99_ms: float | None


@dataclass(frozen=True)
class Series:
    """Steps of equal length over the run."""

    span: Interval
    step_seconds: int
    steps: tuple[Step, ...]


def run_span(calls: Sequence[Call], intervals: Mapping[str, Interval]) -> Interval | None:
    """From the first to the last of what there is to show; None of nothing."""
    starts = [interval.start for interval in intervals.values()]
    ends = [interval.end for interval in intervals.values()]
    if calls and intervals:
        # The warm-up before and the wind-down after belong to the picture.
        starts.append(max(calls[0].intended, min(starts) - 15))
        ends.append(min(max(call.ended for call in calls), max(ends)))
    elif calls:
        starts.append(calls[0].intended)
        ends.append(calls[-1].ended)
    if not starts:
        return None
    start, end = math.floor(min(starts)), math.ceil(max(ends))
    return Interval(start, max(end, start + 1))


def make_series(calls: Sequence[Call], span: Interval) -> Series:
    """Cut the calls into steps by the moment they were due."""
    step = max(1, math.ceil(span.seconds / MAX_STEPS))
    count = math.ceil(span.seconds / step)
    buckets: list[list[Call]] = [[] for _ in range(count)]
    for call in calls:
        if span.holds(call.intended):
            buckets[int((call.intended - span.start) // step)].append(call)
    return Series(span, step, tuple(_step(span.start + i * step, b) for i, b in enumerate(buckets)))


def _step(start: float, calls: Sequence[Call]) -> Step:
    waited = [
        c.latency_seconds * 1000 for c in calls if c.method not in STREAMS and c.outcome == "ok"
    ]
    return Step(
        start,
        len(calls),
        sum(c.outcome == "fail" for c in calls),
        sum(c.outcome == "unknown" for c in calls),
        sum((c.attempts or 1) > 1 for c in calls),
        percentile(waited, 0.5),
        percentile(waited, 0.99),
    )


def ready_counts(lives: Sequence[PodLife], component: str, series: Series) -> list[int]:
    """Ready pods of the component in the middle of each step."""
    own = [life for life in lives if life.component == component]
    half = series.step_seconds / 2
    return [sum(life.phase_at(s.start + half) == READY for life in own) for s in series.steps]
