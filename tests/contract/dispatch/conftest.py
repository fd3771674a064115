"""
A dispatch whose neighbours say what the test tells them to.

They are scripts of answers at the border, not services: what trip and location
really do together is tested with the real ones.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest

from hailstorm.dispatch.settings import DispatchSettings
from hailstorm.dispatch.v1 import dispatch_pb2_grpc
from hailstorm.location.v1 import location_pb2, location_pb2_grpc
from hailstorm.runtime.settings import read_settings
from hailstorm.trip.v1 import trip_pb2, trip_pb2_grpc
from hailstorm.types.v1 import types_pb2
from service_in_process import InProcessService

REQUESTED = types_pb2.Trip(
    city_id="nyc", trip_id="trip-1", state=types_pb2.TRIP_STATE_REQUESTED, version=1
)
MATCHED = types_pb2.Trip(
    city_id="nyc", trip_id="trip-1", driver_id="driver-1",
    state=types_pb2.TRIP_STATE_MATCHED, version=3,
)  # fmt: skip
UNFULFILLED = types_pb2.Trip(
    city_id="nyc", trip_id="trip-1", state=types_pb2.TRIP_STATE_UNFULFILLED, version=2
)


@dataclass
class Heard:
    """One call that a neighbour got."""

    method: str
    request: Any
    seconds: float | None
    request_id: str
    priority: str


@dataclass
class Neighbourhood:
    """
    Answers by method: a message, a status code, or a function of the request.

    A list is used up one by one; its last element stays.
    """

    answers: dict[str, Any] = field(default_factory=dict)
    heard: list[Heard] = field(default_factory=list)

    def methods(self) -> list[str]:
        return [each.method for each in self.heard]

    async def answer(self, method: str, request: Any, context: Any) -> Any:
        ids = dict(context.invocation_metadata())
        self.heard.append(
            Heard(
                method,
                request,
                context.time_remaining(),
                str(ids.get("x-request-id", "")),
                str(ids.get("x-hailstorm-priority", "")),
            )
        )
        answer = self.answers[method]
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if isinstance(answer, grpc.StatusCode):
            await context.abort(answer, "as the test says")
        return await answer() if callable(answer) else answer


def _servicer(base: type[Any], methods: tuple[str, ...], others: Neighbourhood) -> Any:
    def serve(method: str) -> Callable[..., Any]:
        async def handler(_self: Any, request: Any, context: Any) -> Any:
            return await others.answer(method, request, context)

        return handler

    return type(base.__name__, (base,), {method: serve(method) for method in methods})()


@pytest.fixture
def neighbours() -> Neighbourhood:
    """Neighbours with whom all goes well: one driver, bound at once."""
    return Neighbourhood(
        {
            "CreateTrip": trip_pb2.CreateTripResponse(trip=REQUESTED),
            "FindCreatedTrip": trip_pb2.FindCreatedTripResponse(),
            "NearbyDrivers": location_pb2.NearbyDriversResponse(
                drivers=[location_pb2.NearbyDriver(driver_id="driver-1", distance_m=5)]
            ),
            "OfferTrip": trip_pb2.OfferTripResponse(trip=MATCHED),
            "AbandonTrip": trip_pb2.AbandonTripResponse(trip=UNFULFILLED),
            "GetTrip": trip_pb2.GetTripResponse(trip=MATCHED),
            "AnswerOffer": trip_pb2.AnswerOfferResponse(trip=MATCHED),
            "ListOffers": trip_pb2.ListOffersResponse(),
            "ClaimSearches": trip_pb2.ClaimSearchesResponse(),
            "CountRequests": trip_pb2.CountRequestsResponse(),
        }
    )


class SetFlags:
    """Flags that a test sets; a rule for one cell is `flags.cells[name, cell]`."""

    def __init__(self) -> None:
        self.values: dict[str, bool] = {}
        self.cells: dict[tuple[str, str], bool] = {}

    def boolean(self, name: str, default: bool, **context: str) -> bool:
        general = self.values.get(name, default)
        return self.cells.get((name, context.get("cell", "")), general)

    def string(self, name: str, default: str, **context: str) -> str:
        return default


@pytest.fixture
def flags() -> SetFlags:
    """The flags of every dispatch of the test."""
    return SetFlags()


NewDispatch = Callable[..., Awaitable[InProcessService]]


@pytest.fixture
async def new_dispatch(neighbours: Neighbourhood, flags: SetFlags) -> AsyncIterator[NewDispatch]:
    """Starts dispatches among the neighbours; `environment` adds settings."""
    server = grpc.aio.server()
    trip_methods = tuple(m for m in neighbours.answers if m != "NearbyDrivers")
    trip_pb2_grpc.add_TripServiceServicer_to_server(
        _servicer(trip_pb2_grpc.TripServiceServicer, trip_methods, neighbours), server
    )
    location_pb2_grpc.add_LocationServiceServicer_to_server(
        _servicer(location_pb2_grpc.LocationServiceServicer, ("NearbyDrivers",), neighbours), server
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    started: list[InProcessService] = []

    async def start(**environment: str) -> InProcessService:
        variables = {
            "HAILSTORM_EDGE_ADDRESS": f"127.0.0.1:{port}",
            "HAILSTORM_DISPATCH_CALL_SECONDS": "2",
            "HAILSTORM_LIFECYCLE_PROPAGATION_SECONDS": "0",
            "HAILSTORM_LIFECYCLE_QUIET_MILLISECONDS": "0",
            "HAILSTORM_QUOTES_KEY": "the-same-on-every-pod",
            # Of its own accord it asks nobody while a test counts calls.
            "HAILSTORM_SEARCH_POLL_MILLISECONDS": "60000",
            "HAILSTORM_MARKET_POLL_MILLISECONDS": "3600000",
            **{f"HAILSTORM_{name}": value for name, value in environment.items()},
        }
        service = InProcessService("dispatch", read_settings(DispatchSettings, variables), flags)
        started.append(service)
        await service.start()
        return service

    yield start
    for service in started:
        await service.stop()
    await server.stop(0)


@pytest.fixture
async def dispatch(new_dispatch: NewDispatch) -> InProcessService:
    return await new_dispatch()


@pytest.fixture
async def stub(dispatch: InProcessService) -> AsyncIterator[Any]:
    async with dispatch.channel() as channel:
        yield dispatch_pb2_grpc.DispatchServiceStub(channel)
