"""What a caller of the edge gets: the chart's own Envoy in front of two pods."""

import json
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from contract.charts.edge_process import Edge, Pod
from hailstorm.dispatch.v1 import dispatch_pb2, dispatch_pb2_grpc
from hailstorm.location.v1 import location_pb2, location_pb2_grpc
from hailstorm.runtime.priority import PRIORITY_KEY, Priority
from hailstorm.trip.v1 import trip_pb2, trip_pb2_grpc

TRIP = "/v1/cities/nyc/trips"
GRPC_WEB = {"content-type": "application/grpc-web+proto"}


def get_trip(
    edge: Edge, trip_id: str, *, internal: bool = False, **options: Any
) -> tuple[Any, dict[str, Any]]:
    """GetTrip, and what came with the answer."""
    stub = trip_pb2_grpc.TripServiceStub(edge.channel(internal=internal))
    request = trip_pb2.GetTripRequest(city_id="nyc", trip_id=trip_id)
    answer, call = stub.GetTrip.with_call(request, **options)
    return answer.trip, dict(call.initial_metadata())


def refusal(call: Any, *arguments: Any, **options: Any) -> grpc.RpcError:
    """The error that a call ends with."""
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, **options)
    return caught.value


def frame(message: Any) -> bytes:
    """A message as gRPC-web sends it."""
    data: bytes = message.SerializeToString()
    return b"\0" + len(data).to_bytes(4, "big") + data


def test_answer_names_the_pod_and_the_attempts(edge: Edge, pods: list[Pod]) -> None:
    _, metadata = get_trip(edge, "t-1")
    assert metadata["x-hailstorm-upstream"] in {pod.address for pod in pods}
    assert metadata["x-envoy-attempt-count"] == "1"


def test_error_names_the_pod_and_keeps_its_details(edge: Edge, pods: list[Pod]) -> None:
    error = refusal(get_trip, edge, "fail-NOT_FOUND")
    assert error.code() is grpc.StatusCode.NOT_FOUND
    # An answer without a message has one block of headers: gRPC calls it trailers.
    trailers = dict(error.trailing_metadata())
    assert trailers["x-hailstorm-upstream"] in {pod.address for pod in pods}
    assert "grpc-status-details-bin" in trailers


@pytest.mark.parametrize("internal", [False, True])
def test_request_id_of_the_caller_is_kept(edge: Edge, internal: bool) -> None:
    sent = (("x-request-id", "tap-7"),)
    trip, metadata = get_trip(edge, "t-1", internal=internal, metadata=sent)
    # The stand-in writes what it was given into rider_id.
    assert trip.rider_id == "tap-7"
    assert metadata["x-request-id"] == "tap-7"


def test_request_id_is_made_when_there_is_none(edge: Edge) -> None:
    trip, metadata = get_trip(edge, "t-1")
    assert len(metadata["x-request-id"]) == 36
    assert trip.rider_id == metadata["x-request-id"]


def test_calls_of_one_connection_are_spread_over_pods(edge: Edge, pods: list[Pod]) -> None:
    stub = trip_pb2_grpc.TripServiceStub(edge.channel())
    request = trip_pb2.GetTripRequest(city_id="nyc", trip_id="t-1")
    seen = set()
    for _ in range(40):
        _, call = stub.GetTrip.with_call(request)
        seen.add(dict(call.initial_metadata())["x-hailstorm-upstream"])
    assert seen == {pod.address for pod in pods}


def test_call_without_a_deadline_gets_the_default(edge: Edge) -> None:
    error = refusal(get_trip, edge, "slow-5")
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    # The pod sees it too, so that it does not work for nobody.
    trip, _ = get_trip(edge, "t-1")
    assert 0.5 < float(trip.end_reason) <= 1


def test_deadline_of_the_caller_may_be_longer_than_the_default(edge: Edge) -> None:
    trip, _ = get_trip(edge, "slow-1.4", timeout=2)
    assert trip.trip_id == "slow-1.4"


def test_deadline_of_the_caller_is_cut_at_the_maximum(edge: Edge) -> None:
    error = refusal(get_trip, edge, "slow-5", timeout=20)
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_streams_outlive_the_deadline_of_calls(edge: Edge) -> None:
    stub = trip_pb2_grpc.TripServiceStub(edge.channel())
    request = trip_pb2.WatchTripRequest(city_id="nyc", trip_id="slow-0.8")
    assert [event.trip.version for event in stub.WatchTrip(request)] == [1, 2, 3]


def test_headers_that_steer_envoy_are_not_believed(edge: Edge) -> None:
    sent = (("x-envoy-upstream-rq-timeout-ms", "10"), ("x-envoy-max-retries", "0"))
    trip, _ = get_trip(edge, "slow-0.2", metadata=sent)
    assert trip.trip_id == "slow-0.2"


