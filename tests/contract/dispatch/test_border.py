"""What dispatch says to riders when its neighbours say something else."""

import asyncio
import math
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from contract.dispatch.conftest import (
    MATCHED,
    REQUESTED,
    UNFULFILLED,
    Neighbourhood,
    NewDispatch,
)
from eventually import eventually
from hailstorm.dispatch.v1 import dispatch_pb2, dispatch_pb2_grpc
from hailstorm.location.v1 import location_pb2
from hailstorm.runtime.admission import SHARES
from hailstorm.runtime.priority import Priority
from hailstorm.trip.v1 import trip_pb2
from hailstorm.types.v1 import types_pb2
from service_in_process import InProcessService

# gRPC sends a timeout with few digits, rounded up: 2,000 ms of ours arrived as 2,010.
ROUNDED_UP = 1.01

Code = grpc.StatusCode
SPOT = types_pb2.LatLng(latitude=40.7, longitude=-74.0)
GOOD: dict[str, Any] = {
    "idempotency_key": "key-12345",
    "city_id": "nyc",
    "rider_id": "rider-1",
    "pickup": SPOT,
    "dropoff": SPOT,
}
EMPTY = location_pb2.NearbyDriversResponse()


async def request(stub: Any, timeout: float = 20, metadata: Any = (), **fields: Any) -> Any:
    body = {name: value for name, value in {**GOOD, **fields}.items() if value is not None}
    answer = await stub.RequestTrip(
        dispatch_pb2.RequestTripRequest(**body), timeout=timeout, metadata=metadata
    )
    return answer.trip


async def refusal(stub: Any, **arguments: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await request(stub, **arguments)
    return raised.value


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        ({"idempotency_key": "short"}, {"idempotency_key"}),
        ({"city_id": "", "rider_id": ""}, {"city_id", "rider_id"}),
        ({"pickup": None, "dropoff": None}, {"pickup", "dropoff"}),
        ({"pickup": types_pb2.LatLng(latitude=91)}, {"pickup.latitude"}),
        ({"quote_id": ""}, {"quote_id"}),
    ],
)
async def test_bad_field_is_named_and_nobody_is_asked(
    stub: Any, neighbours: Neighbourhood, change: dict[str, Any], fields: set[str]
) -> None:
    error = await refusal(stub, **change)
    assert error.code() is Code.INVALID_ARGUMENT
    status = rpc_status.from_call(error)
    assert status is not None
    bad = next(
        found for each in status.details if each.Unpack(found := error_details_pb2.BadRequest())
    )
    assert {violation.field for violation in bad.field_violations} == fields
    assert neighbours.heard == []


@pytest.mark.parametrize("method", ["CreateTrip", "NearbyDrivers", "OfferTrip", "AbandonTrip"])
@pytest.mark.parametrize(
    ("code", "told"),
    [
        (Code.UNAVAILABLE, Code.UNAVAILABLE),
        (Code.CANCELLED, Code.UNAVAILABLE),
        (Code.INTERNAL, Code.UNAVAILABLE),
        (Code.UNKNOWN, Code.UNAVAILABLE),
        (Code.RESOURCE_EXHAUSTED, Code.RESOURCE_EXHAUSTED),
    ],
)
async def test_failing_neighbour_is_worth_another_try(
    stub: Any, neighbours: Neighbourhood, method: str, code: Code, told: Code
) -> None:
    neighbours.answers[method] = code
    if method == "AbandonTrip":
        neighbours.answers["NearbyDrivers"] = EMPTY
    error = await refusal(stub)
    assert error.code() is told
    assert int(dict(error.trailing_metadata() or ())["grpc-retry-pushback-ms"]) > 0


async def test_used_key_is_named(stub: Any, neighbours: Neighbourhood) -> None:
    neighbours.answers["CreateTrip"] = Code.ALREADY_EXISTS
    error = await refusal(stub)
    assert error.code() is Code.ALREADY_EXISTS
    assert "idempotency_key" in (error.details() or "")


