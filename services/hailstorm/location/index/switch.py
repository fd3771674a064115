"""
Changes the index under the riders' eyes, and none of them finds an empty road.

An index holds what was written to it during the silence period and nothing
older, so one that is written from now on is as good as the other after one
period. A flip therefore writes both at once and answers from the old one until
the new one is full:

    flip heard ──► both written, old read ──HOLD──► both written, new read ──HOLD──► new alone

Pods hear of a flip within `HEARING_SECONDS` of each other. HOLD is the silence
and that: the last position that a late pod wrote to the old index alone has aged
out when the first pod begins to read the new one. The old one is written for
another HOLD, for pods that still read it. Whoever flips back in between starts
over, or, when the old one is still being read, simply stays.

A process that starts does not know what was before. It answers from the index
that is wanted and, for its first HOLD, asks the other one too when that has
fewer drivers than were asked for.
"""

from collections.abc import Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Gauge

from hailstorm.location.flags import GEO_BACKEND
from hailstorm.location.index.base import Change, DriverIndex, Found, Search
from hailstorm.location.settings import IndexKind, PositionSettings
from hailstorm.location.store import Command
from hailstorm.runtime.clock import Clock
from hailstorm.runtime.flags import Flags

# Within which every pod has heard of a flip; what flags promise.
HEARING_SECONDS: Final = 5.0


class IndexSwitch:
    """DriverIndex over several others, of which a flag chooses one."""

    def __init__(
        self,
        indexes: Mapping[IndexKind, DriverIndex],
        settings: PositionSettings,
        flags: Flags,
        clock: Clock,
        registry: CollectorRegistry,
    ) -> None:
        self._indexes = indexes
        self._settings = settings
        self._flags = flags
        self._clock = clock
        self._hold = settings.silence_seconds + HEARING_SECONDS
        self._wanted = self._read = self._flag()
        # Until when each index is written besides the one that is wanted.
        self._written_until: dict[IndexKind, float] = {}
        # When `_wanted` may be read; while it is not, `_read` is.
        self._readable_at = 0.0
        self._is_certain_at = clock.monotonic() + self._hold
        self._gauge = Gauge(
            "hailstorm_location_index",
            "1 for the index that searches are answered from, and for those that are written.",
            ("index", "use"),
            registry=registry,
        )
        self._show(clock.monotonic())

    def update(self, change: Change) -> list[Command]:
        self._turn()
        return [
            command
            for kind in self._written(self._clock.monotonic())
            for command in self._indexes[kind].update(change)
        ]

    async def search(self, search: Search) -> list[Found]:
        self._turn()
        found = await self._indexes[self._read].search(search)
        if len(found) < search.max_drivers and self._clock.monotonic() < self._is_certain_at:
            for kind, index in self._indexes.items():
                if kind is not self._read:
                    found = _merged(found, await index.search(search), search.max_drivers)
        return found

    def _turn(self) -> None:
        """Take one step from index to index, if it is time for one."""
        now = self._clock.monotonic()
        wanted = self._flag()
        if wanted is not self._wanted:
            # Pods that hear later go on reading what was read before.
            for kind in (self._wanted, self._read):
                self._written_until[kind] = now + 2 * self._hold
            self._wanted = wanted
            self._readable_at = now + self._hold
            self._show(now)
        elif self._read is not wanted and now >= self._readable_at:
            self._written_until[self._read] = now + self._hold
            self._read = wanted
            self._show(now)
        elif self._written_until and now >= max(self._written_until.values()):
            self._written_until.clear()
            self._show(now)

    def _written(self, now: float) -> list[IndexKind]:
        late = [kind for kind, until in self._written_until.items() if now < until]
        return list(dict.fromkeys((self._wanted, self._read, *late)))

    def _flag(self) -> IndexKind:
        default = self._settings.index
        return IndexKind(self._flags.string(GEO_BACKEND, default.value))

    def _show(self, now: float) -> None:
        written = self._written(now)
        for kind in self._indexes:
            self._gauge.labels(index=kind.value, use="read").set(kind is self._read)
            self._gauge.labels(index=kind.value, use="written").set(kind in written)


def _merged(some: list[Found], others: list[Found], max_drivers: int) -> list[Found]:
    """Both answers as one: each driver once, by its newest position."""
    newest = {each.fix.driver_id: each for each in some}
    for each in others:
        known = newest.get(each.fix.driver_id)
        if known is None or known.fix.sequence < each.fix.sequence:
            newest[each.fix.driver_id] = each
    by_distance = sorted(newest.values(), key=lambda each: (each.distance_m, each.fix.driver_id))
    return by_distance[:max_drivers]
