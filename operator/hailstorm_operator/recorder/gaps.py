"""
Stretches of time in which not everything was seen, and of which no verdict is possible.

A gap has an Envoy (or none, when it is the recorder's own), a reason, a
beginning, and an end once it has one. Times are epoch seconds.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

RECORDER_ABSENT: Final = "RecorderAbsent"
NOT_YET_HEARD: Final = "EnvoyNotYetHeard"
STREAM_ENDED: Final = "StreamEnded"
SILENT: Final = "EnvoySilent"
DROPPED: Final = "EnvoyDroppedLines"
NOT_KEPT: Final = "NotKept"

# Logs of one Envoy are sent each on its own beat, up to `flushMilliseconds` (at
# most 1 s in the chart, 0.2 by default) apart: what the last line heard says of
# one of them says nothing of the others. One second covers the most.
MARGIN_SECONDS: Final = 1.0
# A gap lasts a second or more; half a thousand tell of a very bad half hour.
MAX_GAPS: Final = 500


@dataclass
class Gap:
    """From when, until when (None while it lasts), whose, and why."""

    start: float
    end: float | None
    envoy: str
    reason: str

    def touches(self, first: float, last: float) -> bool:
        """Whether any part of it lies between."""
        return self.start < last and (self.end is None or self.end > first)


class GapLedger:
    """Every gap of the time that is kept."""

    def __init__(self, keep_seconds: int) -> None:
        self._keep = keep_seconds
        self._gaps: list[Gap] = []
        self._changed: list[Gap] = []

    def open(self, start: float, envoy: str, reason: str) -> Gap:
        """Begin a gap; `start` is when the last line was heard."""
        gap = Gap(start - MARGIN_SECONDS, None, envoy, reason)
        self._gaps.append(gap)
        self._note(gap)
        self._merge()
        return gap

    def close(self, gap: Gap, end: float) -> None:
        """End a gap; `end` is when a line was heard again."""
        gap.end = end + MARGIN_SECONDS
        self._note(gap)

    def withdraw(self, gap: Gap) -> None:
        """Nothing was lost after all."""
        # Written down as empty, in case it has been written down as open.
        gap.end = gap.start
        self._gaps = [one for one in self._gaps if one is not gap]
        self._note(gap)

    def add(self, start: float, end: float, envoy: str, reason: str) -> None:
        """A gap that is over."""
        self.close(self.open(start, envoy, reason), end)

    def settle(self) -> list[Gap]:
        """Gaps that began or ended since the last time, to be written down."""
        changed, self._changed = self._changed, []
        return changed

    def forget(self, now: float) -> None:
        """Drop gaps older than is kept."""
        oldest = now - self._keep
        self._gaps = [gap for gap in self._gaps if gap.end is None or gap.end >= oldest]

    def restore(self, gaps: Iterable[Gap]) -> None:
        """Take up gaps that ended before a restart."""
        self._gaps.extend(gap for gap in gaps if gap.end is None or gap.end > gap.start)

    def window(self, first: float, last: float) -> list[Gap]:
        """Gaps that touch this stretch, in their order."""
        return sorted(
            (gap for gap in self._gaps if gap.touches(first, last)), key=lambda gap: gap.start
        )

    def _note(self, gap: Gap) -> None:
        if all(gap is not one for one in self._changed):
            self._changed.append(gap)

    def _merge(self) -> None:
        """Bound the memory: the oldest two that are over become one that covers both."""
        if len(self._gaps) <= MAX_GAPS:
            return
        over = sorted((gap for gap in self._gaps if gap.end is not None), key=lambda gap: gap.start)
        if len(over) >= 2:
            first, second = over[:2]
            assert first.end is not None  # Chosen because they are over.
            assert second.end is not None
            first.end = max(first.end, second.end)
            first.envoy = ""
            self._gaps = [gap for gap in self._gaps if gap is not second]
