"""Who may ask a neighbour, and what its answers say about it."""

import contextlib
from typing import Any

import grpc
import pytest
from prometheus_client import CollectorRegistry

from hailstorm.runtime.dependency import Dependency, DependencyMetrics
from hailstorm.runtime.errors import ResourceExhaustedError, RetryableError, UnavailableError
from hailstorm.runtime.priority import Priority


class House:
    """One dependency with two places, whose breaker opens after three failures."""

    def __init__(self, clock: Any) -> None:
        self.registry = CollectorRegistry()
        metrics = DependencyMetrics(self.registry)
        self.trip = Dependency("trip", clock, metrics, 2, 3, 0.25)

    def call(self, code: grpc.StatusCode | None, *, own_patience: bool = True) -> None:
        """One call that ends with `code`; None is OK."""
        with self.trip.asking(own_patience):
            if code is not None:
                metadata = grpc.aio.Metadata()
                raise grpc.aio.AioRpcError(code, metadata, metadata)

    def fail(self, code: grpc.StatusCode, *, own_patience: bool = True) -> None:
        with pytest.raises(grpc.aio.AioRpcError):
            self.call(code, own_patience=own_patience)

    def refused(self, cause: str) -> float:
        labels = {"dependency": "trip", "cause": cause}
        return self.registry.get_sample_value("hailstorm_dependency_refused_total", labels) or 0.0


@pytest.fixture
def house(clock: Any) -> House:
    return House(clock)


def test_full_bulkhead_refuses_at_once_and_has_room_again(house: House) -> None:
    full = pytest.raises(ResourceExhaustedError, match="2 calls wait for trip")
    with house.trip.asking(True), house.trip.asking(True), full:
        house.call(None)
    house.call(None)
    assert house.refused("full") == 1


def test_what_was_begun_finds_a_place_among_what_begins(clock: Any) -> None:
    registry = CollectorRegistry()
    trip = Dependency("trip", clock, DependencyMetrics(registry), 10, 3, 0.25)
    full = pytest.raises(RetryableError, match="calls wait for trip")
    with contextlib.ExitStack() as calls:
        for _ in range(6):
            calls.enter_context(trip.asking(True, Priority.SHEDDABLE))
        with full, trip.asking(True, Priority.SHEDDABLE):
            pass
        for _ in range(2):
            calls.enter_context(trip.asking(True, Priority.NORMAL))
        with full, trip.asking(True, Priority.NORMAL):
            pass
        for _ in range(2):
            calls.enter_context(trip.asking(True, Priority.CRITICAL))
        with full, trip.asking(True, Priority.CRITICAL):
            pass


@pytest.mark.parametrize(
    ("code", "own_patience", "opens"),
    [
        (grpc.StatusCode.UNAVAILABLE, False, True),
        (grpc.StatusCode.DEADLINE_EXCEEDED, True, True),
        # The caller had little time.
        (grpc.StatusCode.DEADLINE_EXCEEDED, False, False),
        (grpc.StatusCode.CANCELLED, True, False),
        # It answers: it is there.
        (grpc.StatusCode.RESOURCE_EXHAUSTED, True, False),
        (grpc.StatusCode.FAILED_PRECONDITION, True, False),
    ],
)
def test_breaker_opens_for_what_is_the_neighbours_own(
    house: House, code: grpc.StatusCode, own_patience: bool, opens: bool
) -> None:
    for _ in range(3):
        house.fail(code, own_patience=own_patience)
    if opens:
        with pytest.raises(UnavailableError, match="trip is away"):
            house.call(None)
        assert house.refused("away") == 1
    else:
        house.call(None)


async def test_one_caller_finds_out_whether_it_is_back(house: House, clock: Any) -> None:
    for _ in range(3):
        house.fail(grpc.StatusCode.UNAVAILABLE)
    await clock.run(0.25)
    with house.trip.asking(True), pytest.raises(UnavailableError):
        house.call(None)
    house.call(None)


def test_defect_of_ours_frees_the_place(house: House) -> None:
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), house.trip.asking(True):
            raise ZeroDivisionError
    house.call(None)
