"""
How many calls may begin something, by how long those take that have begun.

The door (`door`) sees that this process has no time to spare. It does not see that what
stands behind it has none: a call that leads through other services and their stores waits a
little in each, in no line for long, and takes seconds all the same. So what begins
something is let in by how long beginning takes.

A slow store lowers this limit too, and rightly: what was begun is the rest of its work,
and whoever comes is told at once when to come again. What carries on a trip is never
refused here, nor what is only looked at.
"""

from typing import Final

from hailstorm.runtime.clock import Clock
from hailstorm.runtime.limits import Limit

# How far down the limit goes. A fraction is a chance (`Limit.value`): at a tenth one of ten
# is let in while none is inside, so that it is seen when things are well again.
LEAST: Final = 0.1
# Of the root of the limit, which a look in time adds (`GradientLimit`). What was let in shows
# in how long it takes at once, but most of its work comes later, while the trip goes on: a
# limit that grew as fast as the door's let in more than their trips could have, and next to
# nothing after that, turn by turn. Of 1, 0.3, 0.1 and 0.03 the lower kept the more in time
# at three times the knee (the model of the tests), and the last one is late to open again.
GROWTH: Final = 0.05
# So many inside are an overload when they are late; fewer are a hiccup of the machine, and
# nobody is refused for that. While a release rolls on two cores a request may take a second
# (p99 of the drills); at the drills' 2 requests/s one pod alone has 2 inside then, and 8 or
# more once in a thousand times (Poisson). At three times the knee they are there within 2 s.
CROWD: Final = 8


class Pace:
    """
    Lets calls begin while those that did are done in time.

    `tolerated_seconds` is what they may take on average. They are looked at once in so
    long, as what is let in now shows no sooner. A limit of `crowd` and more falls only while
    that many are inside at a time and late, and may then fall below that.
    """

    def __init__(
        self, clock: Clock, limit: Limit, tolerated_seconds: float, crowd: int = CROWD
    ) -> None:
        self._clock = clock
        self._limit = limit
        self._crowd = crowd
        self._tolerated = tolerated_seconds
        self._begun: dict[int, float] = {}
        self._took: list[float] = []
        self._ticket = 0
        self._most = 0
        self._looks_at = clock.monotonic() + tolerated_seconds

    @property
    def limit(self) -> float:
        """Calls that may have begun and not ended."""
        return self._limit.value

    @property
    def in_flight(self) -> int:
        """Calls that have begun and not ended."""
        return len(self._begun)

    def begin(self) -> int:
        """Take note of a call that was let in; its ticket."""
        self._ticket += 1
        self._begun[self._ticket] = self._clock.monotonic()
        self._most = max(self._most, len(self._begun))
        return self._ticket

    def end(self, ticket: int, *, answered: bool) -> None:
        """
        Take note of its end.

        One that was `answered` with an error counts only when it was slow: a refusal
        for a bad field takes a millisecond, and says nothing of what a trip takes.
        """
        took = self._clock.monotonic() - self._begun.pop(ticket)
        if answered or took > self._tolerated:
            self._took.append(took)

    def observe(self, wait_seconds: float) -> None:
        """
        Measure, if it is time to; `wait_seconds` is how long a call waits at the door.

        A call that is not done counts as soon as it is late, by what it has waited.
        """
        now = self._clock.monotonic()
        if now < self._looks_at:
            return
        late = [now - at for at in self._begun.values() if now - at > self._tolerated]
        seen = self._took + late
        if not seen and self._begun:
            # Too young to tell of anything.
            return
        self._looks_at = now + self._tolerated
        took = wait_seconds + (sum(seen) / len(seen) if seen else 0.0)
        # Where a crowd would be let in and there is none. A limit on its way back is long about it.
        is_hiccup = self._limit.value >= self._crowd and self._most < self._crowd
        self._limit.observe(0.0 if is_hiccup else took, self._most)
        self._took.clear()
        self._most = len(self._begun)
