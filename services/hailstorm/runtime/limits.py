"""
How many calls a process takes on: pure deciders, fed by a measurement.

What tells that a process is saturated is how long calls wait before anybody
looks at them, not how long they take. grpc.aio asks its core for one call of
each method a turn of the event loop, so an overloaded process holds a handful of
calls while hundreds wait in the core, unseen: measured at 1.2 times what it could
serve, 1 to 6 calls were in flight, the loop was late by less than 1 ms, and calls
waited 160 ms. Handlers' own times are no better: they differ 20 times from method to
method, and rise with a slow store, which fewer calls would not make faster.
WeChat came to the same signal for the same reasons (Zhou et al., "Overload
Control for Scaling WeChat Microservices", SoCC 2018, section 4.1).
"""

import math
from collections import deque
from typing import Final, Protocol

# The least of so many measurements is what stands in front of the door: a
# queue that stays is in all of them, a hiccup of the machine is in one (CoDel,
# RFC 8289, section 3.1). With three, no call was refused on a machine that had
# ten times the load it has cores for.
WINDOW: Final = 3
# Netflix's Gradient2 lets one measurement at most halve, and takes it for a
# fifth; ours come ten times a second rather than with each call, hence more.
# Of 0.2 to 0.5, 0.3 kept the most goodput in the model of the tests.
LEAST_GRADIENT: Final = 0.5
SMOOTHING: Final = 0.3
# While the last queue is not longer ago than so many measurements (a second),
# the limit stays at twice what is used, as Gradient2's always does: one that
# went straight up again would let the next queue in. Afterwards it is free,
# since calls that wait for a slow store may be many, and harm nobody.
CALM: Final = 10
_USED_FACTOR: Final = 2.0


class Limit(Protocol):
    """Says how many calls may be in flight."""

    @property
    def value(self) -> float:
        """
        Calls that may be in flight.

        A fraction is a chance: at 2.3 the third call is let in three times of ten.
        """

    def observe(self, wait_seconds: float, most_in_flight: int) -> None:
        """
        Take a measurement in.

        `wait_seconds` is how long a call waits for its turn now, `most_in_flight`
        the most that were in flight since the last measurement.
        """


class FixedLimit:
    """The same at all times."""

    def __init__(self, value: int) -> None:
        self.value = float(value)

    def observe(self, wait_seconds: float, most_in_flight: int) -> None:
        """Nothing changes."""


class GradientLimit:
    """
    Falls while calls wait longer than is tolerated, and grows while they do not.

        gradient = tolerated / least wait of the window, between 0.5 and 1
        calls wait:        limit = min(limit, most in flight) * (0.7 + 0.3 * gradient)
        they do not:       limit = limit + growth * sqrt(limit) * (1 - wait / tolerated)
        not for long yet:  no further than twice the most in flight

    The gradient, its bounds and the root as the step come from Netflix's
    concurrency-limits (Gradient2Limit) and Envoy's adaptive concurrency filter.
    Unlike theirs, the limit falls from what is in flight rather than from where
    it stood: it rests at its maximum, which an overloaded process never gets
    near. And the tolerated wait is a constant rather than a long mean, which in
    a long overload becomes the overload's own.
    """

    def __init__(
        self, minimum: float, maximum: int, tolerated_seconds: float, growth: float = 1.0
    ) -> None:
        """`growth` is the part of the root that a look without a queue adds."""
        self._growth = growth
        self._minimum = float(minimum)
        self._maximum = float(maximum)
        self._tolerated = tolerated_seconds
        self._waits: deque[float] = deque(maxlen=WINDOW)
        self._calm = CALM
        self.value = self._maximum

    def observe(self, wait_seconds: float, most_in_flight: int) -> None:
        """Take a measurement in; the first ones only fill the window."""
        self._waits.append(wait_seconds)
        if len(self._waits) < WINDOW:
            return
        standing = min(self._waits)
        if standing > self._tolerated:
            self._calm = 0
            gradient = max(LEAST_GRADIENT, self._tolerated / standing)
            used = min(self.value, float(most_in_flight))
            value = used * (1 - SMOOTHING + SMOOTHING * gradient)
        else:
            self._calm += 1
            step = self._growth * math.sqrt(self.value)
            value = self.value + step * (1 - standing / self._tolerated)
            if self._calm < CALM:
                value = min(value, max(self.value, _USED_FACTOR * most_in_flight))
        self.value = min(self._maximum, max(self._minimum, value))
