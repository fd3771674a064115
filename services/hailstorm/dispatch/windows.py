"""
How long a request waits for others to be matched with: pure decisions.

A window is worth its wait only if somebody else comes within it. So the busier
a cell, the shorter its windows; and where nobody is expected, there is none.
"""

import math
from typing import Final

# How far back arrivals are remembered. A guess: long enough to count a few of a
# busy cell, short enough that a burst is over when it is over.
MEMORY_SECONDS: Final = 2.0
# Requests that a window aims at. More in one batch gained nothing further in
# benchmarks/matching.py, and the first of them would wait longer for it.
WANTED_REQUESTS: Final = 8


class ArrivalRate:
    """Arrivals a second in one cell, older ones counting less and less."""

    __slots__ = ("_at", "_rate")

    def __init__(self) -> None:
        self._rate = 0.0
        self._at = -math.inf

    def note(self, now: float) -> None:
        """Somebody has come; `now` is monotonic seconds."""
        self._rate = self.per_second(now) + 1 / MEMORY_SECONDS
        self._at = now

    def per_second(self, now: float) -> float:
        """The rate as it stands now."""
        return self._rate * math.exp((self._at - now) / MEMORY_SECONDS)


def decide_window(rate: float, shortest_seconds: float, longest_seconds: float) -> float:
    """
    Seconds to wait for others at `rate` arrivals a second; 0 is not at all.

    `rate` counts the one who decides as well, as an ArrivalRate does that has
    just noted it.
    """
    others = rate - 1 / MEMORY_SECONDS
    if others * longest_seconds < 1:
        return 0.0
    return min(longest_seconds, max(shortest_seconds, WANTED_REQUESTS / others))
