"""A trip from request to completion through the real edge, and what is refused on the way."""

from typing import Any

import pytest

from edge_calls import TIMES_SQUARE, Call, ping, request_trip

NOT_ON_EARTH = {"latitude": 123.0, "longitude": 0.0}


def test_trip_lives_from_request_to_completion(edge: Call, city: str) -> None:
    assert ping(edge, city, "driver-1").body == {"acceptedCount": 1, "refused": []}
    requested = request_trip(edge, city)
    assert requested.status == 200, requested
    trip = requested.body["trip"]
    assert (trip["state"], trip["driverId"]) == ("TRIP_STATE_MATCHED", "driver-1")

    path = f"/v1/cities/{city}/trips/{trip['tripId']}"
    for verb, state in (
        ("approach", "TRIP_STATE_ARRIVING"),
        ("start", "TRIP_STATE_IN_PROGRESS"),
        ("complete", "TRIP_STATE_COMPLETED"),
    ):
        body = {"idempotencyKey": f"key-{verb}-{trip['tripId']}"[:64], "driverId": "driver-1"}
        reply = edge("POST", f"{path}:{verb}", body)
        assert reply.status == 200, reply
        assert reply.body["trip"]["state"] == state
        assert edge("POST", f"{path}:{verb}", body).body == reply.body, "a repeat gives the same"
    assert edge("GET", path).body["trip"]["state"] == "TRIP_STATE_COMPLETED"


def test_one_driver_is_never_given_to_two_riders(edge: Call, city: str) -> None:
    ping(edge, city, "driver-1")
    first, second = request_trip(edge, city), request_trip(edge, city)
    assert first.body["trip"]["state"] == "TRIP_STATE_MATCHED"
    assert second.body["trip"]["state"] == "TRIP_STATE_UNFULFILLED"
    assert second.body["trip"]["endReason"]


def test_repeated_request_gives_the_same_trip(edge: Call, city: str) -> None:
    ping(edge, city, "driver-1", "driver-2")
    first = request_trip(edge, city, key="one-tap-of-one-rider")
    again = request_trip(edge, city, key="one-tap-of-one-rider")
    assert again.body["trip"]["tripId"] == first.body["trip"]["tripId"]
    other = request_trip(edge, city, key="one-tap-of-one-rider", dropoff=TIMES_SQUARE)
    assert other.status == 409, other
    assert "idempotency_key" in str(other.body)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"pickup": NOT_ON_EARTH}, "pickup.latitude"),
        ({"dropoff": None}, "dropoff"),
        ({"riderId": ""}, "rider_id"),
        ({"idempotencyKey": ""}, "idempotency_key"),
        ({"idempotencyKey": "short"}, "idempotency_key"),
        ({"riderId": "x" * 65}, "rider_id"),
    ],
)
def test_bad_request_names_its_field(
    edge: Call, city: str, changes: dict[str, Any], field: str
) -> None:
    reply = request_trip(edge, city, **changes)
    assert reply.status == 400, reply
    assert field in reply.field_violations(), reply


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/v1/cities/nyc/trips/no-such-trip", None, 404),
        ("POST", "/v1/cities/nyc/trips", b"{not json", 400),
        ("POST", "/v1/cities/nyc/trips", b"\xff\xfe", 400),
        ("GET", "/nothing/here", None, 404),
        ("POST", "/v1/cities/nyc/trips/no-such-trip:start",
         {"idempotencyKey": "key-123456", "driverId": "d"}, 404),
        ("GET", "/v1/cities/nyc/drivers:nearby?point.latitude=NaN&point.longitude=0", None, 400),
        ("GET", "/v1/cities/nyc/trips?pageSize=-1&riderId=r", None, 400),
    ],
)  # fmt: skip
def test_nonsense_gets_its_status(
    edge: Call, method: str, path: str, body: Any, status: int
) -> None:
    reply = edge(method, path, body)
    assert reply.status == status, reply


def test_oversized_batch_is_refused(edge: Call, city: str) -> None:
    reply = ping(edge, city, *(f"driver-{n}" for n in range(501)))
    assert reply.status == 400, reply
    assert "positions" in reply.field_violations()


def test_wrong_state_and_wrong_driver_are_told_apart(edge: Call, city: str) -> None:
    ping(edge, city, "driver-1")
    trip = request_trip(edge, city).body["trip"]
    path = f"/v1/cities/{city}/trips/{trip['tripId']}"
    early = edge(
        "POST", f"{path}:complete", {"idempotencyKey": "k-complete", "driverId": "driver-1"}
    )
    assert early.status == 400, early
    assert early.body["code"] == 9, "FAILED_PRECONDITION"
    thief = edge(
        "POST", f"{path}:approach", {"idempotencyKey": "k-approach", "driverId": "driver-2"}
    )
    assert thief.status == 403, thief


def test_calls_between_services_are_not_public(edge: Call) -> None:
    for method in ("CreateTrip", "OfferTrip", "AbandonTrip"):
        reply = edge("POST", f"/hailstorm.trip.v1.TripService/{method}", {})
        assert reply.status in (403, 404), reply
