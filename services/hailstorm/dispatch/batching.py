"""
Windows in which the requests of one cell wait to be matched together.

A window opens when others are expected, and is solved when its time is over or
it is full. Nobody waits in a quiet cell, in a process that is short of breath,
or when the flag `batch-matching` is off: such a request takes the nearest
driver at once. Choosing binds nobody; Postgres does that afterwards.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram

from hailstorm.dispatch.flags import BATCH_MATCHING
from hailstorm.dispatch.matching import Candidate, Choice, choose_together
from hailstorm.dispatch.settings import BatchSettings
from hailstorm.dispatch.windows import ArrivalRate, decide_window
from hailstorm.runtime.calls import remaining_seconds
from hailstorm.runtime.clock import Clock
from hailstorm.runtime.flags import Flags

# A rider with less time left than this many windows does not wait in one.
_WINDOWS_OF_TIME: Final = 5
# Cells whose rate is remembered. A city has tens; beyond this, the oldest go.
_MAX_CELLS: Final = 4096

Cell = tuple[str, int]


@dataclass
class _Waiting:
    """A request in a window, and how many calls wait for it: a rider may ask twice at once."""

    found: Sequence[Candidate]
    choice: "asyncio.Future[Choice]"
    callers: int = 0


@dataclass
class _Window:
    """Requests that wait, by the id of their trip, and who ends the wait."""

    waiting: dict[str, _Waiting] = field(default_factory=dict)
    timer: asyncio.TimerHandle | None = None


class Batcher:
    """The windows of one process. Safe for any number of callers at once."""

    def __init__(
        self, settings: BatchSettings, clock: Clock, flags: Flags, registry: CollectorRegistry
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._flags = flags
        self._rates: dict[Cell, ArrivalRate] = {}
        self._windows: dict[Cell, _Window] = {}
        self._waiting = 0
        self._sizes = Histogram(
            "hailstorm_batch_requests",
            "Requests that were matched together, for each window.",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128),
            registry=registry,
        )
        alone = Counter(
            "hailstorm_batch_alone",
            "Requests that took the nearest driver without a window, by why.",
            ("why",),
            registry=registry,
        )
        whys = ("quiet", "pressure", "hurry", "off")
        self._alone = {why: alone.labels(why=why) for why in whys}

    @property
    def takes_new_requests(self) -> bool:
        """Whether requests that have just come are to wait for each other."""
        return self._settings.new_requests

    def expect(self, cell: Cell) -> None:
        """Somebody in this cell is about to look for drivers."""
        rate = self._rates.get(cell)
        if rate is None:
            if len(self._rates) >= _MAX_CELLS:
                del self._rates[next(iter(self._rates))]
            rate = self._rates[cell] = ArrivalRate()
        rate.note(self._clock.monotonic())

    async def choose(
        self, cell: Cell, trip_id: str, found: Sequence[Candidate], at_most: int
    ) -> Choice:
        """What a request may do that has found these drivers, nearest first."""
        window_seconds = self._window_seconds(cell) if found else 0.0
        if window_seconds == 0:
            return Choice([c.driver_id for c in found[:at_most]], frozenset())
        loop = asyncio.get_running_loop()
        window = self._windows.get(cell)
        if window is None:
            window = self._windows[cell] = _Window()
            window.timer = loop.call_later(window_seconds, self._solve, cell, window, at_most)
        request = window.waiting.get(trip_id)
        if request is None:
            request = window.waiting[trip_id] = _Waiting(found, loop.create_future())
            self._waiting += 1
            if len(window.waiting) >= self._settings.max_requests:
                self._solve(cell, window, at_most)
        request.callers += 1
        try:
            return await asyncio.shield(request.choice)
        finally:
            request.callers -= 1
            if request.callers == 0 and not request.choice.done():
                # The rider has left: no driver is kept for nobody.
                del window.waiting[trip_id]
                self._waiting -= 1

    def _window_seconds(self, cell: Cell) -> float:
        s = self._settings
        longest = s.longest_milliseconds / 1000
        if not self._flags.boolean(BATCH_MATCHING, True):
            why = "off"
        elif self._waiting >= s.max_waiting:
            why = "pressure"
        elif remaining_seconds(3600) < _WINDOWS_OF_TIME * longest:
            why = "hurry"
        elif cell in self._windows:
            # Others wait already, and the end of the wait is set.
            return longest
        else:
            rate = self._rates.get(cell)
            per_second = rate.per_second(self._clock.monotonic()) if rate else 0.0
            shortest = min(s.shortest_milliseconds / 1000, longest)
            seconds = decide_window(per_second, shortest, longest)
            if seconds > 0:
                return seconds
            why = "quiet"
        self._alone[why].inc()
        return 0.0

    def _solve(self, cell: Cell, window: _Window, at_most: int) -> None:
        if self._windows.get(cell) is window:
            del self._windows[cell]
        if window.timer is not None:
            window.timer.cancel()
        self._waiting -= len(window.waiting)
        # In order of their ids: who came first is chance, and a replay must not depend on it.
        requests = [request for _, request in sorted(window.waiting.items())]
        self._sizes.observe(len(requests))
        choices = choose_together([request.found for request in requests], at_most)
        for request, choice in zip(requests, choices, strict=True):
            request.choice.set_result(choice)
