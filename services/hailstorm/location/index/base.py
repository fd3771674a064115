"""
What an index of available drivers can do.

An index is a hint that ages: an entry that was not renewed for the silence
period is not found, so nothing ever has to be cleaned up for a search to be
right. Commands are returned rather than run where a caller puts those of many
drivers into one pipeline.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

from hailstorm.location.positions import Fix
from hailstorm.location.store import Command


class Entry(NamedTuple):
    """A driver's place in the index: the cell and the exact member."""

    cell: int
    member: str


class Found(NamedTuple):
    """A driver near a point."""

    fix: Fix
    distance_m: float


class Change(NamedTuple):
    """
    What changes in the index of one city.

    Attributes:
        now_ms: our time; whoever is seen ahead of it is seen now.
    """

    city_id: str
    removed: Sequence[Entry]
    added: Collection[tuple[Entry, Fix]]
    now_ms: int


class Search(NamedTuple):
    """A point in a city, and who is looked for around it."""

    city_id: str
    latitude: float
    longitude: float
    max_drivers: int
    max_radius_m: float
    now_ms: int


class DriverIndex(Protocol):
    """Available drivers by place."""

    def update(self, change: Change) -> list[Command]:
        """
        The commands that take entries out and put entries in.

        Each has keys of one slot only. Repeating them changes nothing.
        """

    async def search(self, search: Search) -> list[Found]:
        """
        The nearest drivers within the radius, nearest first, each once.

        Raises StoreUnavailableError; may be repeated.
        """