def test_class_of_a_call_is_believed_from_services_alone(edge: Edge) -> None:
    sent = ((PRIORITY_KEY, Priority.CRITICAL.word),)
    inside, _ = get_trip(edge, "t-1", internal=True, metadata=sent)
    assert inside.driver_id == "critical"
    outside, _ = get_trip(edge, "t-1", metadata=sent)
    assert outside.driver_id == "none"
    status, _, body = edge.http("GET", f"{TRIP}/t-1", b"", dict(sent))
    assert (status, json.loads(body)["trip"]["driverId"]) == (200, "none")


def test_request_above_the_limit_is_resource_exhausted(edge: Edge) -> None:
    stub = trip_pb2_grpc.TripServiceStub(edge.channel())
    error = refusal(stub.ListTrips, trip_pb2.ListTripsRequest(city_id="x" * 1_100_000))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    "method",
    ["CreateTrip", "FindCreatedTrip", "OfferTrip", "AnswerOffer", "ListOffers", "AbandonTrip"],
)
def test_method_for_services_is_refused_outside(edge: Edge, method: str) -> None:
    request = getattr(trip_pb2, f"{method}Request")()
    outside = getattr(trip_pb2_grpc.TripServiceStub(edge.channel()), method)
    assert refusal(outside, request).code() is grpc.StatusCode.PERMISSION_DENIED
    path = f"/hailstorm.trip.v1.TripService/{method}"
    status, headers, _ = edge.http("POST", path, frame(request), GRPC_WEB)
    assert (status, headers["grpc-status"]) == (403, "7")


def test_method_for_services_is_served_inside(edge: Edge) -> None:
    stub = trip_pb2_grpc.TripServiceStub(edge.channel(internal=True))
    answer = stub.CreateTrip(trip_pb2.CreateTripRequest(city_id="nyc", idempotency_key="k"))
    assert answer.trip.city_id == "nyc"


@pytest.mark.parametrize("internal", [False, True])
def test_method_that_nobody_listed_is_unimplemented(edge: Edge, internal: bool) -> None:
    stub = health_pb2_grpc.HealthStub(edge.channel(internal=internal))
    error = refusal(stub.Check, health_pb2.HealthCheckRequest())
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED


def test_json_asks_for_a_trip(edge: Edge) -> None:
    body = {"idempotencyKey": "tap-12345", "riderId": "r-1", "pickup": {"latitude": 40.7}}
    status, headers, answer = edge.http("POST", TRIP, body)
    assert status == 200
    assert headers["x-envoy-attempt-count"] == "1"
    trip = json.loads(answer)["trip"]
    assert trip["cityId"] == "nyc"
    assert trip["state"] == "TRIP_STATE_MATCHED"


def test_json_reads_fields_from_the_query(edge: Edge) -> None:
    path = "/v1/cities/nyc/drivers:nearby?point.latitude=40.7&point.longitude=-74&maxDrivers=3"
    status, _, answer = edge.http("GET", path)
    assert (status, json.loads(answer)) == (200, {"drivers": []})


# As many, and as long, as the services take.
MANY_IDS = [f"{i:0>64}" for i in range(500)]


def test_json_asks_where_many_drivers_are(edge: Edge) -> None:
    path = "/v1/cities/nyc/positions:batchGet"
    status, _, answer = edge.http("POST", path, {"driverIds": MANY_IDS})
    assert status == 200
    assert [each["driverId"] for each in json.loads(answer)["positions"]] == MANY_IDS


def test_json_fleet_waits_for_offers(edge: Edge) -> None:
    path = "/v1/cities/nyc/offers:watch"
    status, _, answer = edge.http("POST", path, {"driverIds": MANY_IDS})
    assert status == 200
    *offers, last = [json.loads(line) for line in answer.splitlines()]
    assert [each["offer"]["driverId"] for each in offers] == MANY_IDS
    assert last == {"resume": {}}


