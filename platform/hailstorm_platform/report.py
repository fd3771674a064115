"""
Progress on the terminal: what is being done, and how long it has taken.

A first build takes minutes, and a silent minute looks like a hang, so a step
that is still running says so every 20 s. Steps run in several threads; a line
is written whole or not at all.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TextIO

# Often enough to show life, seldom enough not to bury the other lines (a guess).
HEARTBEAT_SECONDS: Final = 20.0


class Report:
    """Writes one line per event, each with the seconds since the start."""

    def __init__(
        self,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream
        self._clock = clock
        self._start = clock()
        self._lock = threading.Lock()
        self.durations: dict[str, float] = {}

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._start

    def say(self, text: str) -> None:
        """Write a line."""
        elapsed = self.elapsed
        with self._lock:
            print(f"[{elapsed:6.1f}s] {text}", file=self._stream or sys.stderr, flush=True)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Announce a step, say every 20 s that it lasts, and say how it ended."""
        begin = self._clock()
        ended = threading.Event()

        def beat() -> None:
            while not ended.wait(HEARTBEAT_SECONDS):
                self.say(f"    {name} (for {self._clock() - begin:.0f} s)")

        self.say(f"  > {name}")
        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        except BaseException:
            self.say(f"  x {name} (failed after {self._clock() - begin:.1f} s)")
            raise
        finally:
            ended.set()
            thread.join()
        self.durations[name] = self._clock() - begin
        self.say(f"  . {name} ({self.durations[name]:.1f} s)")
