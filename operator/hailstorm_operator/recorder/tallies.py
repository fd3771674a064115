"""
Counts of calls and attempts: by second, and by what an operator asks for.

A second is a few hundred cells, packed into two arrays once it has been written
down, so that half an hour of a busy edge is a few MiB. Latencies go into buckets
that grow by a fifth: coarse for a person, fine enough to see a service slow down.
"""

import math
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

# 64 buckets of a fourth of a doubling: 1 ms to 46 s, then the rest.
BUCKETS: Final = 64
BUCKETS_PER_DOUBLING: Final = 4
_BUCKET_BITS: Final = 6
_BUCKET_MASK: Final = BUCKETS - 1
# Pods, methods, codes: a large edge has a few thousand. Beyond it a stranger
# writes our keys, and what is new goes into one that names neither pod nor method.
MAX_KEYS: Final = 20_000

Cells = dict[int, int]


class Key(NamedTuple):
    """What is counted apart."""

    kind: str
    """`calls` as callers saw them end, or `attempts` at one pod each."""
    listener: str
    """`public` or `internal`: who called."""
    cluster: str
    address: str
    method: str
    code: int
    flag: str
    outcome: str
    is_stream: bool
    is_retried: bool


@dataclass
class Row:
    """How often a key was counted in a stretch of time, when first and last, how long it took."""

    key: Key
    first: int
    last: int
    count: int = 0
    buckets: dict[int, int] = field(default_factory=dict)


def bucket_of(seconds: float) -> int:
    """The bucket of a duration."""
    milliseconds = seconds * 1000
    if milliseconds <= 1:
        return 0
    return min(math.ceil(BUCKETS_PER_DOUBLING * math.log2(milliseconds)), BUCKETS - 1)


def bound_ms(bucket: int) -> float:
    """The longest duration that a bucket holds; of the last one, the shortest."""
    return float(round(2.0 ** (min(bucket, BUCKETS - 2) / BUCKETS_PER_DOUBLING), 3))


def quantile_ms(buckets: Mapping[int, int], share: float) -> float | None:
    """
    Upper bound of the bucket in which this share of all durations is reached.

    The true value is at most a fifth (2 ** 0.25) below it. None without a duration.
    """
    total = sum(buckets.values())
    wanted = math.ceil(share * total)
    seen = 0
    for bucket in sorted(buckets):
        seen += buckets[bucket]
        if seen >= wanted > 0:
            return bound_ms(bucket)
    return None


