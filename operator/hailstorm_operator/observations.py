"""
What the gate has seen, second by second: plain values that a record can keep.

A tally counts attempts, not calls of users: an attempt that failed on the canary
and was retried elsewhere is a failure of the canary, though nobody noticed it.
Nothing here asks anybody; `tallies` fills it, `rollouts` judges it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Tally:
    """Attempts of one second on one side. `histogram` counts latencies by bucket."""

    calls: int = 0
    failed: int = 0
    shed: int = 0
    histogram: tuple[int, ...] = ()

    def __add__(self, other: "Tally") -> "Tally":
        return total((self, other))


@dataclass(frozen=True)
class Second:
    """One second, by epoch: the pods of the new template and all others. A gap knows nothing."""

    at: int
    canary: Tally = Tally()
    others: Tally = Tally()
    gap: bool = False


@dataclass(frozen=True)
class Trouble:
    """A pod of the new template that cannot run: why, in the kubelet's words, since when."""

    pod: str
    reason: str
    detail: str
    since: float


def total(tallies: Iterable[Tally]) -> Tally:
    """Sum of tallies."""
    calls = failed = shed = 0
    histogram: list[int] = []
    for one in tallies:
        calls += one.calls
        failed += one.failed
        shed += one.shed
        histogram.extend([0] * (len(one.histogram) - len(histogram)))
        for index, count in enumerate(one.histogram):
            histogram[index] += count
    return Tally(calls, failed, shed, tuple(histogram))


def median_ms(histogram: Sequence[int], edges: Sequence[float]) -> float | None:
    """
    The median of a histogram, or None when it is empty.

    `edges` are the upper ends of the buckets in milliseconds; the last bucket,
    of everything above, has none. Within a bucket values are taken to be spread
    evenly, which is off by half a bucket at most; above the last edge the edge
    is the answer.
    """
    count = sum(histogram)
    if count == 0:
        return None
    rank, before = count / 2, 0
    for index, inside in enumerate(histogram):
        if before + inside >= rank and inside:
            if index >= len(edges):
                break
            lower = edges[index - 1] if index else 0.0
            return lower + (edges[index] - lower) * (rank - before) / inside
        before += inside
    return edges[-1] if edges else None


def seconds_as_json(seconds: Iterable[Second]) -> list[list[Any]]:
    """Rows of [at, gap, canary, others]; a tally is [calls, failed, shed, {bucket: count}]."""
    return [
        [one.at, int(one.gap), _tally_as_json(one.canary), _tally_as_json(one.others)]
        for one in seconds
    ]


def seconds_from_json(rows: Iterable[Sequence[Any]]) -> tuple[Second, ...]:
    """The seconds that `seconds_as_json` has written. Raises ValueError or TypeError."""
    return tuple(
        Second(int(at), _tally_from_json(canary), _tally_from_json(others), bool(gap))
        for at, gap, canary, others in rows
    )


def _tally_as_json(tally: Tally) -> list[Any]:
    # Most buckets of a second are empty; rows stay near 100 bytes.
    filled = {str(index): count for index, count in enumerate(tally.histogram) if count}
    return [tally.calls, tally.failed, tally.shed, filled]


def _tally_from_json(row: Sequence[Any]) -> Tally:
    calls, failed, shed, filled = row
    return Tally(int(calls), int(failed), int(shed), histogram_of(filled))


def histogram_of(filled: Mapping[str, int]) -> tuple[int, ...]:
    """A histogram from its filled buckets."""
    length = max((int(index) for index in filled), default=-1) + 1
    return tuple(int(filled.get(str(index), 0)) for index in range(length))
