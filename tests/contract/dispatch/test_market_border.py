"""Quotes, prices and refusals at the door."""

from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2

from contract.dispatch.conftest import (
    MATCHED,
    Neighbourhood,
    NewDispatch,
    SetFlags,
)
from contract.dispatch.test_border import SPOT, refusal, request
from contract.dispatch.test_offers_border import details
from eventually import eventually
from hailstorm.dispatch.cells import cell_name, market_cell
from hailstorm.dispatch.v1 import dispatch_pb2, dispatch_pb2_grpc
from hailstorm.location.v1 import location_pb2
from hailstorm.trip.v1 import trip_pb2
from hailstorm.types.v1 import types_pb2
from service_in_process import InProcessService

Code = grpc.StatusCode
ELSEWHERE = types_pb2.LatLng(latitude=40.8, longitude=-73.9)
NEARBY_ONE = location_pb2.NearbyDriversResponse(
    drivers=[location_pb2.NearbyDriver(driver_id="driver-1", distance_m=5)]
)
# Looks all the time, and believes at once what it sees.
QUICK = {"MARKET_POLL_MILLISECONDS": "20", "MARKET_MEMORY_SECONDS": "0.1"}


def counts(requests: int, unallocated: int) -> Any:
    return trip_pb2.CountRequestsResponse(
        counts=[
            trip_pb2.RequestCount(
                city_id="nyc", point=SPOT, requests=requests, unallocated=unallocated
            )
        ]
    )


async def quote(stub: Any, **change: Any) -> Any:
    fields = {"city_id": "nyc", "rider_id": "rider-1", "pickup": SPOT, "dropoff": SPOT, **change}
    return await stub.GetQuote(dispatch_pb2.GetQuoteRequest(**fields), timeout=20)


async def multiplier(stub: Any, **change: Any) -> float:
    found: float = (await quote(stub, **change)).surge_multiplier
    return found


async def created(neighbours: Neighbourhood) -> Any:
    return [each.request for each in neighbours.heard if each.method == "CreateTrip"][-1]


@pytest.fixture
async def busy(
    new_dispatch: NewDispatch, neighbours: Neighbourhood, flags: SetFlags
) -> InProcessService:
    """Five requests a minute and one idle driver around SPOT, none of them waiting."""
    neighbours.answers["CountRequests"] = counts(5, 0)
    return await new_dispatch(**QUICK)


@pytest.fixture
async def busy_stub(busy: InProcessService) -> Any:
    async with busy.channel() as channel:
        yield dispatch_pb2_grpc.DispatchServiceStub(channel)


