"""
Where the available drivers are: one protocol, two implementations.

`ring` is the index; `geosearch` is what it replaced, kept to show the difference.
"""

from hailstorm.location.index.base import DriverIndex, Entry, Found
from hailstorm.location.index.choice import build_index

__all__ = ["DriverIndex", "Entry", "Found", "build_index"]