class Tallies:
    """Counts of the last `keep_seconds`. Times are epoch seconds."""

    def __init__(self, keep_seconds: int) -> None:
        self._keep = keep_seconds
        self._ids: dict[Key, int] = {}
        self._keys: dict[int, Key] = {}
        self._next_id = 0
        self._unwritten_keys: dict[int, Key] = {}
        self._fresh: dict[int, Cells] = {}
        self._packed: dict[int, tuple[array[int], array[int]]] = {}
        self.folded = 0

    def add(self, key: Key, second: int, bucket: int, count: int = 1) -> None:
        """Count something that ended in this second."""
        number = self._ids.get(key)
        if number is None:
            number = self._register(key)
        cells = self._fresh.get(second)
        if cells is None:
            cells = self._fresh[second] = {}
        cell = number << _BUCKET_BITS | bucket
        cells[cell] = cells.get(cell, 0) + count

    def settle(self) -> tuple[dict[int, Key], dict[int, Cells]]:
        """
        Pack what is new since the last time, and return it to be written down.

        Returns keys not returned before, and counts by second that are to be added.
        """
        fresh, self._fresh = self._fresh, {}
        keys, self._unwritten_keys = self._unwritten_keys, {}
        for second, cells in fresh.items():
            known = dict(zip(*self._packed[second], strict=True)) if second in self._packed else {}
            for cell, count in cells.items():
                known[cell] = known.get(cell, 0) + count
            self._packed[second] = (array("Q", known.keys()), array("L", known.values()))
        return keys, fresh

    def forget(self, now: float) -> None:
        """Drop seconds older than is kept, and keys that no second is left of."""
        oldest = int(now) - self._keep
        for second in [one for one in self._packed if one < oldest]:
            del self._packed[second]
        if len(self._keys) < MAX_KEYS // 2:
            return
        used = {cell >> _BUCKET_BITS for cells, _ in self._packed.values() for cell in cells}
        used |= {cell >> _BUCKET_BITS for cells in self._fresh.values() for cell in cells}
        used |= set(self._unwritten_keys)
        for number in [one for one in self._keys if one not in used]:
            del self._ids[self._keys.pop(number)]

    def keys(self) -> dict[int, Key]:
        """Every key, by the number that cells carry."""
        return dict(self._keys)

    def restore(self, keys: Mapping[int, Key], seconds: Mapping[int, Iterable[int]]) -> None:
        """Take up what `settle` once returned; cells and counts in turn."""
        for second, flat in seconds.items():
            numbers = iter(flat)
            for cell, count in zip(numbers, numbers, strict=True):
                key = keys.get(cell >> _BUCKET_BITS)
                if key is not None:
                    self.add(key, second, cell & _BUCKET_MASK, count)

    def rows(
        self, first: int, last: int, kind: str | None = None, cluster: str | None = None
    ) -> list[Row]:
        """What was counted in the seconds from `first` to before `last`."""
        total: Cells = {}
        seconds: dict[int, tuple[int, int]] = {}
        for second, cells in self._cells(first, last):
            for cell, count in cells:
                total[cell] = total.get(cell, 0) + count
                number = cell >> _BUCKET_BITS
                begin, end = seconds.get(number, (second, second))
                seconds[number] = min(begin, second), max(end, second)
        rows: dict[int, Row] = {}
        for cell, count in total.items():
            number = cell >> _BUCKET_BITS
            key = self._keys[number]
            if (kind and key.kind != kind) or (cluster is not None and key.cluster != cluster):
                continue
            row = rows.setdefault(number, Row(key, *seconds[number]))
            row.count += count
            row.buckets[cell & _BUCKET_MASK] = count
        return sorted(rows.values(), key=lambda row: row.key)

    def by_second(
        self, first: int, last: int, is_wanted: Callable[[Key], bool]
    ) -> Counter[tuple[int, Key]]:
        """How often each wanted key was counted in each second from `first` to before `last`."""
        wanted = {number: key for number, key in self._keys.items() if is_wanted(key)}
        found: Counter[tuple[int, Key]] = Counter()
        for second, cells in self._cells(first, last):
            for cell, count in cells:
                key = wanted.get(cell >> _BUCKET_BITS)
                if key is not None:
                    found[second, key] += count
        return found

    def _cells(self, first: int, last: int) -> Iterator[tuple[int, Iterable[tuple[int, int]]]]:
        for packed_second in _between(self._packed, first, last):
            cells, counts = self._packed[packed_second]
            yield packed_second, zip(cells, counts, strict=True)
        for fresh_second in _between(self._fresh, first, last):
            yield fresh_second, self._fresh[fresh_second].items()

    def _register(self, key: Key) -> int:
        if len(self._ids) >= MAX_KEYS:
            self.folded += 1
            key = key._replace(address="", method="")
            known = self._ids.get(key)
            if known is not None:
                return known
        number = self._next_id
        self._next_id += 1
        self._ids[key] = number
        self._keys[number] = self._unwritten_keys[number] = key
        return number


def _between(seconds: Mapping[int, object], first: int, last: int) -> list[int]:
    """The seconds of a stretch that there are, found by the shorter way."""
    if last - first < len(seconds):
        return [second for second in range(first, last) if second in seconds]
    return [second for second in seconds if first <= second < last]
