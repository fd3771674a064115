"""
Who is in the house: counts calls in flight, and shows surplus ones the door.

A bounded number of calls in flight is what keeps an overloaded server useful:
what cannot be served in time is refused before it costs anything, and told
when to come again. The same counts tell the drain when the house is empty.
"""

from hailstorm.runtime.clock import Clock
from hailstorm.runtime.errors import ResourceExhaustedError


class Admission:
    """
    Counts unary calls and streams, each against its own bound.

    They are apart because a stream may stay for an hour: counted together, the
    watchers of trips would keep out the riders.
    """

    def __init__(self, clock: Clock, max_concurrent: int, max_streams: int) -> None:
        self._clock = clock
        self._max_concurrent = max_concurrent
        self._max_streams = max_streams
        self.unary_in_flight = 0
        self.streams_open = 0
        self._last_arrival = clock.monotonic()

    @property
    def is_idle(self) -> bool:
        return self.unary_in_flight == 0 and self.streams_open == 0

    def quiet_seconds(self) -> float:
        """How long nobody has come, served or shed; 0 while somebody is in the house."""
        return self._clock.monotonic() - self._last_arrival if self.is_idle else 0.0

    def enter(self, is_stream: bool) -> None:
        """
        Let a call in, or raise ResourceExhaustedError.

        Every `enter` that returns is followed by one `leave`, whatever happens.
        """
        self._last_arrival = self._clock.monotonic()
        if is_stream:
            if self.streams_open >= self._max_streams:
                raise ResourceExhaustedError(
                    f"{self._max_streams} streams are open; try again", reason="TOO_MANY_STREAMS"
                )
            self.streams_open += 1
        else:
            if self.unary_in_flight >= self._max_concurrent:
                raise ResourceExhaustedError(
                    f"{self._max_concurrent} calls are in flight; try again",
                    reason="TOO_MANY_CALLS",
                )
            self.unary_in_flight += 1

    def leave(self, is_stream: bool) -> None:
        """Take note that a call that was let in has ended, well or not."""
        if is_stream:
            self.streams_open -= 1
        else:
            self.unary_in_flight -= 1
