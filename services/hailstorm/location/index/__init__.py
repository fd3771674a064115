"""
Where the available drivers are: one protocol, two implementations, and a switch.

`ring` is the index; `geosearch` is what it replaced, kept to show the difference.
"""

from hailstorm.location.index.base import Change, DriverIndex, Entry, Found, Search
from hailstorm.location.index.choice import build_index, build_switch

__all__ = ["Change", "DriverIndex", "Entry", "Found", "Search", "build_index", "build_switch"]
