"""
Drivers collected during one search: each once, by the newest ping seen.

A driver can stand in the index twice for a few seconds, when two servers took
two pings of it at the same moment, or when its record was evicted. The newer
sequence is the truth. A crowd puts hundreds of members into one search, so they
stay text until the answer is chosen.
"""

import heapq
import math
from collections.abc import Iterable
from typing import Final

from hailstorm.location.geometry import EARTH_RADIUS_M
from hailstorm.location.index.base import Found
from hailstorm.location.records import decode_member

# Drivers read from one cell at most, or twice what is asked for when that is more.
# 32 x 7 cells are a quarter of a millisecond's work; a crowd of thousands is not.
CELL_CAP: Final = 32


class Candidates:
    """
    The drivers around one point that were found so far.

    Attributes:
        cap: how many drivers of one cell are worth reading.
    """

    def __init__(
        self, latitude: float, longitude: float, max_drivers: int, max_radius_m: float
    ) -> None:
        self._phi = math.radians(latitude)
        self._cos_phi = math.cos(self._phi)
        self._lambda = math.radians(longitude)
        self._max_drivers = max_drivers
        self._max_radius_m = max_radius_m
        self.cap = max(CELL_CAP, 2 * max_drivers)
        # By driver: sequence, distance, member.
        self._newest: dict[str, tuple[int, float, str]] = {}

    def add(self, members: Iterable[str]) -> None:
        """Add members of the index."""
        for member in members:
            driver_id, latitude, longitude, _, number = member.split("|")
            sequence = int(number)
            before = self._newest.get(driver_id)
            if before is not None and before[0] >= sequence:
                continue
            metres = self._distance_m(float(latitude), float(longitude))
            self._newest[driver_id] = (sequence, metres, member)

    def nearest(self) -> list[Found]:
        """The nearest within the radius, nearest first; equal distances by id, to be repeatable."""
        return [Found(decode_member(member), metres) for metres, _, member in self._chosen()]

    def missing(self) -> int:
        """How many drivers are still wanted, wherever they are."""
        return max(0, self._max_drivers - len(self._newest))

    def are_complete(self, unseen_m: float) -> bool:
        """Whether nobody at `unseen_m` or further can still change the answer."""
        if unseen_m > self._max_radius_m:
            return True
        if self.missing():
            return False
        chosen = self._chosen()
        return len(chosen) == self._max_drivers and chosen[-1][0] <= unseen_m

    def _chosen(self) -> list[tuple[float, str, str]]:
        within = (
            (metres, driver_id, member)
            for driver_id, (_, metres, member) in self._newest.items()
            if metres <= self._max_radius_m
        )
        return heapq.nsmallest(self._max_drivers, within)

    def _distance_m(self, latitude: float, longitude: float) -> float:
        # geometry.distance_m with the centre's half worked out once.
        phi = math.radians(latitude)
        sin_phi = math.sin((phi - self._phi) / 2)
        sin_lambda = math.sin((math.radians(longitude) - self._lambda) / 2)
        a = sin_phi * sin_phi + self._cos_phi * math.cos(phi) * sin_lambda * sin_lambda
        return 2 * EARTH_RADIUS_M * math.asin(math.sqrt(min(1.0, a)))
