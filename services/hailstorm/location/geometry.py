"""
Distances on a sphere, and the H3 cells around a point.

Cells are integers here, which h3 handles faster than its strings. The rule that
searches rest on: `CellCover.lower_bound_m` never exceeds the true distance from
the point to any place in the cell.
"""

import math
from functools import lru_cache
from typing import Final

import h3.api.basic_int as h3

# Mean radius of the earth, IUGG; Redis uses 6,372,797.56 m, 0.03 % more.
EARTH_RADIUS_M: Final = 6_371_008.8
METRES_PER_DEGREE: Final = EARTH_RADIUS_M * math.pi / 180
# Cells of about 0.1 km², 200 m an edge: a few drivers each in a busy city.
CELL_RESOLUTION: Final = 9
# Parents of about 250 km², 10 km an edge: a city spans several, a search few.
PARENT_RESOLUTION: Final = 5
# Neighbouring cells differ in size by a few percent (H3's projection); a bound
# made from one cell holds for its surroundings with this margin. A guess, that
# a property test over the whole earth confirms.
SIZE_MARGIN: Final = 1.25
# Degrees of a fine child stick out of its coarse parent by up to a tenth.
PARENT_MARGIN: Final = 1.5


def distance_m(latitude1: float, longitude1: float, latitude2: float, longitude2: float) -> float:
    """Great-circle distance (haversine), in metres."""
    phi1, phi2 = math.radians(latitude1), math.radians(latitude2)
    sin_phi = math.sin((phi2 - phi1) / 2)
    sin_lambda = math.sin(math.radians(longitude2 - longitude1) / 2)
    a = sin_phi * sin_phi + math.cos(phi1) * math.cos(phi2) * sin_lambda * sin_lambda
    return 2 * EARTH_RADIUS_M * math.asin(math.sqrt(min(1.0, a)))


def moved_at_most_m(
    latitude1: float, longitude1: float, latitude2: float, longitude2: float
) -> float:
    """Metres that the great-circle distance does not exceed: first along a meridian, then a
    parallel, as on the equator. A third of its price."""
    degrees = abs(latitude2 - latitude1) + abs(longitude2 - longitude1)
    return degrees * METRES_PER_DEGREE


def cell_at(latitude: float, longitude: float) -> int:
    """The cell that holds a point."""
    cell: int = h3.latlng_to_cell(latitude, longitude, CELL_RESOLUTION)
    return cell


# A city has some ten thousand cells that are driven in; looked up in a quarter of the time.
@lru_cache(maxsize=16_384)
def parent_of(cell: int) -> int:
    """The parent that tags a cell's keys."""
    parent: int = h3.cell_to_parent(cell, PARENT_RESOLUTION)
    return parent


class CellCover:
    """The cells around one point, nearest first."""

    def __init__(self, latitude: float, longitude: float) -> None:
        self._latitude = latitude
        self._longitude = longitude
        self.centre = cell_at(latitude, longitude)
        self._reach_m = _circumradius_m(self.centre) * SIZE_MARGIN

    def ring(self, number: int) -> list[int]:
        """The cells at grid distance `number` from the point's own."""
        return list(h3.grid_ring(self.centre, number))

    def lower_bound_m(self, cell: int) -> float:
        """Metres to the cell at least: no place in it is nearer to the point."""
        latitude, longitude = h3.cell_to_latlng(cell)
        centre_m = distance_m(self._latitude, self._longitude, latitude, longitude)
        return max(0.0, centre_m - self._reach_m)

    def beyond_ring_m(self, number: int) -> float:
        """Metres to whatever lies outside ring `number` at least."""
        return min(self.lower_bound_m(cell) for cell in self.ring(number + 1))

    def parents_within(self, radius_m: float) -> list[int]:
        """Every parent that may hold a cell with a place within the radius; some that do not."""
        parent = parent_of(self.centre)
        reach_m = radius_m + _circumradius_m(parent) * PARENT_MARGIN
        found, number = [parent], 0
        while True:
            number += 1
            near = [cell for cell in h3.grid_ring(parent, number) if self._is_within(cell, reach_m)]
            if not near:
                return found
            found.extend(near)

    def _is_within(self, cell: int, reach_m: float) -> bool:
        latitude, longitude = h3.cell_to_latlng(cell)
        return distance_m(self._latitude, self._longitude, latitude, longitude) <= reach_m


@lru_cache(maxsize=4096)
def _circumradius_m(cell: int) -> float:
    latitude, longitude = h3.cell_to_latlng(cell)
    corners = h3.cell_to_boundary(cell)
    return max(distance_m(latitude, longitude, *corner) for corner in corners)