async def test_trip_that_is_bound_already_is_answered_at_once(
    stub: Any, neighbours: Neighbourhood
) -> None:
    neighbours.answers["CreateTrip"] = trip_pb2.CreateTripResponse(trip=MATCHED)
    assert await request(stub) == MATCHED
    assert neighbours.methods() == ["CreateTrip"]


async def test_trip_that_a_driver_declined_is_left_to_the_search_that_knows_it(
    stub: Any, neighbours: Neighbourhood
) -> None:
    declined = types_pb2.Trip(
        city_id="nyc", trip_id="trip-1", state=types_pb2.TRIP_STATE_REQUESTED, version=3
    )
    neighbours.answers["CreateTrip"] = trip_pb2.CreateTripResponse(trip=declined)
    assert await request(stub) == declined
    assert neighbours.methods() == ["CreateTrip"]


@pytest.mark.parametrize("code", [Code.FAILED_PRECONDITION, Code.ABORTED, Code.ALREADY_EXISTS])
@pytest.mark.parametrize("method", ["OfferTrip", "AbandonTrip"])
async def test_trip_that_moved_on_is_read_again(
    stub: Any, neighbours: Neighbourhood, method: str, code: Code
) -> None:
    neighbours.answers[method] = code
    if method == "AbandonTrip":
        neighbours.answers["NearbyDrivers"] = EMPTY
    assert await request(stub) == MATCHED
    assert neighbours.methods()[-1] == "GetTrip"


async def test_looking_goes_further_while_all_are_taken(
    stub: Any, neighbours: Neighbourhood, dispatch: InProcessService
) -> None:
    neighbours.answers["OfferTrip"] = trip_pb2.OfferTripResponse(trip=REQUESTED)
    neighbours.answers["NearbyDrivers"] = [
        location_pb2.NearbyDriversResponse(
            drivers=[location_pb2.NearbyDriver(driver_id=f"driver-{n}", distance_m=n)]
        )
        for n in range(3)
    ] + [EMPTY]
    assert await request(stub) == UNFULFILLED
    offered = [e.request for e in neighbours.heard if e.method == "OfferTrip"]
    assert [list(each.driver_ids) for each in offered] == [["driver-0"], ["driver-1"], ["driver-2"]]
    # The keys follow from the trip: whoever takes over makes the same ones.
    assert {each.idempotency_key for each in offered} == {"offer-trip-1-1"}
    assert all(each.auto_accept for each in offered)
    radii = [e.request.max_radius_m for e in neighbours.heard if e.method == "NearbyDrivers"]
    assert radii == sorted(radii)
    assert radii[-1] == dispatch.settings.dispatch.last_radius_m
    abandoned = neighbours.heard[-1].request
    assert (abandoned.idempotency_key, abandoned.reason) == ("abandon-trip-1", "NoDriverNear")
    # Somebody may have offered the trip meanwhile.
    assert abandoned.expected_version == REQUESTED.version


async def test_neighbours_get_the_request_id_and_what_is_left_of_the_time(
    stub: Any, neighbours: Neighbourhood
) -> None:
    await request(stub, timeout=5.0, metadata=(("x-request-id", "request-7"),))
    assert neighbours.methods() == ["CreateTrip", "NearbyDrivers", "OfferTrip"]
    assert {each.request_id for each in neighbours.heard} == {"request-7"}
    first, second, third = (each.seconds or 0.0 for each in neighbours.heard)
    # Capped by call_seconds as long as more is left than that.
    assert first <= 2.0 * ROUNDED_UP
    assert second <= 2.0 * ROUNDED_UP
    assert third > 0


async def test_neighbours_get_less_than_the_rider_waits(
    stub: Any, neighbours: Neighbourhood
) -> None:
    async def after_a_while() -> Any:
        await asyncio.sleep(0.3)
        return trip_pb2.CreateTripResponse(trip=REQUESTED)

    neighbours.answers["CreateTrip"] = after_a_while
    await request(stub, timeout=1.9)
    first, second, _ = (each.seconds or 0.0 for each in neighbours.heard)
    # The margin is for our answer's way back.
    assert first <= 1.9 - 0.04
    assert second <= 1.9 - 0.04 - 0.3


