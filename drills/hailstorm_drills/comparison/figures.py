"""
The figures of an arm: a pure function of its recording.

Everything counts from the load's own schedule. A call is over the SLO when it
was not answered with OK within it, whatever became of it; failed are answers
that say so, and a passed deadline is unknown (what it did, nobody can say).
"""

import itertools
from dataclasses import asdict, dataclass
from typing import Any, Final

from hailstorm_drills.comparison.recording import Recording, Steps
from hailstorm_drills.comparison.settings import Settings
from hailstorm_loadtests.history import percentile

# p99 of a second at 300 calls/s is its third worst call; it is back when this
# many seconds in a row are.
CALM_SECONDS: Final = 5


@dataclass(frozen=True)
class Figures:
    """One arm. None where the shape has no moment of change, or where it never came."""

    offered: int
    failed: int
    unknown: int
    over_slo: int
    p50_ms: float | None
    p99_ms: float | None
    under_provisioned_seconds: float
    pod_seconds: float
    flaps: int
    first_capacity_seconds: float | None
    p99_back_seconds: float | None
    most_serving: int
    # When the demand changed; None where it does so gradually.
    serving_before: int | None
    spares: int
    generator_lag_p99_ms: float | None

    @property
    def over_slo_share(self) -> float:
        """Of all calls."""
        return self.over_slo / self.offered if self.offered else 1.0

    def as_json(self) -> dict[str, Any]:
        """Plain values, rounded."""
        return {
            key: round(value, 3) if isinstance(value, float) else value
            for key, value in asdict(self).items()
        }


def measure(recording: Recording, settings: Settings) -> Figures:
    """All figures of one arm."""
    load = recording.load
    samples, start = load.samples, load.start_at
    end = start + len(load.rates)
    answered = [s.latency_ms for s in samples if s.code == "OK"]
    change = settings.change_at
    return Figures(
        offered=len(samples),
        failed=sum(s.code not in ("OK", "DEADLINE_EXCEEDED") for s in samples),
        unknown=sum(s.code == "DEADLINE_EXCEEDED" for s in samples),
        over_slo=sum(s.code != "OK" or s.latency_ms > settings.slo_ms for s in samples),
        p50_ms=percentile(answered, 0.5),
        p99_ms=percentile(answered, 0.99),
        under_provisioned_seconds=under_provisioned(recording, settings),
        pod_seconds=sum(max(0.0, min(b, end) - max(a, start)) for a, b in recording.pods),
        flaps=flaps(recording.desired, start, end),
        first_capacity_seconds=(
            None if change is None else first_capacity(recording.serving, start + change, end)
        ),
        p99_back_seconds=None if change is None else p99_back(recording, settings, change),
        most_serving=max((n for at, n in recording.serving if at < end), default=0),
        serving_before=None if change is None else value_at(recording.serving, start + change),
        spares=recording.spares,
        generator_lag_p99_ms=percentile([s.lag_ms for s in samples], 0.99),
    )


def value_at(steps: Steps, moment: float) -> int:
    """What a step function is at a moment; 0 before its first step."""
    value = 0
    for at, n in steps:
        if at > moment:
            break
        value = n
    return value


def under_provisioned(recording: Recording, settings: Settings, grain: float = 0.1) -> float:
    """Seconds in which fewer pods served than the planned rate needs."""
    load = recording.load
    per_second = round(1 / grain)
    short = 0
    for second, rate in enumerate(load.rates):
        needed = settings.pods_needed(rate)
        for part in range(per_second):
            moment = load.start_at + second + part * grain
            short += value_at(recording.serving, moment) < needed
    return round(short * grain, 3)


def flaps(desired: Steps, start: float, end: float) -> int:
    """How often the replicas asked for turned from growing to shrinking or back."""
    values = [value_at(desired, start), *(n for at, n in desired if start < at < end)]
    signs = [1 if b > a else -1 for a, b in itertools.pairwise(values) if a != b]
    return sum(a != b for a, b in itertools.pairwise(signs))


def first_capacity(serving: Steps, change_at: float, end: float) -> float | None:
    """Seconds from the change to the first address more than there was; None if too late."""
    before = value_at(serving, change_at)
    return next((at - change_at for at, n in serving if change_at < at < end and n > before), None)


def p99_by_second(recording: Recording) -> list[float | None]:
    """p99 of the calls due in each second, by what they waited; a failure waited for ever."""
    seconds: list[list[float]] = [[] for _ in recording.load.rates]
    for sample in recording.load.samples:
        waited = sample.latency_ms if sample.code == "OK" else float("inf")
        seconds[min(int(sample.due), len(seconds) - 1)].append(waited)
    return [percentile(values, 0.99) for values in seconds]


def p99_back(recording: Recording, settings: Settings, change: int) -> float | None:
    """
    Seconds from the change until p99 is within the SLO and stays there for a while.

    None when it never is before the load ends.
    """
    values = p99_by_second(recording)
    good = [value is not None and value <= settings.slo_ms for value in values]
    for second in range(change, len(good) - CALM_SECONDS + 1):
        if all(good[second : second + CALM_SECONDS]):
            return float(second - change)
    return None
