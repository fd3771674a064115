"""
Two sliding windows over one signal: a fast one to act on, a stable one to trust.

A window of a few samples jumps with every burst of arrivals, and a scaler that
follows each jump down again flaps. So the windows also keep the highest fast
average of the last stable window: shrinking has to satisfy that peak.
"""

from collections import deque
from dataclasses import dataclass, field


@dataclass
class SignalWindows:
    """Samples of in-flight calls. Times are monotonic or epoch seconds, of one clock."""

    fast_seconds: float
    stable_seconds: float
    _samples: deque[tuple[float, float]] = field(default_factory=deque)
    _fast_averages: deque[tuple[float, float]] = field(default_factory=deque)

    def add(self, at: float, value: float) -> None:
        """Take a sample that is newer than all before it; forget what no window reaches."""
        self._samples.append((at, value))
        fast = self._average(at, self.fast_seconds)
        assert fast is not None  # The sample just added lies in its own window.
        self._fast_averages.append((at, fast))
        for line in (self._samples, self._fast_averages):
            while line and line[0][0] <= at - self.stable_seconds:
                line.popleft()

    def fast(self, now: float) -> float | None:
        """Average over the fast window, or None without a sample in it."""
        return self._average(now, self.fast_seconds)

    def stable(self, now: float) -> float | None:
        """Average over as much of the stable window as has been seen."""
        return self._average(now, self.stable_seconds)

    def peak(self, now: float) -> float | None:
        """The highest fast average of the stable window."""
        inside = [value for at, value in self._fast_averages if at > now - self.stable_seconds]
        return max(inside, default=None)

    def _average(self, now: float, span: float) -> float | None:
        inside = [value for at, value in self._samples if at > now - span]
        return sum(inside) / len(inside) if inside else None