async def test_spent_deadline_stops_the_work_in_between(
    stub: Any, neighbours: Neighbourhood
) -> None:
    async def slow() -> Any:
        await asyncio.sleep(0.6)
        return EMPTY

    neighbours.answers["NearbyDrivers"] = slow
    error = await refusal(stub, timeout=0.5)
    assert error.code() is Code.DEADLINE_EXCEEDED
    assert neighbours.methods() == ["CreateTrip", "NearbyDrivers"]


async def test_neighbour_that_is_too_slow_is_unavailable_while_the_rider_still_waits(
    stub: Any, neighbours: Neighbourhood
) -> None:
    async def never() -> Any:
        await asyncio.sleep(30)

    neighbours.answers["CreateTrip"] = never
    error = await refusal(stub, timeout=20)
    assert error.code() is Code.UNAVAILABLE


async def test_slow_neighbour_takes_its_part_of_the_places_and_no_more(
    new_dispatch: NewDispatch, neighbours: Neighbourhood
) -> None:
    """Places are left for those who do not need it; who finds none is told at once."""
    # However long all of them take to come, the first ones still wait: with two
    # seconds for a call they had left on a busy machine before the last ones came.
    dispatch = await new_dispatch(DISPATCH_CALL_SECONDS="60")
    door = asyncio.Event()

    async def nearby() -> Any:
        await door.wait()
        return EMPTY

    most = math.ceil(dispatch.settings.dispatch.neighbour_max_calls * SHARES[Priority.NORMAL])
    waiting = "hailstorm_dependency_in_flight"
    async with dispatch.channel() as channel:
        stub = dispatch_pb2_grpc.DispatchServiceStub(channel)
        # Dispatch's first connect to its neighbours has a second, and a busy machine
        # may need more; of all calls at once, eight that fail open the breaker.
        assert await eventually(lambda: request(stub, timeout=60), 50) == MATCHED
        neighbours.answers["NearbyDrivers"] = nearby
        calls = [asyncio.create_task(request(stub, timeout=60)) for _ in range(most)]
        await eventually(
            lambda: dispatch.sample(waiting, dependency="location"), 50, until=lambda n: n == most
        )
        error = await refusal(stub, timeout=60)
        assert error.code() is Code.RESOURCE_EXHAUSTED
        assert "wait for location" in (error.details() or "")
        # Trip is not waited for, so who needs it alone is served.
        assert dispatch.sample(waiting, dependency="trip") == 0
        door.set()
        await asyncio.gather(*calls)


async def test_neighbour_that_fails_in_a_row_is_left_alone_for_a_moment(
    stub: Any, neighbours: Neighbourhood, dispatch: InProcessService
) -> None:
    neighbours.answers["CreateTrip"] = Code.UNAVAILABLE
    for _ in range(dispatch.settings.dispatch.breaker_failures):
        await refusal(stub)
    heard = len(neighbours.heard)
    assert "trip is away" in ((await refusal(stub)).details() or "")
    assert len(neighbours.heard) == heard
    neighbours.answers["CreateTrip"] = trip_pb2.CreateTripResponse(trip=REQUESTED)

    async def bound() -> bool:
        try:
            return bool((await request(stub)).driver_id == MATCHED.driver_id)
        except grpc.aio.AioRpcError:
            return False

    await eventually(bound, 20)


async def test_neighbours_get_the_class_of_the_request(
    stub: Any, neighbours: Neighbourhood
) -> None:
    """A look for a driver is not the view of a map, which location would refuse first."""
    await request(stub)
    assert [(each.method, each.priority) for each in neighbours.heard] == [
        ("CreateTrip", "normal"),
        ("NearbyDrivers", "normal"),
        ("OfferTrip", "normal"),
    ]
