"""Chooses the index that the settings name."""

from hailstorm.location.index.base import DriverIndex
from hailstorm.location.index.geosearch import GeosearchIndex
from hailstorm.location.index.ring import RingIndex
from hailstorm.location.settings import IndexKind, PositionSettings
from hailstorm.location.store import Store


def build_index(settings: PositionSettings, store: Store) -> DriverIndex:
    """The index of `settings.index`, over `store`."""
    if settings.index is IndexKind.GEOSEARCH:
        return GeosearchIndex(settings, store)
    return RingIndex(settings, store)
