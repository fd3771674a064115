"""
Refused calls as demand: shed/s times service time.

Shedding keeps the calls in flight low just when there are too many, and so hides
the demand from whoever counts them. By Little's law a call that was refused would
have been in flight for its service time; that is added to what is counted.

The service time is the median of calls while next to nothing was refused: later
the refusals themselves, which take no time, would pull it down to nothing, and
the queue would push it up.
"""

import statistics
from collections import deque
from collections.abc import Mapping
from typing import Final

from hailstorm_operator.edge_stats import EdgeStats

# Up to here the median is that of calls that were served.
QUIET_SHARE: Final = 0.1
# Envoy's median is of its last flush, five seconds; one more, for refusals in it.
QUIET_SECONDS: Final = 10.0


class Shedding:
    """Rates from the Envoys' counters over the fast window. Times are seconds of one clock."""

    def __init__(self, window_seconds: float) -> None:
        self._window = window_seconds
        self._counters: dict[str, EdgeStats] = {}
        # When each Envoy said what its counters hold.
        self._heard: dict[str, float] = {}
        # (time, refused, served) since the entry before.
        self._steps: deque[tuple[float, float, float]] = deque()
        self._at = 0.0
        self._since: float | None = None
        self._service_seconds: float | None = None
        self._in_flight = 0.0
        self._loud_at: float | None = None

    def add(self, at: float, stats: Mapping[str, EdgeStats]) -> None:
        """
        Take what each Envoy says at one moment.

        A counter that has fallen belongs to an Envoy that started anew; what it
        counts since then counts, what got lost with its forerunner does not.
        """
        shed = answered = exhausted = 0.0
        for name, now in stats.items():
            before = self._counters.get(name)
            if before is None:
                continue
            # After a silence only what falls into the window: the rest is no demand of now,
            # and all at once it would look like a step.
            silence = at - self._heard[name]
            share = min(1.0, self._window / silence) if silence > 0 else 1.0
            refused = share * _grown(before.exhausted, now.exhausted)
            exhausted += refused
            shed += refused + share * _grown(before.overflow, now.overflow)
            if before.completed is not None and now.completed is not None:
                answered += share * _grown(before.completed, now.completed)
        # The same answer once more, while it is young, is no news.
        heard = {name for name, now in stats.items() if self._counters.get(name) is not now}
        self._heard |= dict.fromkeys(heard, at)
        # Of an Envoy that is silent for a moment the last counters stay.
        self._counters |= stats
        self._in_flight = sum(one.active for one in stats.values())
        last, self._at = self._at, at
        if self._since is None:
            self._since = at
            return
        if at - last > self._window:
            # Nobody was heard for longer: what has come is that of one window.
            self._steps.clear()
            self._since = at - self._window
        self._steps.append((at, shed, max(0.0, answered - exhausted)))
        while self._steps[0][0] <= at - self._window:
            self._since = self._steps.popleft()[0]
        if shed > QUIET_SHARE * answered:
            self._loud_at = at
        quiet = self._loud_at is None or at - self._loud_at > QUIET_SECONDS
        medians = [one.median_ms for one in stats.values() if one.median_ms is not None]
        if medians and answered and quiet:
            self._service_seconds = statistics.median(medians) / 1000

    def forget(self, names: set[str]) -> None:
        """Drop Envoys that are gone: a successor may get their address."""
        for name in names & self._counters.keys():
            del self._counters[name], self._heard[name]

    def per_second(self) -> float:
        """Refused calls a second over the fast window."""
        if not self._steps or self._since is None:
            return 0.0
        return sum(step[1] for step in self._steps) / (self._steps[-1][0] - self._since)

    def service_seconds(self) -> float:
        """
        How long a call takes; 0 while nothing is known.

        Before a quiet moment has been seen it is what Little's law makes of the
        calls in flight and those answered, the waiting included.
        """
        if self._service_seconds is not None:
            return self._service_seconds
        served = sum(step[2] for step in self._steps)
        if not self._steps or self._since is None or not served:
            return 0.0
        return self._in_flight * (self._steps[-1][0] - self._since) / served


def _grown(before: float, now: float) -> float:
    return now - before if now >= before else now
