"""Rows of `trips` and `trip_events` as Trip records, and the columns they take."""

from typing import Any, Final

from hailstorm.trip.states import Move, State
from hailstorm.trip.trips import Place, Trip

# What a trip is from its first moment on.
_FIXED: Final = (
    "city_id",
    "trip_id",
    "rider_id",
    "pickup_latitude",
    "pickup_longitude",
    "dropoff_latitude",
    "dropoff_longitude",
    "surge_multiplier",
    "quote_id",
    "requested_at",
)
# What every version of it says anew.
_CHANGING: Final = (
    "version",
    "move",
    "state",
    "driver_id",
    "offer_id",
    "offer_expires_at",
    "end_reason",
)


def trip_columns(trips: str) -> str:
    """The columns of a trip as it stands; `trips` is the table's alias."""
    return ", ".join(f"{trips}.{name}" for name in (*_FIXED, *_CHANGING, "updated_at"))


def event_columns(trips: str, events: str) -> str:
    """The columns of a trip as it stood at an event."""
    fixed = (f"{trips}.{name}" for name in _FIXED)
    changing = (f"{events}.{name}" for name in _CHANGING)
    return ", ".join((*fixed, *changing, f"{events}.occurred_at AS updated_at"))


def trip_of(row: Any) -> Trip:
    """Read a row that has either of the two lists of columns."""
    return Trip(
        city_id=row["city_id"],
        trip_id=row["trip_id"],
        rider_id=row["rider_id"],
        pickup=Place(row["pickup_latitude"], row["pickup_longitude"]),
        dropoff=Place(row["dropoff_latitude"], row["dropoff_longitude"]),
        surge_multiplier=row["surge_multiplier"],
        quote_id=row["quote_id"],
        requested_at=row["requested_at"],
        state=State(row["state"]),
        version=row["version"],
        move=Move(row["move"]),
        updated_at=row["updated_at"],
        driver_id=row["driver_id"],
        offer_id=row["offer_id"],
        offer_expires_at=row["offer_expires_at"],
        end_reason=row["end_reason"],
    )
