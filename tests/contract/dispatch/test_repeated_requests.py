"""A request that is on record is answered, whatever a new one would be told by now."""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2

from contract.dispatch.conftest import MATCHED, REQUESTED, Neighbourhood, SetFlags
from contract.dispatch.test_border import GOOD, refusal, request
from contract.dispatch.test_market_border import quote
from contract.dispatch.test_offers_border import details
from hailstorm.dispatch.cells import cell_name, market_cell
from hailstorm.trip.v1 import trip_pb2
from service_in_process import InProcessService

Code = grpc.StatusCode
PICKUP = GOOD["pickup"]
FOUND = trip_pb2.FindCreatedTripResponse(trip=MATCHED)


@pytest.fixture
def closed(flags: SetFlags) -> None:
    """The cell of the pickup takes no new requests."""
    flags.cells["new-requests", cell_name(market_cell(PICKUP.latitude, PICKUP.longitude))] = False


async def expired(stub: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    given: str = (await quote(stub)).quote_id
    # Two minutes and the grace go by.
    monkeypatch.setattr("hailstorm.dispatch.quotes.GRACE_SECONDS", -300)
    return given


async def unknown(_stub: Any, _monkeypatch: pytest.MonkeyPatch) -> str:
    """As one that was signed before the key was changed."""
    return "quote-of-another-key"


@pytest.mark.parametrize("given", [expired, unknown])
async def test_repeated_request_gives_its_trip_after_its_quote(
    stub: Any,
    neighbours: Neighbourhood,
    monkeypatch: pytest.MonkeyPatch,
    given: Callable[[Any, pytest.MonkeyPatch], Awaitable[str]],
) -> None:
    quote_id = await given(stub, monkeypatch)
    neighbours.answers["FindCreatedTrip"] = FOUND
    assert await request(stub, quote_id=quote_id) == MATCHED
    (heard,) = neighbours.heard
    assert (heard.method, heard.priority) == ("FindCreatedTrip", "normal")
    # The words that the key was used with, so that another body is told apart.
    assert heard.request.request == trip_pb2.CreateTripRequest(**GOOD, quote_id=quote_id)


@pytest.mark.usefixtures("closed")
async def test_repeated_request_gives_its_trip_where_new_ones_are_not_taken(
    stub: Any, neighbours: Neighbourhood, dispatch: InProcessService
) -> None:
    neighbours.answers["FindCreatedTrip"] = FOUND
    assert await request(stub) == MATCHED
    assert neighbours.methods() == ["FindCreatedTrip"]
    assert dispatch.sample("hailstorm_requests_refused_total", why="cell_closed") == 0


@pytest.mark.usefixtures("closed")
async def test_repeated_request_goes_on_from_where_the_first_was_cut_short(
    stub: Any, neighbours: Neighbourhood
) -> None:
    neighbours.answers["FindCreatedTrip"] = trip_pb2.FindCreatedTripResponse(trip=REQUESTED)
    assert await request(stub) == MATCHED
    assert neighbours.methods() == ["FindCreatedTrip", "NearbyDrivers", "OfferTrip"]


@pytest.mark.usefixtures("closed")
@pytest.mark.parametrize(
    ("answer", "told", "reason"),
    [
        (trip_pb2.FindCreatedTripResponse(), Code.FAILED_PRECONDITION, "CELL_CLOSED"),
        # A trip of the version before refuses as it did then.
        (Code.UNIMPLEMENTED, Code.FAILED_PRECONDITION, "CELL_CLOSED"),
        (Code.ALREADY_EXISTS, Code.ALREADY_EXISTS, "IDEMPOTENCY_KEY_REUSED"),
        # Who cannot know must not say that there is none.
        (Code.UNAVAILABLE, Code.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE"),
    ],
)
async def test_request_is_refused_only_when_its_key_is_unused(
    stub: Any, neighbours: Neighbourhood, answer: Any, told: grpc.StatusCode, reason: str
) -> None:
    neighbours.answers["FindCreatedTrip"] = answer
    error = await refusal(stub)
    assert (error.code(), details(error, error_details_pb2.ErrorInfo).reason) == (told, reason)
    assert neighbours.methods() == ["FindCreatedTrip"]
