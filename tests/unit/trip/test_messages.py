"""Trips as protos, keys, and page tokens."""

import datetime as dt
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hailstorm.runtime.errors import InvalidArgumentError
from hailstorm.runtime.violations import Violations
from hailstorm.trip.ids import new_trip_id
from hailstorm.trip.messages import (
    decode_page_end,
    encode_answer,
    encode_page_end,
    key_of,
)
from hailstorm.trip.repository.reads import PageEnd
from hailstorm.trip.states import Move, State
from hailstorm.trip.trips import Place, Trip
from hailstorm.trip.v1 import trip_pb2

ANSWERS = [
    trip_pb2.CreateTripResponse,
    trip_pb2.OfferTripResponse,
    trip_pb2.AnswerOfferResponse,
    trip_pb2.AbandonTripResponse,
    trip_pb2.ApproachPickupResponse,
    trip_pb2.StartTripResponse,
    trip_pb2.CompleteTripResponse,
    trip_pb2.CancelTripResponse,
    trip_pb2.GetTripResponse,
]
AT = dt.datetime(2026, 7, 1, 12, 0, 0, 123456, tzinfo=dt.UTC)
TRIP = Trip(
    city_id="nyc", trip_id="trip-1", rider_id="rider-1", pickup=Place(40.7, -74.0),
    dropoff=Place(40.6, -73.8), surge_multiplier=1.5, quote_id=None, requested_at=AT,
    state=State.OFFERED, version=2, move=Move.OFFER, updated_at=AT, driver_id="driver-1",
    offer_id="trip-1-o2", offer_expires_at=AT,
)  # fmt: skip


@pytest.mark.parametrize("kind", ANSWERS, ids=lambda kind: kind.DESCRIPTOR.name)
def test_stored_answer_reads_as_any_answer(kind: type[trip_pb2.GetTripResponse]) -> None:
    stored = encode_answer(TRIP)
    answer = kind.FromString(stored)
    assert answer.SerializeToString() == stored
    assert answer.trip.state == 2
    assert answer.trip.offer_expires_at.ToDatetime(tzinfo=dt.UTC) == AT
    assert not answer.trip.HasField("end_reason")


def test_key_hashes_all_but_what_may_differ() -> None:
    first = trip_pb2.OfferTripRequest(idempotency_key="key-1234", trip_id="t", driver_ids=["a"])
    other = trip_pb2.OfferTripRequest(idempotency_key="key-1234", trip_id="t", driver_ids=["b"])
    loose = [key_of("OfferTrip", "", each, without=("driver_ids",)) for each in (first, other)]
    strict = [key_of("OfferTrip", "", each) for each in (first, other)]
    assert loose[0] == loose[1]
    assert strict[0].request_hash != strict[1].request_hash


@given(
    st.integers(0, 7_000_000_000_000_000),
    st.text("abc-123", min_size=1, max_size=64),
)
def test_page_token_gives_its_place_back(microseconds: int, trip_id: str) -> None:
    violations = Violations()
    at = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=microseconds)
    end = PageEnd(at, trip_id)
    assert decode_page_end(violations, "page_token", encode_page_end(end)) == end
    violations.raise_if_any()


@pytest.mark.parametrize(
    "token", ["x", "ü", "AAAA", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OS9h", "////", "MS9hAA=="]
)
def test_bad_page_token_is_named(token: str) -> None:
    violations = Violations()
    decode_page_end(violations, "page_token", token)
    with pytest.raises(InvalidArgumentError, match="page_token"):
        violations.raise_if_any()


def test_trip_ids_are_uuids_of_version_7_in_order_of_time() -> None:
    ids = [new_trip_id(1_800_000_000 + second) for second in range(100)]
    assert ids == sorted(ids)
    assert {uuid.UUID(each).version for each in ids} == {7}
    assert {uuid.UUID(each).variant for each in ids} == {uuid.RFC_4122}
    assert len({new_trip_id(1.0) for _ in range(1000)}) == 1000
