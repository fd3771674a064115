"""
Demand and supply of each cell, as all pods see them alike.

Demand is counted where requests are on record: what one pod sees is its share,
and two pods with halves of the riders and all of the drivers would both quote
half the price. Supply is what a search from the cell's centre finds, up to a
hundred. Both are looked at every other second; a quote or a request reads what
was seen last and waits for nobody. Looks are the first that a busy neighbour sheds,
and what was seen holds meanwhile. When they fail, prices are 1.0 and gates open:
want of a figure must not turn riders away.
"""

import asyncio
import logging
from dataclasses import dataclass
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from hailstorm.dispatch.cells import cell_name, centre, market_cell
from hailstorm.dispatch.errors import DOOR_REFUSALS, CellClosedError, TooFewDriversError
from hailstorm.dispatch.flags import NEW_REQUESTS, REQUEST_GATE, SURGE
from hailstorm.dispatch.gate import is_gated
from hailstorm.dispatch.neighbours import Neighbours
from hailstorm.dispatch.settings import MarketSettings
from hailstorm.dispatch.surge import MIN_MULTIPLIER, multiplier_of, pressure_of, smoothed
from hailstorm.runtime.clock import Clock
from hailstorm.runtime.errors import ResourceExhaustedError, ServiceError
from hailstorm.runtime.flags import Flags
from hailstorm.runtime.priority import Priority
from hailstorm.types.v1 import types_pb2

# The most that location tells of at once; a cell with as many is not short of any.
MAX_DRIVERS: Final = 100
# Searches for supply at once, so that a look is no burst.
SEARCHES_AT_ONCE: Final = 8
# Looks that may fail before what was seen counts no longer. A guess: longer than
# a roll of trip, shorter than a flash crowd.
LOOKS_UNTIL_STALE: Final = 10

_log = logging.getLogger(__name__)

# A city, and a cell of MARKET_RESOLUTION.
Place = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Demand:
    """Requests of the window in one cell, and those without a driver among them."""

    requests: int
    unallocated: int


@dataclass(frozen=True, slots=True)
class Cell:
    """
    What a cell was like at the last look; `pressure` is smoothed over looks.

    Its drivers were counted at `counted_at`, by the clock: a look may have done without.
    """

    demand: Demand
    idle_drivers: int
    pressure: float
    counted_at: float


