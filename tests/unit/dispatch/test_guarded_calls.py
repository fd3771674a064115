"""What a neighbour that hangs costs, with the settings that the service has by default."""

import time
from typing import Any

import grpc
import pytest
from prometheus_client import CollectorRegistry

from hailstorm.dispatch.guarded_calls import TRIP, GuardedCalls
from hailstorm.dispatch.settings import MatchingSettings
from hailstorm.runtime.calls import Call, enter_call
from hailstorm.runtime.errors import UnavailableError
from hailstorm.runtime.statuses import trailers_of
from unit.runtime.conftest import FakeClock

SETTINGS = MatchingSettings()


def guarded() -> GuardedCalls:
    return GuardedCalls(SETTINGS, FakeClock(), CollectorRegistry())


def too_late() -> grpc.aio.AioRpcError:
    metadata = grpc.aio.Metadata()
    return grpc.aio.AioRpcError(grpc.StatusCode.DEADLINE_EXCEEDED, metadata, metadata)


async def hang(_request: Any, timeout: float, metadata: Any) -> Any:
    """As gRPC does, but at once: the call ends with its time."""
    raise too_late()


@pytest.mark.parametrize("deadline_in", [None, 5.0])
async def test_neighbour_that_hangs_is_not_asked_for_ever(deadline_in: float | None) -> None:
    calls = guarded()
    deadline = None if deadline_in is None else time.monotonic() + deadline_in
    enter_call(Call("/method", "request-1", deadline=deadline))
    for _ in range(SETTINGS.breaker_failures):
        with pytest.raises(grpc.aio.AioRpcError):
            await calls.call(TRIP, hang, None)
    with pytest.raises(UnavailableError, match="trip is away"):
        await calls.call(TRIP, hang, None)


async def test_caller_in_a_hurry_says_nothing_of_the_neighbour() -> None:
    calls = guarded()
    enter_call(Call("/method", "request-1", deadline=time.monotonic() + 1.0))
    for _ in range(SETTINGS.breaker_failures + 1):
        with pytest.raises(grpc.aio.AioRpcError):
            await calls.call(TRIP, hang, None)


async def test_time_out_of_ours_is_not_waited_for_again_by_another_pod() -> None:
    enter_call(Call("/method", "request-1", deadline=time.monotonic() + 5.0))
    told = guarded().explain(too_late(), TRIP)
    assert told.code is grpc.StatusCode.UNAVAILABLE
    assert dict(trailers_of(told))["x-envoy-ratelimited"] == "true"
