"""Tells how load goes while a drill waits, and notices when there is no load any more."""

import time
from collections.abc import Callable
from typing import Final

from hailstorm_drills.faults.base import wait_for
from hailstorm_drills.load import Load, LoadError

# How often the load is asked for its state. Asking costs a kubectl, so not more often.
PROGRESS_SECONDS: Final = 5.0
# The load's master may be slow to answer once or twice; then it is gone, and a
# drill without load is not worth its fault.
MAX_SILENCES: Final = 3


class Progress:
    """One drill's; every wait of a fault goes through it."""

    def __init__(self, load: Load, say: Callable[[str], None]) -> None:
        self._load, self._say = load, say
        self._silences = 0
        self._told_at = 0.0

    def watch(self, seconds: float) -> None:
        """Let load run for so long; raises LoadError when it has gone."""
        end = time.time() + seconds
        while (left := end - time.time()) > 0:
            time.sleep(min(PROGRESS_SECONDS, left))
            self.tell()

    def wait(self, probe: Callable[[], str | None], seconds: float, what: str) -> None:
        """Wait as `wait_for` does, and tell what is still missing."""

        def told() -> str | None:
            missing = probe()
            if missing:
                self.tell(missing)
            return missing

        wait_for(told, seconds, what)

    def tell(self, also: str = "") -> None:
        """One line of how load goes, unless there was one a moment ago."""
        if time.time() - self._told_at < PROGRESS_SECONDS:
            return
        self._told_at = time.time()
        try:
            state = self._load.state()
        except LoadError as error:
            self._silences += 1
            self._say(f"   {error}")
            if self._silences >= MAX_SILENCES:
                raise
            return
        self._silences = 0
        recent = state["recent"]
        self._say(
            f"   {state['calls']:>7,} calls  {recent['calls_per_second']:>5.0f}/s  "
            f"p99 {recent['p99_ms'] or 0:>5.0f} ms  failed {state['fail']}  "
            f"unknown {state['unknown']}  {also}".rstrip()
        )
