"""What drivers are told of offers, whatever trip says."""

import asyncio
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from contract.dispatch.conftest import MATCHED, Neighbourhood, NewDispatch
from contract.dispatch.test_border import refusal, request
from eventually import eventually
from hailstorm.dispatch.v1 import dispatch_pb2, dispatch_pb2_grpc
from hailstorm.runtime.violations import IDEMPOTENCY_KEY_PATTERN
from hailstorm.trip.v1 import trip_pb2
from hailstorm.types.v1 import types_pb2
from service_in_process import InProcessService

Code = grpc.StatusCode
ANSWERS = ("AcceptOffer", "DeclineOffer")
OFFERED = types_pb2.Trip(
    city_id="nyc", trip_id="trip-1", driver_id="driver-1", offer_id="trip-1-o2",
    state=types_pb2.TRIP_STATE_OFFERED, version=2,
)  # fmt: skip


async def answer(stub: Any, method: str, **change: str) -> Any:
    fields = {"city_id": "nyc", "offer_id": "trip-1-o2", "driver_id": "driver-1", **change}
    return await getattr(stub, method)(getattr(dispatch_pb2, f"{method}Request")(**fields))


def watch(stub: Any, *driver_ids: str, **change: str) -> Any:
    request = dispatch_pb2.WatchOffersRequest(
        **{"city_id": "nyc", "driver_ids": driver_ids, **change}
    )
    return stub.WatchOffers(request, timeout=30)


def details(error: grpc.aio.AioRpcError, kind: Any) -> Any:
    status = rpc_status.from_call(error)
    assert status is not None
    return next(found for each in status.details if each.Unpack(found := kind()))


