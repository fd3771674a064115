"""
In-flight calls as the caller sees them, from what the edge's Envoys answer.

Counted at the edge because the queue in front of an overloaded pod is invisible
inside it. An Envoy that does not answer is not an Envoy without calls: its last
figure counts while it is young, after that it is assumed to carry as much as
the others do on average, the reading says so, and nothing shrinks on it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from hailstorm_operator.scaling import SignalState

# Four polls of half a second: one lost poll is noise, four are an outage.
MAX_AGE_SECONDS: Final = 2.0


class StatsError(ValueError):
    """A /stats answer that does not hold the figure. Asking again may help."""


@dataclass(frozen=True)
class Sample:
    """The last figure one Envoy gave, and when (epoch seconds)."""

    value: float
    at: float


@dataclass(frozen=True)
class Source:
    """One Envoy. An optional one (not ready, or leaving) may be silent without being missed."""

    name: str
    optional: bool = False


@dataclass(frozen=True)
class Reading:
    """The signal at one moment: total in flight, how sure, and who is missing."""

    in_flight: float | None
    state: SignalState
    answered: Mapping[str, float]
    missing: tuple[str, ...]


def active_calls_filter(cluster: str) -> str:
    """The regular expression that makes /stats answer with one line."""
    escaped = cluster.replace("\\", "\\\\").replace(".", "\\.")
    return rf"^cluster\.{escaped}\.upstream_rq_active$"


def parse_active_calls(text: str, cluster: str) -> float:
    """Read the gauge out of a text answer of /stats. Raises StatsError."""
    wanted = f"cluster.{cluster}.upstream_rq_active:"
    for line in text.splitlines():
        if line.startswith(wanted):
            try:
                return float(line.removeprefix(wanted))
            except ValueError as error:
                raise StatsError(f"not a number: {line!r}") from error
    raise StatsError(f"Envoy knows no cluster {cluster!r}")


def combine(sources: Iterable[Source], samples: Mapping[str, Sample], now: float) -> Reading:
    """Sum what the sources last said. No source, or none that answers, is stale."""
    answered: dict[str, float] = {}
    missing: list[str] = []
    for source in sources:
        sample = samples.get(source.name)
        if sample is not None and now - sample.at <= MAX_AGE_SECONDS:
            answered[source.name] = sample.value
        elif not source.optional:
            missing.append(source.name)
    if not answered:
        return Reading(None, "stale", answered, tuple(missing))
    total = sum(answered.values())
    if missing:
        total *= 1 + len(missing) / len(answered)
        return Reading(total, "partial", answered, tuple(missing))
    return Reading(total, "fresh", answered, ())
