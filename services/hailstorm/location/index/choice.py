"""Builds the index that the settings name, and the switch that a flag turns."""

from prometheus_client import CollectorRegistry

from hailstorm.location.index.base import DriverIndex
from hailstorm.location.index.geosearch import GeosearchIndex
from hailstorm.location.index.ring import RingIndex
from hailstorm.location.index.switch import IndexSwitch
from hailstorm.location.settings import IndexKind, PositionSettings
from hailstorm.location.store import Store
from hailstorm.runtime.clock import Clock
from hailstorm.runtime.flags import Flags


def build_index(settings: PositionSettings, store: Store) -> DriverIndex:
    """The index of `settings.index`, over `store`."""
    if settings.index is IndexKind.GEOSEARCH:
        return GeosearchIndex(settings, store)
    return RingIndex(settings, store)


def build_switch(
    settings: PositionSettings,
    store: Store,
    flags: Flags,
    clock: Clock,
    registry: CollectorRegistry,
) -> IndexSwitch:
    """The index that the flag `geo-backend` names, and `settings.index` while it names none."""
    indexes: dict[IndexKind, DriverIndex] = {
        IndexKind.RING: RingIndex(settings, store),
        IndexKind.GEOSEARCH: GeosearchIndex(settings, store),
    }
    return IndexSwitch(indexes, settings, flags, clock, registry)
