"""
Trips as protos, and protos as the domain's values; also what a key stands for.

All answers of this service that hold one trip hold it in field 1 and nothing
else, so they have the same bytes whatever they are called: the answer that is
stored is read back as the message of the method that repeats it.
"""

import base64
import binascii
import datetime as dt
import hashlib
from collections.abc import Collection
from typing import Any, Final

from hailstorm.runtime.violations import Violations, is_id
from hailstorm.trip.repository.reads import PageEnd
from hailstorm.trip.repository.writes import Key
from hailstorm.trip.states import State
from hailstorm.trip.trips import Place, Trip
from hailstorm.trip.v1 import trip_pb2
from hailstorm.types.v1 import types_pb2

_STATES: Final = {state: types_pb2.TripState.Value(f"TRIP_STATE_{state.value}") for state in State}
_MICROSECOND: Final = dt.timedelta(microseconds=1)
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def write_trip(message: Any, trip: Trip) -> None:
    """Fill a hailstorm.types.v1.Trip."""
    message.city_id = trip.city_id
    message.trip_id = trip.trip_id
    message.rider_id = trip.rider_id
    message.state = _STATES[trip.state]
    message.version = trip.version
    message.pickup.latitude = trip.pickup.latitude
    message.pickup.longitude = trip.pickup.longitude
    message.dropoff.latitude = trip.dropoff.latitude
    message.dropoff.longitude = trip.dropoff.longitude
    message.surge_multiplier = trip.surge_multiplier
    _write_time(message.requested_at, trip.requested_at)
    _write_time(message.updated_at, trip.updated_at)
    if trip.driver_id is not None:
        message.driver_id = trip.driver_id
    if trip.offer_id is not None:
        message.offer_id = trip.offer_id
    if trip.offer_expires_at is not None:
        _write_time(message.offer_expires_at, trip.offer_expires_at)
    if trip.end_reason is not None:
        message.end_reason = trip.end_reason


def _write_time(message: Any, at: dt.datetime) -> None:
    # As Timestamp.FromDatetime, which goes through a tuple and a calendar: three
    # of them are in every answer.
    since = at - _EPOCH
    message.seconds = since.days * 86_400 + since.seconds
    message.nanos = since.microseconds * 1_000


def encode_answer(trip: Trip) -> bytes:
    """The bytes of any answer that holds the trip and nothing else."""
    answer = trip_pb2.GetTripResponse()
    write_trip(answer.trip, trip)
    return bytes(answer.SerializeToString())


def place_of(point: Any) -> Place:
    """Read a hailstorm.types.v1.LatLng."""
    return Place(point.latitude, point.longitude)


def key_of(method: str, actor: str, request: Any, without: Collection[str] = ()) -> Key:
    """
    The key of a request, and the hash of what its repetitions must have equal.

    `without` names the fields that a repetition may have otherwise, since
    whoever repeats has to find them anew.
    """
    same = request
    if without:
        same = type(request)()
        same.CopyFrom(request)
        for field in without:
            same.ClearField(field)
    digest = hashlib.sha256(same.SerializeToString(deterministic=True)).digest()
    return Key(f"{method}/{actor}" if actor else method, request.idempotency_key, digest)


def encode_page_end(end: PageEnd) -> str:
    """The page_token behind which the next page begins."""
    microseconds = (end.requested_at - _EPOCH) // _MICROSECOND
    return base64.urlsafe_b64encode(f"{microseconds}/{end.trip_id}".encode()).decode()


def decode_page_end(violations: Violations, field: str, token: str) -> PageEnd | None:
    """Read a page_token; None for the first page. Notes a violation for what is none."""
    if not token:
        return None
    try:
        microseconds, _, trip_id = base64.urlsafe_b64decode(token).decode().partition("/")
        end = PageEnd(_EPOCH + int(microseconds) * _MICROSECOND, trip_id)
    except (ValueError, OverflowError, binascii.Error):
        end = None
    if end is None or not is_id(end.trip_id):
        violations.add(field, "is not a token of an earlier answer")
        return None
    return end
