"""What TripService refuses at its border, and what it says without a store."""

from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from hailstorm.trip.v1 import trip_pb2
from hailstorm.types.v1 import types_pb2
from service_in_process import InProcessService
from trip_calls import TripCalls

SPOT = types_pb2.LatLng(latitude=40.7, longitude=-74.0)
KEYED = {"idempotency_key": "key-12345", "city_id": "nyc"}
TRIP = {**KEYED, "trip_id": "trip-1"}
DRIVE = {**TRIP, "driver_id": "driver-1"}

# One good request of each method; the store is all that is missing.
GOOD: dict[str, dict[str, Any]] = {
    "CreateTrip": {**KEYED, "rider_id": "rider-1", "pickup": SPOT, "dropoff": SPOT},
    "FindCreatedTrip": {"request": {**KEYED, "rider_id": "rider-1", "pickup": SPOT}},
    "OfferTrip": {**TRIP, "driver_ids": ["driver-1"]},
    "AnswerOffer": {**KEYED, "offer_id": "trip-1-o2", "driver_id": "driver-1", "accept": True},
    "ListOffers": {"city_id": "nyc", "driver_ids": ["driver-1"]},
    "ClaimSearches": {"max_trips": 1, "lease": {"seconds": 1}},
    "CountRequests": {"window": {"seconds": 60}},
    "AbandonTrip": {**TRIP, "reason": "NoDriverNear"},
    "ApproachPickup": DRIVE,
    "StartTrip": DRIVE,
    "CompleteTrip": DRIVE,
    "CancelTrip": {**TRIP, "actor_id": "rider-1"},
    "GetTrip": {"city_id": "nyc", "trip_id": "trip-1"},
    "ListTrips": {"city_id": "nyc", "rider_id": "rider-1"},
    "WatchTrip": {"city_id": "nyc", "trip_id": "trip-1"},
}
HERE_AND_NOWHERE = types_pb2.LatLng(latitude=float("nan"), longitude=-190)
WORDS = {f"request.{name}" for name in ("idempotency_key", "city_id", "rider_id")}
BAD: list[tuple[str, dict[str, Any], set[str]]] = [
    ("CreateTrip", {"idempotency_key": "short"}, {"idempotency_key"}),
    ("CreateTrip", {"idempotency_key": "", "city_id": ""}, {"idempotency_key", "city_id"}),
    ("CreateTrip", {"rider_id": "a b"}, {"rider_id"}),
    ("CreateTrip", {"pickup": None}, {"pickup"}),
    ("CreateTrip", {"dropoff": HERE_AND_NOWHERE}, {"dropoff.latitude", "dropoff.longitude"}),
    ("CreateTrip", {"surge_multiplier": 3.1}, {"surge_multiplier"}),
    ("CreateTrip", {"surge_multiplier": float("nan")}, {"surge_multiplier"}),
    ("CreateTrip", {"quote_id": ""}, {"quote_id"}),
    ("FindCreatedTrip", {"request": None}, WORDS),
    ("OfferTrip", {"driver_ids": []}, {"driver_ids"}),
    ("OfferTrip", {"driver_ids": ["d"] * 101}, {"driver_ids"}),
    ("OfferTrip", {"driver_ids": ["d", "é"]}, {"driver_ids[1]"}),
    ("OfferTrip", {"offer_ttl": {"seconds": -1}}, {"offer_ttl"}),
    ("OfferTrip", {"offer_ttl": {"seconds": 315_576_000_000}}, {"offer_ttl"}),
    ("AnswerOffer", {"offer_id": ""}, {"offer_id"}),
    ("ListOffers", {"driver_ids": ["d"] * 501}, {"driver_ids"}),
    ("ListOffers", {"known_offer_ids": ["o"] * 501}, {"known_offer_ids"}),
    ("ClaimSearches", {"max_trips": 0, "lease": None}, {"max_trips", "lease"}),
    ("ClaimSearches", {"max_trips": 501, "min_age": {"seconds": -1}}, {"max_trips", "min_age"}),
    ("CountRequests", {"window": {"seconds": 3601}}, {"window"}),
    ("AbandonTrip", {"reason": "two words"}, {"reason"}),
    ("AbandonTrip", {"expected_version": 0}, {"expected_version"}),
    ("ApproachPickup", {"trip_id": "", "driver_id": ""}, {"trip_id", "driver_id"}),
    ("StartTrip", {"expected_version": 0}, {"expected_version"}),
    ("CompleteTrip", {"expected_version": -1}, {"expected_version"}),
    ("CancelTrip", {"actor_id": ""}, {"actor_id"}),
    ("CancelTrip", {"reason": "x" * 201}, {"reason"}),
    ("CancelTrip", {"reason": "a\0b"}, {"reason"}),
    ("GetTrip", {"trip_id": "x" * 65}, {"trip_id"}),
    ("ListTrips", {"rider_id": None}, {"rider_id"}),
    ("ListTrips", {"page_size": 101}, {"page_size"}),
    ("ListTrips", {"page_size": -1}, {"page_size"}),
    ("ListTrips", {"page_token": "nonsense"}, {"page_token"}),
    ("WatchTrip", {"after_version": -1}, {"after_version"}),
]


async def refusal(calls: TripCalls, method: str, fields: dict[str, Any]) -> grpc.aio.AioRpcError:
    """The error of a method called with these fields; None leaves a field out."""
    request = getattr(trip_pb2, f"{method}Request")(
        **{name: value for name, value in fields.items() if value is not None}
    )
    call = getattr(calls.stub, method)(request, timeout=20)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await (call.read() if method == "WatchTrip" else call)
    return raised.value


def detail(error: grpc.aio.AioRpcError, kind: Any) -> Any:
    """The detail of this kind; AssertionError when there is none."""
    status = rpc_status.from_call(error)
    assert status is not None
    for each in status.details:
        found = kind()
        if each.Unpack(found):
            return found
    raise AssertionError(f"no {kind.DESCRIPTOR.name} in {status}")


@pytest.mark.parametrize(
    ("method", "change", "fields"), BAD, ids=lambda value: value if isinstance(value, str) else ""
)
async def test_bad_field_is_named(
    calls: TripCalls, method: str, change: dict[str, Any], fields: set[str]
) -> None:
    error = await refusal(calls, method, {**GOOD[method], **change})
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    violations = detail(error, error_details_pb2.BadRequest).field_violations
    assert {violation.field for violation in violations} == fields


@pytest.mark.parametrize("method", GOOD)
async def test_every_method_is_unavailable_without_its_store(calls: TripCalls, method: str) -> None:
    """And says when to come again; nothing is INTERNAL, nothing hangs."""
    error = await refusal(calls, method, GOOD[method])
    if method == "AnswerOffer":
        # Its name says which trip, so the store is asked for it.
        assert "offer" not in (error.details() or "")
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert detail(error, error_details_pb2.ErrorInfo).reason == "POSTGRES_UNAVAILABLE"
    assert detail(error, error_details_pb2.RetryInfo).retry_delay.ToMilliseconds() > 0
    assert int(dict(error.trailing_metadata() or ())["grpc-retry-pushback-ms"]) > 0


def test_every_method_of_the_service_is_tested() -> None:
    service = trip_pb2.DESCRIPTOR.services_by_name["TripService"]
    assert {method.name for method in service.methods} == GOOD.keys()


async def test_service_is_ready_without_its_store(service: InProcessService) -> None:
    assert service.lifecycle.state.value == "SERVING"
