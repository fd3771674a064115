"""
What is on record of riders and cities, with its version.

A schema that does not have them yet says of nobody that he is blocked: pods of
a new release may serve before its migration has run.
"""

from dataclasses import dataclass
from typing import Any, Final

from hailstorm.trip.errors import SchemaMissingError
from hailstorm.trip.repository.database import Database


@dataclass(frozen=True, slots=True)
class Rider:
    """A rider's profile."""

    display_name: str
    is_blocked: bool
    version: int


@dataclass(frozen=True, slots=True)
class City:
    """What is said of a city."""

    name: str
    is_open: bool
    version: int


_RIDER: Final = """
SELECT display_name, status = 'blocked' AS is_blocked, version FROM riders
WHERE city_id = $1 AND rider_id = $2
"""
_CITY: Final = "SELECT name, is_open, version FROM cities WHERE city_id = $1"


async def rider(database: Database, city_id: str, rider_id: str) -> Rider | None:
    """The rider's profile, if there is one."""
    row = await _row(database, _RIDER, city_id, rider_id)
    return None if row is None else Rider(*row.values())


async def city(database: Database, city_id: str) -> City | None:
    """What is said of the city, if anything."""
    row = await _row(database, _CITY, city_id)
    return None if row is None else City(*row.values())


async def _row(database: Database, statement: str, *arguments: str) -> Any:
    try:
        rows = await database.fetch(statement, *arguments)
    except SchemaMissingError:
        return None
    return rows[0] if rows else None
