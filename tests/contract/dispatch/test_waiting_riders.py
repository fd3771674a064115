"""Riders who wait for a driver, beside the searches that are taken up for others."""

import asyncio
from typing import Any

import pytest

from contract.dispatch.conftest import REQUESTED, Neighbourhood, NewDispatch
from contract.dispatch.test_border import EMPTY, request
from eventually import eventually
from hailstorm.dispatch.v1 import dispatch_pb2, dispatch_pb2_grpc

# One look at a time, and riders who wait here until the test is over.
WAITING = {
    "DISPATCH_WAITS_WITHOUT_DRIVERS": "true",
    "SEARCH_MAX_CONCURRENT": "1",
    "SEARCH_MIN_AGE_SECONDS": "3600",
}


@pytest.fixture(autouse=True)
def nobody_near(neighbours: Neighbourhood) -> None:
    neighbours.answers["NearbyDrivers"] = EMPTY


async def test_riders_between_two_looks_take_no_place_of_other_searches(
    new_dispatch: NewDispatch, neighbours: Neighbourhood
) -> None:
    dispatch = await new_dispatch(**WAITING, SEARCH_LEASE_SECONDS="60")
    async with dispatch.channel() as channel:
        stub = dispatch_pb2_grpc.DispatchServiceStub(channel)
        for _ in range(3):
            assert await request(stub) == REQUESTED
        # Of its own accord this dispatch asks once a minute.
        await stub.DeclineOffer(
            dispatch_pb2.DeclineOfferRequest(
                city_id="nyc", offer_id="trip-2-o2", driver_id="driver-1"
            )
        )
        await eventually(lambda: "ClaimSearches" in neighbours.methods(), 10)
    claim = next(each.request for each in neighbours.heard if each.method == "ClaimSearches")
    assert claim.max_trips == dispatch.settings.search.max_concurrent
    # They are left to the others, and nobody waits until they wake.
    await asyncio.wait_for(dispatch.stop(), 20)


async def test_no_more_than_so_many_look_at_once(
    new_dispatch: NewDispatch, neighbours: Neighbourhood
) -> None:
    dispatch = await new_dispatch(**WAITING, SEARCH_LEASE_SECONDS="0.1")
    now, most, looks = 0, 0, 0

    async def slow() -> Any:
        nonlocal now, most, looks
        now, looks = now + 1, looks + 1
        most = max(most, now)
        # As long as the riders wait for their turn, so that they meet.
        await asyncio.sleep(0.1)
        now -= 1
        return EMPTY

    async with dispatch.channel() as channel:
        stub = dispatch_pb2_grpc.DispatchServiceStub(channel)
        for _ in range(5):
            await request(stub)
        neighbours.answers["NearbyDrivers"] = slow
        await eventually(lambda: looks >= 12, 30)
    assert most == 1
