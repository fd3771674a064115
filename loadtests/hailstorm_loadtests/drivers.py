"""
A worker's share of the fleet: where its cars are, and what its phones report.

Cars move at a car's speed on the map of real pickups: free ones drift towards
demand, bound ones drive to the pickup and then towards the dropoff. The
sequence number of a phone grows with each ping, and now and then an old ping
is sent again, as networks do; the service must refuse it.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from hailstorm_loadtests.city import CAR_SPEED_M_PER_S, Place, draw_drift, move


@dataclass
class Driver:
    """One car with its phone."""

    driver_id: str
    place: Place
    target: Place
    moved_at: float
    is_busy: bool = False
    sequence: int = 0
    # The ping before, for sending it again.
    last_ping: "Ping | None" = None


@dataclass(frozen=True)
class Ping:
    """What a phone reports; `observed_at` is epoch seconds."""

    driver_id: str
    sequence: int
    place: Place
    observed_at: float
    is_busy: bool


@dataclass(frozen=True)
class Heading:
    """News of a driver for whoever reports that driver's positions."""

    driver_id: str
    is_busy: bool
    # Where the car goes now; None leaves it to drift.
    target: Place | None = None


class Fleet:
    """The drivers that one worker reports, in batches of a fixed membership."""

    def __init__(
        self,
        driver_ids: Sequence[str],
        places: Sequence[Place],
        positions_per_call: int,
        rng: random.Random,
        now: float,
    ) -> None:
        self._places = places
        self._rng = rng
        self._drivers = {}
        for driver_id in driver_ids:
            start = rng.choice(places)
            self._drivers[driver_id] = Driver(
                driver_id, start, draw_drift(start, places, rng), moved_at=now
            )
        members = list(self._drivers.values())
        self.batches = [
            members[i : i + positions_per_call] for i in range(0, len(members), positions_per_call)
        ]

    def head(self, heading: Heading) -> bool:
        """Take the news; False when the driver is not of this fleet."""
        driver = self._drivers.get(heading.driver_id)
        if driver is None:
            return False
        driver.is_busy = heading.is_busy
        driver.target = heading.target or draw_drift(driver.place, self._places, self._rng)
        return True

    def pings(self, batch: int, now: float) -> list[Ping]:
        """Move the cars of the batch to `now` and give one fresh ping of each."""
        pings = []
        for driver in self.batches[batch]:
            metres = CAR_SPEED_M_PER_S * max(0.0, now - driver.moved_at)
            driver.place = move(driver.place, driver.target, metres)
            driver.moved_at = now
            if driver.place == driver.target and not driver.is_busy:
                driver.target = draw_drift(driver.place, self._places, self._rng)
            driver.sequence += 1
            ping = Ping(driver.driver_id, driver.sequence, driver.place, now, driver.is_busy)
            driver.last_ping = ping
            pings.append(ping)
        return pings

    def late_ping(self, batch: int, share: float) -> Ping | None:
        """With likelihood `share` an old ping of the batch, to be sent once more."""
        if self._rng.random() >= share:
            return None
        return self._rng.choice(self.batches[batch]).last_ping