async def test_bad_fields_of_a_quote_are_named(stub: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stub.GetQuote(dispatch_pb2.GetQuoteRequest())
    assert raised.value.code() is Code.INVALID_ARGUMENT
    bad = details(raised.value, error_details_pb2.BadRequest).field_violations
    assert [v.field for v in bad] == ["city_id", "rider_id", "pickup", "dropoff"]


async def test_quiet_place_is_quoted_the_usual_price(stub: Any, neighbours: Neighbourhood) -> None:
    answer = await quote(stub)
    assert answer.surge_multiplier == 1.0
    assert answer.expires_at.ToSeconds() > 0
    assert neighbours.heard == []


async def test_busy_place_is_dear_and_its_neighbour_is_not(busy_stub: Any) -> None:
    await eventually(lambda: multiplier(busy_stub), 20, until=lambda m: m == 3.0)
    assert await multiplier(busy_stub, pickup=ELSEWHERE) == 1.0
    assert await multiplier(busy_stub, city_id="boston") == 1.0


async def test_quoted_multiplier_is_kept_when_prices_have_changed(
    busy_stub: Any, neighbours: Neighbourhood, new_dispatch: NewDispatch
) -> None:
    await eventually(lambda: multiplier(busy_stub), 20, until=lambda m: m == 3.0)
    dear = await quote(busy_stub)
    neighbours.answers["CountRequests"] = trip_pb2.CountRequestsResponse()
    await eventually(lambda: multiplier(busy_stub), 20, until=lambda m: m == 1.0)
    # On another pod, which has never looked.
    other = await new_dispatch()
    async with other.channel() as channel:
        await request(dispatch_pb2_grpc.DispatchServiceStub(channel), quote_id=dear.quote_id)
    wish = await created(neighbours)
    assert (wish.surge_multiplier, wish.quote_id) == (3.0, dear.quote_id)


async def test_request_without_a_quote_pays_todays_price(
    busy_stub: Any, neighbours: Neighbourhood
) -> None:
    await eventually(lambda: multiplier(busy_stub), 20, until=lambda m: m == 3.0)
    await request(busy_stub)
    wish = await created(neighbours)
    assert wish.surge_multiplier == 3.0
    assert not wish.HasField("quote_id")


@pytest.mark.parametrize(
    "change", [{"rider_id": "rider-2"}, {"pickup": ELSEWHERE}, {"city_id": "boston"}]
)
async def test_quote_of_somebody_else_is_refused(
    stub: Any, neighbours: Neighbourhood, change: dict[str, Any]
) -> None:
    error = await refusal(stub, quote_id=(await quote(stub)).quote_id, **change)
    assert error.code() is Code.FAILED_PRECONDITION
    assert details(error, error_details_pb2.ErrorInfo).reason == "QUOTE_UNKNOWN"
    # Whether it is on record already is all that anybody is asked.
    assert neighbours.methods() == ["FindCreatedTrip"]


async def test_expired_quote_is_refused(
    stub: Any, neighbours: Neighbourhood, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = (await quote(stub)).quote_id
    await request(stub, quote_id=given)
    # Two minutes and the grace go by.
    monkeypatch.setattr("hailstorm.dispatch.quotes.GRACE_SECONDS", -300)
    error = await refusal(stub, quote_id=given)
    assert error.code() is Code.FAILED_PRECONDITION
    assert details(error, error_details_pb2.ErrorInfo).reason == "QUOTE_EXPIRED"


async def test_surge_switched_off_is_the_usual_price(busy_stub: Any, flags: SetFlags) -> None:
    await eventually(lambda: multiplier(busy_stub), 20, until=lambda m: m == 3.0)
    flags.values["surge"] = False
    assert await multiplier(busy_stub) == 1.0


async def test_price_is_usual_and_gate_open_when_nobody_can_be_counted(
    busy_stub: Any, neighbours: Neighbourhood
) -> None:
    neighbours.answers["CountRequests"] = counts(50, 50)
    neighbours.answers["NearbyDrivers"] = location_pb2.NearbyDriversResponse()
    await eventually(lambda: refusal_code(busy_stub), 20, until=lambda c: c is not Code.OK)
    neighbours.answers["CountRequests"] = Code.UNAVAILABLE
    neighbours.answers["NearbyDrivers"] = NEARBY_ONE
    await eventually(lambda: multiplier(busy_stub), 20, until=lambda m: m == 1.0)
    assert await refusal_code(busy_stub) is Code.OK


async def refusal_code(stub: Any, **change: Any) -> grpc.StatusCode:
    try:
        await request(stub, **change)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return Code.OK


async def test_request_is_refused_where_riders_outrun_drivers(
    busy: InProcessService, busy_stub: Any, neighbours: Neighbourhood, flags: SetFlags
) -> None:
    # Ten are let in anyway, and two for the driver who is idle.
    neighbours.answers["CountRequests"] = counts(12, 11)
    await eventually(lambda: busy.sample("hailstorm_market_cells"), 20)
    assert await refusal_code(busy_stub) is Code.OK
    neighbours.answers["CountRequests"] = counts(12, 12)
    await eventually(lambda: refusal_code(busy_stub), 20, until=lambda c: c is not Code.OK)
    made = neighbours.methods().count("CreateTrip")
    error = await refusal(busy_stub)
    assert error.code() is Code.RESOURCE_EXHAUSTED
    assert details(error, error_details_pb2.ErrorInfo).reason == "TOO_FEW_DRIVERS"
    delay = details(error, error_details_pb2.RetryInfo).retry_delay.ToMilliseconds()
    assert 2_500 <= delay <= 7_500
    trailers = dict(error.trailing_metadata() or ())
    assert int(trailers["grpc-retry-pushback-ms"]) == delay
    # The edge is not to try the next pod.
    assert trailers["x-envoy-ratelimited"] == "true"
    assert neighbours.methods().count("CreateTrip") == made
    assert busy.sample("hailstorm_requests_refused_total", why="too_few_drivers") >= 2
    found = trip_pb2.FindCreatedTripResponse(trip=MATCHED)
    neighbours.answers["FindCreatedTrip"] = found
    assert await request(busy_stub) == MATCHED
    neighbours.answers["FindCreatedTrip"] = trip_pb2.FindCreatedTripResponse()
    assert await refusal_code(busy_stub, pickup=ELSEWHERE) is Code.OK
    flags.values["request-gate"] = False
    assert await refusal_code(busy_stub) is Code.OK


async def test_closed_cell_takes_no_new_requests(
    busy: InProcessService, busy_stub: Any, neighbours: Neighbourhood, flags: SetFlags
) -> None:
    cell = cell_name(market_cell(SPOT.latitude, SPOT.longitude))
    flags.cells["new-requests", cell] = False
    error = await refusal(busy_stub)
    assert error.code() is Code.FAILED_PRECONDITION
    info = details(error, error_details_pb2.ErrorInfo)
    assert (info.reason, info.metadata["cell"]) == ("CELL_CLOSED", cell)
    assert "CreateTrip" not in neighbours.methods()
    assert busy.sample("hailstorm_requests_refused_total", why="cell_closed") == 1
    assert await refusal_code(busy_stub, pickup=ELSEWHERE) is Code.OK
    flags.cells.clear()
    assert await refusal_code(busy_stub) is Code.OK


async def test_new_pod_takes_the_price_that_it_finds(
    new_dispatch: NewDispatch, neighbours: Neighbourhood
) -> None:
    """Smoothed from 1.0 on, each roll would make the city cheap for a minute."""
    neighbours.answers["CountRequests"] = [Code.UNAVAILABLE, counts(5, 0)]
    service = await new_dispatch(MARKET_POLL_MILLISECONDS="20", MARKET_MEMORY_SECONDS="3600")
    async with service.channel() as channel:
        stub = dispatch_pb2_grpc.DispatchServiceStub(channel)
        await eventually(lambda: multiplier(stub), 20, until=lambda m: m == 3.0)


async def test_place_that_becomes_busy_later_becomes_dear_slowly(
    new_dispatch: NewDispatch, neighbours: Neighbourhood
) -> None:
    service = await new_dispatch(MARKET_POLL_MILLISECONDS="20", MARKET_MEMORY_SECONDS="3600")
    await eventually(lambda: neighbours.methods().count("CountRequests") >= 2, 20)
    neighbours.answers["CountRequests"] = counts(5, 0)
    await eventually(lambda: service.sample("hailstorm_market_cells"), 20)
    async with service.channel() as channel:
        assert await multiplier(dispatch_pb2_grpc.DispatchServiceStub(channel)) == 1.0


async def test_looks_at_the_market_are_shed_before_requests(
    busy_stub: Any, neighbours: Neighbourhood
) -> None:
    await eventually(lambda: multiplier(busy_stub), 20, until=lambda m: m == 3.0)
    assert {each.method: each.priority for each in neighbours.heard} == {
        "CountRequests": "sheddable",
        "NearbyDrivers": "sheddable",
    }


async def test_prices_hold_while_looks_are_shed_but_not_for_ever(
    new_dispatch: NewDispatch, neighbours: Neighbourhood
) -> None:
    neighbours.answers["CountRequests"] = counts(5, 0)
    patient, hasty = (
        await new_dispatch(**QUICK),
        await new_dispatch(**QUICK, MARKET_WINDOW_SECONDS="1"),
    )
    async with patient.channel() as channel, hasty.channel() as other:
        stub = dispatch_pb2_grpc.DispatchServiceStub(channel)
        short = dispatch_pb2_grpc.DispatchServiceStub(other)
        for each in (stub, short):
            await eventually(lambda each=each: multiplier(each), 20, until=lambda m: m == 3.0)
        neighbours.answers["CountRequests"] = Code.RESOURCE_EXHAUSTED
        # A second is many more looks than may fail otherwise.
        await eventually(lambda: multiplier(short), 20, until=lambda m: m == 1.0)
        assert await multiplier(stub) == 3.0


async def test_shed_search_for_drivers_does_not_end_the_look(
    busy_stub: Any, neighbours: Neighbourhood
) -> None:
    await eventually(lambda: multiplier(busy_stub), 20, until=lambda m: m == 3.0)
    neighbours.answers["NearbyDrivers"] = Code.RESOURCE_EXHAUSTED
    neighbours.answers["CountRequests"] = counts(50, 50)
    await eventually(
        lambda: refusal(busy_stub),
        20,
        until=lambda e: details(e, error_details_pb2.ErrorInfo).reason == "TOO_FEW_DRIVERS",
    )
