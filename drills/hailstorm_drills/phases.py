"""
The phases of a drill and the intervals of time that they took.

Checkers compare intervals, so the intervals are written down while the drill
runs and never guessed from the data afterwards.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

BASELINE: Final = "baseline"
INJECT: Final = "inject"
HOLD: Final = "hold"
RECOVER: Final = "recover"
SETTLE: Final = "settle"
JUDGE: Final = "judge"
ORDER: Final = (BASELINE, INJECT, HOLD, RECOVER, SETTLE, JUDGE)


@dataclass(frozen=True)
class Interval:
    """From `start` to `end`, epoch seconds; the end is exclusive."""

    start: float
    end: float

    def holds(self, moment: float) -> bool:
        """Whether the moment lies inside."""
        return self.start <= moment < self.end

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.end - self.start


@dataclass
class PhaseLog:
    """The phases that have been entered, in order."""

    clock: Callable[[], float]
    on_enter: Callable[[str], None] = lambda _: None
    intervals: dict[str, Interval] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Be in the phase for the length of the block, also when it fails."""
        if name not in ORDER:
            raise ValueError(f"{name!r} is no phase of a drill")
        if any(ORDER.index(name) <= ORDER.index(other) for other in self.intervals):
            raise ValueError(f"phase {name} cannot follow {list(self.intervals)[-1]}")
        self.on_enter(name)
        start = self.clock()
        try:
            yield
        finally:
            self.intervals[name] = Interval(start, self.clock())


def fault_interval(intervals: Mapping[str, Interval]) -> Interval | None:
    """From the injection to the moment everything was healed."""
    if INJECT not in intervals or HOLD not in intervals:
        return None
    return Interval(intervals[INJECT].start, intervals[HOLD].end)


def phase_at(intervals: Mapping[str, Interval], moment: float) -> str | None:
    """The phase at that moment; None outside all of them."""
    return next((name for name, interval in intervals.items() if interval.holds(moment)), None)