@pytest.mark.parametrize("method", ANSWERS)
async def test_bad_field_of_an_answer_is_named(
    stub: Any, neighbours: Neighbourhood, method: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await answer(stub, method, city_id="", offer_id="a b", driver_id="x" * 65)
    assert raised.value.code() is Code.INVALID_ARGUMENT
    bad = details(raised.value, error_details_pb2.BadRequest).field_violations
    assert [v.field for v in bad] == ["city_id", "offer_id", "driver_id"]
    assert neighbours.heard == []


@pytest.mark.parametrize("method", ANSWERS)
@pytest.mark.parametrize(
    ("code", "told", "reason"),
    [
        (Code.NOT_FOUND, Code.NOT_FOUND, "OFFER_NOT_FOUND"),
        (Code.FAILED_PRECONDITION, Code.FAILED_PRECONDITION, "OFFER_OVER"),
        (Code.UNAVAILABLE, Code.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE"),
        (Code.INTERNAL, Code.UNAVAILABLE, "NEIGHBOUR_UNAVAILABLE"),
        (Code.RESOURCE_EXHAUSTED, Code.RESOURCE_EXHAUSTED, "OVERLOADED"),
    ],
)
async def test_refused_answer_says_why(
    stub: Any, neighbours: Neighbourhood, method: str, code: Code, told: Code, reason: str
) -> None:
    neighbours.answers["AnswerOffer"] = code
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await answer(stub, method)
    assert raised.value.code() is told
    assert details(raised.value, error_details_pb2.ErrorInfo).reason == reason
    is_retryable = "grpc-retry-pushback-ms" in dict(raised.value.trailing_metadata() or ())
    assert is_retryable is (told in (Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED))


async def test_key_of_an_answer_follows_from_offer_driver_and_answer(
    new_dispatch: NewDispatch, neighbours: Neighbourhood
) -> None:
    longest = "x" * 64
    for service in (await new_dispatch(), await new_dispatch()):
        async with service.channel() as channel:
            stub = dispatch_pb2_grpc.DispatchServiceStub(channel)
            assert (await answer(stub, "AcceptOffer")).trip == MATCHED
            await answer(stub, "DeclineOffer")
            await answer(stub, "AcceptOffer", driver_id="driver-2")
            await answer(stub, "AcceptOffer", offer_id=longest, driver_id=longest)
    answers = [e.request for e in neighbours.heard if e.method == "AnswerOffer"]
    assert [each.accept for each in answers[:2]] == [True, False]
    keys = [each.idempotency_key for each in answers]
    assert all(IDEMPOTENCY_KEY_PATTERN.fullmatch(key) for key in keys)
    assert keys[:4] == keys[4:]
    assert len(set(keys[:4])) == 4


async def test_driver_who_accepts_is_served_while_new_requests_fill_their_places(
    new_dispatch: NewDispatch, neighbours: Neighbourhood
) -> None:
    """A rider and a driver wait for each other; new riders may ask again."""
    dispatch = await new_dispatch(DISPATCH_NEIGHBOUR_MAX_CALLS="10", DISPATCH_CALL_SECONDS="60")
    door = asyncio.Event()

    async def offer() -> Any:
        await door.wait()
        return trip_pb2.OfferTripResponse(trip=MATCHED)

    async with dispatch.channel() as channel:
        stub = dispatch_pb2_grpc.DispatchServiceStub(channel)
        # Connected before it counts how many calls wait.
        assert await eventually(lambda: request(stub, timeout=60), 50) == MATCHED
        neighbours.answers["OfferTrip"] = offer
        calls = [asyncio.create_task(request(stub, timeout=60)) for _ in range(8)]
        in_flight = "hailstorm_dependency_in_flight"
        await eventually(
            lambda: dispatch.sample(in_flight, dependency="trip"), 50, until=lambda n: n == 8
        )
        assert "wait for trip" in ((await refusal(stub, timeout=60)).details() or "")
        assert (await answer(stub, "AcceptOffer")).trip == MATCHED
        door.set()
        assert await asyncio.gather(*calls) == [MATCHED] * 8


async def test_decline_takes_the_search_up_at_once(stub: Any, neighbours: Neighbourhood) -> None:
    await answer(stub, "DeclineOffer")
    # Of its own accord this dispatch looks once a minute.
    await eventually(lambda: "ClaimSearches" in neighbours.methods(), 10)


@pytest.mark.parametrize(
    ("driver_ids", "change", "field"),
    [
        ((), {}, "driver_ids"),
        (("d",) * 501, {}, "driver_ids"),
        (("d", "é"), {}, "driver_ids[1]"),
        (("d",), {"city_id": ""}, "city_id"),
    ],
)
async def test_bad_field_of_a_watch_is_named(
    stub: Any, driver_ids: tuple[str, ...], change: dict[str, str], field: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await watch(stub, *driver_ids, **change).read()
    assert raised.value.code() is Code.INVALID_ARGUMENT
    bad = details(raised.value, error_details_pb2.BadRequest).field_violations
    assert [v.field for v in bad] == [field]


async def test_stream_outlasts_a_neighbour_that_fails(
    new_dispatch: NewDispatch, neighbours: Neighbourhood
) -> None:
    service = await new_dispatch(OFFERS_POLL_MILLISECONDS="20")
    neighbours.answers["ListOffers"] = [
        Code.UNAVAILABLE,
        Code.INTERNAL,
        trip_pb2.ListOffersResponse(trips=[OFFERED]),
    ]
    async with service.channel() as channel:
        stream = watch(dispatch_pb2_grpc.DispatchServiceStub(channel), "driver-1")
        event = await asyncio.wait_for(stream.read(), 20)
        assert event.offer.offer_id == "trip-1-o2"
        stream.cancel()


async def test_offer_that_ends_between_two_questions_is_told_once(
    new_dispatch: NewDispatch, neighbours: Neighbourhood
) -> None:
    """Trip lists the live ones first and then what has ended: one may be in both."""
    ended = trip_pb2.EndedOffer(
        offer_id="trip-1-o2", driver_id="driver-1", end=trip_pb2.OFFER_END_DECLINED
    )
    neighbours.answers["ListOffers"] = [
        trip_pb2.ListOffersResponse(trips=[OFFERED]),
        trip_pb2.ListOffersResponse(trips=[OFFERED], ended_offers=[ended]),
        trip_pb2.ListOffersResponse(),
    ]
    service = await new_dispatch(OFFERS_POLL_MILLISECONDS="20")
    async with service.channel() as channel:
        stream = watch(dispatch_pb2_grpc.DispatchServiceStub(channel), "driver-1")
        kinds = [(await asyncio.wait_for(stream.read(), 20)).WhichOneof("event") for _ in range(2)]
        looks = len(neighbours.heard)
        await eventually(lambda: len(neighbours.heard) >= looks + 3, 20)
        service.lifecycle.draining.set()
        kinds.append((await asyncio.wait_for(stream.read(), 20)).WhichOneof("event"))
    assert kinds == ["offer", "withdrawal", "resume"]
    known = [list(e.request.known_offer_ids) for e in neighbours.heard]
    assert known[:3] == [[], ["trip-1-o2"], []]


async def test_stream_of_a_draining_server_ends_with_a_marker(
    dispatch: InProcessService, stub: Any
) -> None:
    stream = watch(stub, "driver-1")
    await eventually(lambda: dispatch.sample("hailstorm_offer_watches"), 10)
    dispatch.lifecycle.draining.set()
    event = await asyncio.wait_for(stream.read(), 20)
    assert event.WhichOneof("event") == "resume"
    assert await stream.read() is grpc.aio.EOF
    assert await stream.code() is Code.OK
