"""
Whether it is worth asking a store that did not answer.

    CLOSED ──n failures in a row──► OPEN ──time──► HALF-OPEN ──answer──► CLOSED
                                      ▲                │
                                      └────failure─────┘

While it is open nobody asks, so that an outage costs callers nothing but their
retries, and the store is not met by a thousand connects when it starts.
"""

from hailstorm.runtime.clock import Clock


class Breaker:
    """
    Counts failures in a row; any answer of the store ends the count.

    Each `allows()` that gave True is followed by one of `answered`, `failed`
    and `gave_up`.
    """

    def __init__(
        self, clock: Clock, failures: int, open_seconds: float, silence_seconds: float = 0.0
    ) -> None:
        """
        Open after so many failures in a row, if they span `silence_seconds`.

        Calls that are under way together fail together when a store stands still
        for a moment: dozens in a row, and no outage.
        """
        self._clock = clock
        self._limit = failures
        self._open_seconds = open_seconds
        self._silence_seconds = silence_seconds
        self._failures = 0
        self._failing_since = 0.0
        self._is_open = False
        self._asks_again_at = 0.0
        self._is_probing = False

    @property
    def is_open(self) -> bool:
        return self._is_open

    def allows(self) -> bool:
        """Whether this caller may ask; while half-open, only the first one may."""
        if not self._is_open:
            return True
        if self._is_probing or self._clock.monotonic() < self._asks_again_at:
            return False
        self._is_probing = True
        return True

    def answered(self) -> None:
        """The store answered, be it with an error of its own."""
        self._failures = 0
        self._is_open = False
        self._is_probing = False

    def failed(self) -> None:
        """The store did not answer."""
        now = self._clock.monotonic()
        if self._failures == 0:
            self._failing_since = now
        self._failures += 1
        self._is_probing = False
        self._asks_again_at = now + self._open_seconds
        if self._failures >= self._limit and now - self._failing_since >= self._silence_seconds:
            self._is_open = True

    def gave_up(self) -> None:
        """The caller left before it knew."""
        self._is_probing = False
