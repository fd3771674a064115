"""
Whether this process is alive in the sense that matters: its watches still deliver.

A watch can die without a sound while everything else looks well. So the operator
stamps a Lease and waits to see its own stamp arrive through its own watch. A
stamp that could not be written proves nothing about the watch and does not fail
the probe: a restart does not mend the API server.
"""

import time
from collections.abc import Callable
from typing import Final

# Six heartbeats of 15 s: kopf reconnects a silent watch after 70 s by itself, and
# a restart before that would only lose what memory holds.
MISSED_BEATS: Final = 6
# The loop is asked every second; a step that blocks it for longer is a defect.
LOOP_STALL_SECONDS: Final = 20.0


class Pulse:
    """Ages of the last stamp seen and of the last turn of the event loop."""

    def __init__(self, beat_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._patience = beat_seconds * MISSED_BEATS
        self._turned_at = clock()
        self._unanswered_since: float | None = None
        self.last_event_at: float | None = None
        self.is_ready = False

    def turned(self) -> None:
        """The event loop has turned."""
        self._turned_at = self._clock()

    def stamped(self) -> None:
        """A stamp was written; its event is awaited."""
        if self._unanswered_since is None:
            self._unanswered_since = self._clock()

    def stamp_seen(self) -> None:
        """A stamp came back through the watch."""
        self._unanswered_since = None
        self.is_ready = True
        self.event_seen()

    def event_seen(self) -> None:
        """Any watch event arrived."""
        self.last_event_at = self._clock()

    def verdict(self) -> str | None:
        """None when all is well, else what is wrong."""
        now = self._clock()
        if now - self._turned_at > LOOP_STALL_SECONDS:
            return f"the event loop has not turned for {now - self._turned_at:.0f} s"
        if self._unanswered_since is not None:
            silent = now - self._unanswered_since
            if silent > self._patience:
                return f"the watch is silent: a stamp is unanswered for {silent:.0f} s"
        return None
