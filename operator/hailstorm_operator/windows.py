"""
Sliding windows over one signal: a fast one to act on, a stable one to trust, and
the highest plan of a long one to shrink by.

A scaler that follows each ripple down again flaps. So what was planned for is
kept for a while, as the HPA keeps its recommendations: shrinking has to satisfy
the highest of them.
"""

import itertools
import math
from collections import deque
from typing import Final

from hailstorm_operator.slopes import steady_slope

# A step that falls between two polls is one jump, one that falls into a poll is two.
STEP_JUMPS: Final = 2


class SignalWindows:
    """
    Samples of calls in flight, and plans made from them.

    Times are seconds of one clock, and each is later than all before it.
    """

    def __init__(
        self, fast_seconds: float, stable_seconds: float, scale_down_seconds: float
    ) -> None:
        self.fast_seconds = fast_seconds
        self.stable_seconds = stable_seconds
        self.scale_down_seconds = scale_down_seconds
        self._samples: deque[tuple[float, float]] = deque()
        # Only plans that are higher than all later ones: the first is the highest.
        self._plans: deque[tuple[float, float]] = deque()

    def add(self, at: float, value: float) -> None:
        """Take a sample; forget what no window reaches."""
        self._samples.append((at, value))
        while self._samples[0][0] <= at - self.stable_seconds:
            self._samples.popleft()

    def plan(self, at: float, load: float) -> None:
        """Note which load was planned for."""
        while self._plans and self._plans[-1][1] <= load:
            self._plans.pop()
        self._plans.append((at, load))

    def fast(self, now: float) -> float | None:
        """Average over the fast window, or None without a sample in it."""
        return _average(self._last(now, self.fast_seconds))

    def looks(self, now: float) -> int:
        """How many samples the fast window holds."""
        return len(self._last(now, self.fast_seconds))

    def is_rising(self, now: float) -> bool:
        """Whether the newest sample is above the one before it and above the fast window."""
        newest = self._last(now, self.fast_seconds)
        average = _average(newest)
        return average is not None and len(newest) > 1 and newest[0] > max(newest[1], average)

    def stable(self, now: float) -> float | None:
        """Average over as much of the stable window as has been seen."""
        return _average(self._last(now, self.stable_seconds))

    def scatter(self, now: float) -> float:
        """
        How much the samples of the stable window scatter, as a standard deviation.

        From sample to sample, and without the two largest jumps: a step must not pass
        for scatter, or it would hide itself. 0 with fewer than four samples.
        """
        values = self._last(now, self.stable_seconds)
        jumps = sorted((one - two) ** 2 for one, two in itertools.pairwise(values))
        kept = jumps[:-STEP_JUMPS]
        # Two independent samples differ by twice their variance.
        return math.sqrt(sum(kept) / len(kept) / 2) if kept else 0.0

    def slope(self, now: float) -> float:
        """Steady growth a second over the stable window; 0 before it has been seen in full."""
        inside = [one for one in self._samples if one[0] > now - self.stable_seconds]
        # A line through a moment says nothing of the minute.
        if not inside or now - inside[0][0] < self.stable_seconds / 2:
            return 0.0
        return steady_slope(inside)

    def peak(self, now: float) -> float | None:
        """The highest plan of the scale-down window, or None without one."""
        while self._plans and self._plans[0][0] <= now - self.scale_down_seconds:
            self._plans.popleft()
        return self._plans[0][1] if self._plans else None

    def _last(self, now: float, span: float) -> list[float]:
        values = []
        for at, value in reversed(self._samples):
            if at <= now - span:
                break
            values.append(value)
        return values


def _average(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