class Market:
    """The cells of all cities. Its answers never wait."""

    def __init__(
        self,
        settings: MarketSettings,
        radius_m: int,
        neighbours: Neighbours,
        flags: Flags,
        clock: Clock,
        registry: CollectorRegistry,
    ) -> None:
        self._settings = settings
        self._radius_m = radius_m
        self._neighbours = neighbours
        self._flags = flags
        self._clock = clock
        self._cells: dict[Place, Cell] = {}
        self._looked_at = clock.monotonic()
        self._has_looked = False
        self._is_shed = False
        refused = Counter(
            "hailstorm_requests_refused",
            "Requests for trips that were refused at the door, by why.",
            ("why",),
            registry=registry,
        )
        # All of them from the start: a series that appears late looks like a jump.
        self._refused = {
            kind.reason: refused.labels(why=kind.reason.lower()) for kind in DOOR_REFUSALS
        }
        self._weighed = Gauge(
            "hailstorm_market_cells", "Cells with a price of their own.", registry=registry
        )

    def multiplier(self, city_id: str, cell: int) -> float:
        """The surge multiplier of a cell, 1.0 to 3.0."""
        known = self._known((city_id, cell))
        if known is None or not self._flags.boolean(
            SURGE, True, city=city_id, cell=cell_name(cell)
        ):
            return MIN_MULTIPLIER
        return multiplier_of(known.pressure)

    def check(self, city_id: str, cell: int) -> None:
        """Let a new request in, or raise CellClosedError or TooFewDriversError."""
        context = {"city": city_id, "cell": cell_name(cell)}
        if not self._flags.boolean(NEW_REQUESTS, True, **context):
            raise CellClosedError(context["cell"])
        known = self._known((city_id, cell))
        if known is None or not self._flags.boolean(REQUEST_GATE, True, **context):
            return
        s = self._settings
        unallocated = known.demand.unallocated
        if is_gated(unallocated, known.idle_drivers, s.gate_ratio, s.gate_allowance):
            raise TooFewDriversError(context["cell"], s.gate_retry_seconds)

    def count_refusal(self, refusal: ServiceError) -> None:
        """A rider was told one of DOOR_REFUSALS; whoever only repeats a request is not."""
        self._refused[refusal.reason].inc()

    async def follow(self) -> None:
        """Look again and again for as long as the process lives."""
        while True:
            await self._clock.sleep(self._settings.poll_milliseconds / 1000)
            try:
                await self.look()
            except ServiceError as error:
                self._is_shed = isinstance(error, ResourceExhaustedError)
                _log.debug("no look at the market: %s", error)

    async def look(self) -> None:
        """Count demand, and supply where there is demand. Raises ServiceError."""
        counts = await self._neighbours.count_requests(self._settings.window_seconds)
        demands = {
            place: demand
            for place, demand in _by_cell(counts).items()
            if demand.requests >= self._settings.busy_requests
        }
        # A cell that was dear stays known until it is cheap again.
        for place, cell in self._cells.items():
            if multiplier_of(cell.pressure) > MIN_MULTIPLIER:
                demands.setdefault(place, Demand(0, 0))
        turn = asyncio.Semaphore(SEARCHES_AT_ONCE)

        failures: list[ServiceError] = []

        async def supply(place: Place) -> tuple[int, float] | None:
            async with turn:
                try:
                    return await self._idle_drivers(place), self._clock.monotonic()
                except ServiceError as error:
                    # Of dozens one is soon shed, or lies where nobody can look, and must not end
                    # the whole look: who was idle at the last one will do for a while, and a new
                    # cell waits for the next.
                    is_shed = isinstance(error, ResourceExhaustedError)
                    if not is_shed:
                        failures.append(error)
                    before = self._cells.get(place)
                    if before is None:
                        return None
                    age = self._clock.monotonic() - before.counted_at
                    is_good = is_shed or age <= self._stale_seconds
                    return (before.idle_drivers, before.counted_at) if is_good else None

        supplies = await asyncio.gather(*(supply(place) for place in demands))
        if failures and len(failures) == len(demands):
            # Nobody was counted anywhere: no look at all.
            raise failures[0]
        now = self._clock.monotonic()
        elapsed, self._looked_at = now - self._looked_at, now
        self._cells = {
            place: self._weigh(place, demand, counted, elapsed)
            for (place, demand), counted in zip(demands.items(), supplies, strict=True)
            if counted is not None
        }
        self._has_looked, self._is_shed = True, False
        self._weighed.set(len(self._cells))

    def _weigh(
        self, place: Place, demand: Demand, counted: tuple[int, float], elapsed: float
    ) -> Cell:
        idle, counted_at = counted
        observed = pressure_of(demand.requests, idle)
        if not self._has_looked:
            # Nothing is known of the time before, in which the other pods came to
            # their prices; from 1.0 on, each roll would make the city cheap.
            return Cell(demand, idle, observed, counted_at)
        known = self._cells.get(place)
        before = known.pressure if known else MIN_MULTIPLIER
        pressure = smoothed(before, observed, elapsed, self._settings.memory_seconds)
        return Cell(demand, idle, pressure, counted_at)

    async def _idle_drivers(self, place: Place) -> int:
        city_id, cell = place
        latitude, longitude = centre(cell)
        point = types_pb2.LatLng(latitude=latitude, longitude=longitude)
        found = await self._neighbours.drivers_at(
            city_id, point, self._radius_m, MAX_DRIVERS, Priority.SHEDDABLE
        )
        return len(found)

    @property
    def _stale_seconds(self) -> float:
        """How long what was seen is good for."""
        return LOOKS_UNTIL_STALE * self._settings.poll_milliseconds / 1000

    def _known(self, place: Place) -> Cell | None:
        stale_seconds = self._stale_seconds
        if self._is_shed:
            # A crowd sheds looks, and is what gates are for. But after the window none
            # of the requests counts that were seen.
            stale_seconds = max(stale_seconds, self._settings.window_seconds)
        if self._clock.monotonic() - self._looked_at > stale_seconds:
            return None
        return self._cells.get(place)


def _by_cell(counts: Any) -> dict[Place, Demand]:
    """Add up RequestCounts, which are of a finer grid, by cell."""
    found: dict[Place, Demand] = {}
    for count in counts:
        place = (count.city_id, market_cell(count.point.latitude, count.point.longitude))
        before = found.get(place, Demand(0, 0))
        found[place] = Demand(
            before.requests + count.requests, before.unallocated + count.unallocated
        )
    return found
