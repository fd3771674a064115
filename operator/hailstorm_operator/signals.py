"""
Calls in flight, from what each source of the signal answers.

With the edge as the source they are counted as callers see them, because the
queue in front of an overloaded pod is invisible inside it. A source that does
not answer is not a source without calls: its last figure counts while it is
young, after that it is assumed to carry as much as the others do on average,
the reading says so, and nothing shrinks on it. Those whose silence would mean
nothing say nothing about the silent ones either: their calls count, but not in
that average.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from hailstorm_operator.edge_stats import EdgeStats
from hailstorm_operator.scaling_inputs import SignalState

# Four polls of half a second: one lost poll is noise, four are an outage.
MAX_AGE_SECONDS: Final = 2.0

SignalKind = Literal["edge", "pods"]


@dataclass(frozen=True)
class Sample:
    """The last figure one source gave, and when (epoch seconds)."""

    value: float
    at: float
    stats: EdgeStats | None = None


@dataclass(frozen=True)
class Source:
    """
    One Envoy or pod. An optional one may be silent: it leaves, is not up yet, or is a
    spare that waits, which nobody calls.
    """

    name: str
    optional: bool = False


@dataclass(frozen=True)
class Reading:
    """
    The signal at one moment: total in flight, how sure, and who is missing.

    Attributes:
        answered: calls in flight by source.
        missing: each source that should have answered, with what it said instead.
        shed_per_second: calls refused for want of capacity.
        service_seconds: how long a call takes; 0 when that is not known.
        age_seconds: of the oldest answer that counts.
        problem: why it is not known which sources there are; "" where it is.
    """

    in_flight: float | None
    state: SignalState
    answered: Mapping[str, float]
    missing: tuple[str, ...]
    shed_per_second: float = 0.0
    service_seconds: float = 0.0
    kind: SignalKind = "edge"
    age_seconds: float = 0.0
    problem: str = ""

    @property
    def shed_in_flight(self) -> float:
        """Calls that would be in flight had they not been refused."""
        return self.shed_per_second * self.service_seconds


def combine(sources: Iterable[Source], samples: Mapping[str, Sample], now: float) -> Reading:
    """
    Sum what the sources last said. None that has to answer, or none that does, is stale:
    the zero of the last one that leaves is no sign that nobody calls.
    """
    answered: dict[str, float] = {}
    missing: list[str] = []
    # Of those that have to answer.
    told: list[float] = []
    age = 0.0
    for source in sources:
        sample = samples.get(source.name)
        if sample is not None and now - sample.at <= MAX_AGE_SECONDS:
            answered[source.name] = sample.value
            age = max(age, now - sample.at)
            if not source.optional:
                told.append(sample.value)
        elif not source.optional:
            missing.append(source.name)
    if not told:
        return Reading(None, "stale", answered, tuple(missing))
    total = sum(answered.values())
    if missing:
        total += len(missing) * sum(told) / len(told)
        return Reading(total, "partial", answered, tuple(missing), age_seconds=age)
    return Reading(total, "fresh", answered, (), age_seconds=age)
