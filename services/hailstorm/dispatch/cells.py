"""The H3 cells that dispatch counts and matches in; integers, which h3 handles fastest."""

from typing import Final

import h3.api.basic_int as h3

# About 0.7 km2, 500 m an edge: riders of one cell compete for the same drivers,
# and a price that changes from street to street would be gamed (Uber's choice).
MARKET_RESOLUTION: Final = 8
# About 36 km2, 3.7 km an edge: as wide as the first look reaches. Requests that
# have just come are matched with those of their cell.
MATCHING_RESOLUTION: Final = 6
# About 12,000 km2, a city and its suburbs: riders who wait are matched across all
# of it, since their last look reaches far. In smaller blocks a car goes to the
# block that is solved first (benchmarks/matching.py: mean waits in overload were 2
# to 4 % longer with resolution 4, 5 to 9 % with 6).
WAITING_RESOLUTION: Final = 3


def market_cell(latitude: float, longitude: float) -> int:
    """The cell whose prices hold at a point."""
    cell: int = h3.latlng_to_cell(latitude, longitude, MARKET_RESOLUTION)
    return cell


def matching_cell(latitude: float, longitude: float) -> int:
    """The cell whose new requests are matched together."""
    cell: int = h3.latlng_to_cell(latitude, longitude, MATCHING_RESOLUTION)
    return cell


def waiting_cell(latitude: float, longitude: float) -> int:
    """The cell whose waiting riders are matched together."""
    cell: int = h3.latlng_to_cell(latitude, longitude, WAITING_RESOLUTION)
    return cell


def centre(cell: int) -> tuple[float, float]:
    """Latitude and longitude of a cell's centre, in degrees."""
    latitude, longitude = h3.cell_to_latlng(cell)
    return latitude, longitude


def cell_name(cell: int) -> str:
    """As flags and logs name a cell, for instance 882a100d2dfffff."""
    return f"{cell:x}"
