"""
Failed calls and attempts one by one, as many as there is room for.

The first of a second are kept, because the beginning of an outage explains it;
when the whole is full the oldest go. What is left out is in the tallies.
"""

from collections import deque
from collections.abc import Iterable
from typing import Any, Final

Sample = dict[str, Any]

# 5,000 of about 700 bytes are 3.5 MiB; 50 a second are a failure every 20 ms.
MAX_SAMPLES: Final = 5_000
MAX_A_SECOND: Final = 50


class Samples:
    """Samples by the time `at` in them (epoch seconds)."""

    def __init__(self, keep_seconds: int) -> None:
        self._keep = keep_seconds
        self._samples: deque[Sample] = deque(maxlen=MAX_SAMPLES)
        self._taken: dict[tuple[str, int], int] = {}
        self._unwritten: list[Sample] = []

    def has_room(self, kind: str, second: int) -> bool:
        """Whether another sample of this second would be kept."""
        return self._taken.get((kind, second), 0) < MAX_A_SECOND

    def add(self, sample: Sample) -> None:
        """Keep a sample; ask `has_room` first."""
        place = (sample["kind"], int(sample["at"]))
        self._taken[place] = self._taken.get(place, 0) + 1
        self._samples.append(sample)
        self._unwritten.append(sample)

    def settle(self) -> list[Sample]:
        """What is new since the last time, to be written down."""
        unwritten, self._unwritten = self._unwritten, []
        return unwritten

    def forget(self, now: float) -> None:
        """Drop what is older than is kept."""
        oldest = int(now) - self._keep
        while self._samples and self._samples[0]["at"] < oldest:
            self._samples.popleft()
        for place in [one for one in self._taken if one[1] < oldest]:
            del self._taken[place]

    def restore(self, samples: Iterable[Sample]) -> None:
        """Take up what `settle` once returned."""
        for sample in samples:
            if self.has_room(sample["kind"], int(sample["at"])):
                self.add(sample)
        self._unwritten.clear()

    def window(self, first: int, last: int, kind: str | None = None) -> list[Sample]:
        """Samples of the seconds from `first` to before `last`, in their order."""
        found = [
            one
            for one in self._samples
            if first <= one["at"] < last and (kind is None or one["kind"] == kind)
        ]
        return sorted(found, key=lambda one: float(one["at"]))
