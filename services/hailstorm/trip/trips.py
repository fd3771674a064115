"""
A trip and what may become of it: pure decisions over one record.

A decision takes the record as it stands and the store's own time, and gives
the record as it will stand, or raises. Nothing here is written: the repository
writes the result if, and only if, the version is still the one decided upon.
"""

import dataclasses
import datetime as dt
import re
from dataclasses import dataclass
from typing import Final

from hailstorm.trip.errors import (
    NotYoursError,
    OfferNotFoundError,
    OfferOverError,
    VersionChangedError,
    WrongStateError,
)
from hailstorm.trip.states import ACCEPTED, FINAL, UNBOUND, Move, State, next_state

# Offers are named after the trip and the version that made them: whoever holds
# the name finds the offer in the history, without one more index to keep.
_OFFER_ID: Final = re.compile(r"(?P<trip_id>.+)-o(?P<version>[1-9][0-9]{0,8})")

# The moves that only the trip's own driver may make.
DRIVER_MOVES: Final = frozenset({Move.APPROACH, Move.START, Move.COMPLETE})


@dataclass(frozen=True, slots=True)
class Place:
    """Degrees, WGS 84."""

    latitude: float
    longitude: float


@dataclass(frozen=True, slots=True)
class Trip:
    """
    A trip as it stands at one version.

    Attributes:
        move: what brought it here.
        offer_expires_at: set in OFFERED and nowhere else, as `offer_id`.
        end_reason: set in CANCELLED and UNFULFILLED; a CamelCase fact, or the
            words of whoever cancelled.
    """

    city_id: str
    trip_id: str
    rider_id: str
    pickup: Place
    dropoff: Place
    surge_multiplier: float
    quote_id: str | None
    requested_at: dt.datetime
    state: State
    version: int
    move: Move
    updated_at: dt.datetime
    driver_id: str | None = None
    offer_id: str | None = None
    offer_expires_at: dt.datetime | None = None
    end_reason: str | None = None

    def is_offer_over(self, now: dt.datetime) -> bool:
        """Whether this is an offer whose time has run out; such an offer is not live."""
        return self.offer_expires_at is not None and self.offer_expires_at <= now


@dataclass(frozen=True, slots=True)
class Answer:
    """A driver's yes or no to one offer."""

    offer_id: str
    driver_id: str
    accepts: bool


def offer_id_of(trip_id: str, version: int) -> str:
    """Name the offer that `version` of the trip makes."""
    return f"{trip_id}-o{version}"


def parse_offer_id(offer_id: str, driver_id: str) -> tuple[str, int]:
    """Find trip and version in the name. Raises OfferNotFoundError for any other name."""
    match = _OFFER_ID.fullmatch(offer_id)
    if match is None:
        raise OfferNotFoundError(offer_id, driver_id)
    return match["trip_id"], int(match["version"])


def moved(trip: Trip, move: Move, now: dt.datetime, reason: str | None = None) -> Trip:
    """
    The trip after `move`. Raises WrongStateError where the table has none.

    Of an offer that ends without a yes, nothing stays bound.
    """
    state = next_state(trip.state, move)
    if state is None:
        raise WrongStateError(trip.trip_id, trip.state, trip.version, move)
    never_accepted = state in UNBOUND or (trip.state is State.OFFERED and state is State.CANCELLED)
    return dataclasses.replace(
        trip,
        state=state,
        version=trip.version + 1,
        move=move,
        # Clocks may jump; a history does not go back.
        updated_at=max(now, trip.updated_at),
        driver_id=None if never_accepted else trip.driver_id,
        offer_id=None,
        offer_expires_at=None,
        end_reason=reason if state in FINAL else None,
    )


def decide_offer(trip: Trip, driver_id: str, ttl: dt.timedelta, now: dt.datetime) -> Trip:
    """The trip with an offer to `driver_id`. Raises WrongStateError."""
    offered = moved(trip, Move.OFFER, now)
    return dataclasses.replace(
        offered,
        driver_id=driver_id,
        offer_id=offer_id_of(offered.trip_id, offered.version),
        offer_expires_at=offered.updated_at + ttl,
    )


def decide_answer(
    trip: Trip, made: Trip | None, answer: Move | None, answering: Answer, now: dt.datetime
) -> Trip:
    """
    The trip after its driver's answer.

    `made` is the record that made the offer, `answer` the move that followed
    it, if any. Returns `trip` itself when this very offer was accepted before
    and the trip is still that driver's. Raises OfferNotFoundError, OfferOverError.
    """
    if made is None or made.offer_id is None or made.driver_id != answering.driver_id:
        raise OfferNotFoundError(answering.offer_id, answering.driver_id)
    if trip.offer_id == made.offer_id:
        if trip.is_offer_over(now):
            raise OfferOverError(made.offer_id, "has expired")
        return moved(trip, Move.ACCEPT if answering.accepts else Move.DECLINE, now)
    still_theirs = trip.state in ACCEPTED or trip.state is State.COMPLETED
    if answering.accepts and answer is Move.ACCEPT and still_theirs:
        return trip
    raise OfferOverError(made.offer_id, f"is no longer live; its trip is {trip.state}")


def decide_drive(
    trip: Trip, move: Move, driver_id: str, expected_version: int | None, now: dt.datetime
) -> Trip:
    """
    The trip after its driver's `move`, one of DRIVER_MOVES.

    Raises NotYoursError, VersionChangedError, WrongStateError, in this order:
    a stranger learns nothing of the trip.
    """
    if trip.driver_id != driver_id and trip.driver_id is not None:
        raise NotYoursError(trip.trip_id, driver_id)
    _check_version(trip, expected_version)
    return moved(trip, move, now)


def decide_cancel(
    trip: Trip, actor_id: str, reason: str, expected_version: int | None, now: dt.datetime
) -> Trip:
    """
    The trip after its rider or driver called it off. Errors as for `decide_drive`.

    A driver who was only asked is not its driver: they decline, and others are asked.
    """
    driver_id = None if trip.state is State.OFFERED else trip.driver_id
    if actor_id not in (trip.rider_id, driver_id):
        raise NotYoursError(trip.trip_id, actor_id)
    _check_version(trip, expected_version)
    by = "CancelledByRider" if actor_id == trip.rider_id else "CancelledByDriver"
    return moved(trip, Move.CANCEL, now, reason or by)


def decide_abandon(trip: Trip, reason: str, expected_version: int | None, now: dt.datetime) -> Trip:
    """
    The trip given up. One that was given up before is returned as it is.

    Raises VersionChangedError, and WrongStateError when it has a driver, or has
    ended otherwise.
    """
    if trip.state is State.UNFULFILLED:
        return trip
    _check_version(trip, expected_version)
    return moved(trip, Move.ABANDON, now, reason)


def _check_version(trip: Trip, expected: int | None) -> None:
    if expected is not None and expected != trip.version:
        raise VersionChangedError(trip.trip_id, expected, trip.version)