def test_json_stream_is_a_line_a_message(edge: Edge) -> None:
    status, _, answer = edge.http("GET", f"{TRIP}/t-1:watch")
    assert status == 200
    versions = [json.loads(line)["trip"]["version"] for line in answer.splitlines()]
    assert versions == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code", "words"),
    [
        ("GET", f"{TRIP}/fail-NOT_FOUND", None, 404, 5, "asked to give"),
        ("GET", f"{TRIP}/fail-INVALID_ARGUMENT", None, 400, 3, "asked to give"),
        ("GET", f"{TRIP}/fail-RESOURCE_EXHAUSTED", None, 429, 8, "asked to give"),
        ("GET", f"{TRIP}/slow-5", None, 504, 4, "timeout|Deadline Exceeded"),
        ("GET", f"{TRIP}/t-1?nope=1", None, 400, 3, '"nope"'),
        ("POST", TRIP, b"{not json", 400, 3, "Expected"),
        ("POST", TRIP, b'{"riderId": "' + b"x" * 1_100_000 + b'"}', 413, 8, "Too Large"),
        ("GET", "/v1/nothing", None, 404, 5, "no such"),
        ("GET", "/", None, 404, 5, "no such"),
        ("DELETE", f"{TRIP}/t-1", None, 404, 5, "no such"),
        ("POST", "/hailstorm.trip.v1.TripService/GetTrip", {}, 404, 5, "no such"),
        ("POST", "/hailstorm.trip.v1.TripService/CreateTrip", {}, 404, 5, "no such"),
    ],
)
def test_json_error_is_a_status_with_code_and_words(
    edge: Edge, method: str, path: str, body: Any, status: int, code: int, words: str
) -> None:
    got, headers, answer = edge.http(method, path, body)
    assert got == status
    assert headers["content-type"] == "application/json"
    error = json.loads(answer)
    assert error["code"] == code
    # Pod and edge end such a call at the same moment; either may say so first.
    assert any(each in error["message"] for each in words.split("|"))
    assert isinstance(error["details"], list)


def test_json_error_spells_out_the_details(edge: Edge) -> None:
    _, _, answer = edge.http("GET", f"{TRIP}/fail-NOT_FOUND")
    (detail,) = json.loads(answer)["details"]
    assert detail["@type"] == "type.googleapis.com/google.rpc.ErrorInfo"
    assert detail["reason"] == "Asked"


def test_grpc_web_gets_its_answer(edge: Edge) -> None:
    request = trip_pb2.GetTripRequest(city_id="nyc", trip_id="t-web")
    path = "/hailstorm.trip.v1.TripService/GetTrip"
    status, headers, answer = edge.http("POST", path, frame(request), GRPC_WEB)
    assert status == 200
    assert headers["content-type"] == GRPC_WEB["content-type"]
    assert b"t-web" in answer
    assert b"grpc-status:0" in answer


def test_other_origins_get_no_permission(edge: Edge) -> None:
    _, headers, _ = edge.http("GET", f"{TRIP}/t-1", headers={"origin": "https://elsewhere.example"})
    assert not [name for name in headers if name.startswith("access-control-")]


def test_every_service_is_reached(edge: Edge) -> None:
    channel = edge.channel()
    requested = dispatch_pb2_grpc.DispatchServiceStub(channel).RequestTrip(
        dispatch_pb2.RequestTripRequest(city_id="nyc", idempotency_key="k")
    )
    positions = [location_pb2.Position(driver_id="d")] * 500
    taken = location_pb2_grpc.LocationServiceStub(channel).ReportPositions(
        location_pb2.ReportPositionsRequest(city_id="nyc", positions=positions)
    )
    assert requested.trip.trip_id
    assert taken.accepted_count == 500


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/ready", 200),
        ("GET", "/stats?filter=upstream_rq_active", 200),
        ("GET", "/stats/prometheus", 200),
        # What follows would end or change Envoy, or show its whole configuration.
        ("POST", "/ready", 404),
        ("POST", "/quitquitquit", 404),
        ("POST", "/healthcheck/fail", 404),
        ("POST", "/stats/recentlookups/clear", 404),
        ("GET", "/config_dump", 404),
        ("GET", "/stats/../config_dump", 404),
        ("GET", "/stats/%2e%2e/config_dump", 404),
        ("GET", "/statsx", 404),
        ("GET", "/", 404),
    ],
)
def test_stats_port_shows_statistics_and_nothing_else(
    edge: Edge, method: str, path: str, status: int
) -> None:
    got, _, _ = edge.http(method, path, port=edge.stats)
    assert got == status


@pytest.mark.parametrize("service", ["dispatch", "location", "trip"])
@pytest.mark.parametrize(
    "name",
    [
        "upstream_rq_active",
        "upstream_rq_pending_active",
        "upstream_rq_total",
        "upstream_rq_retry",
        "upstream_rq_retry_overflow",
        "upstream_rq_pending_overflow",
        "membership_healthy",
        "membership_total",
    ],
)
def test_statistic_is_kept_for_who_scales_and_drills(edge: Edge, service: str, name: str) -> None:
    assert edge.stat(f"cluster.{service}.{name}") >= 0


def test_calls_in_flight_are_counted(edge: Edge) -> None:
    stub = trip_pb2_grpc.TripServiceStub(edge.channel())
    request = trip_pb2.GetTripRequest(city_id="nyc", trip_id="slow-0.6")
    calls = [stub.GetTrip.future(request) for _ in range(5)]
    seen = 0
    while not all(call.done() for call in calls):
        seen = max(seen, edge.stat("cluster.trip.upstream_rq_active"))
    assert seen == 5
