"""What is refused is counted with its reason, where the fleet's owner looks: /metrics."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from hailstorm.location.positions import Refusal
from hailstorm.location.v1 import location_pb2, location_pb2_grpc
from integration.location.conftest import environment_of
from integration.processes import ServiceProcess
from integration.stores import RedisServer
from ready_channel import ready_channel

HERE = (40.75, -73.98)
# 1.1 km north: more than the jitter of 500 m, in no time at all.
FAR = (40.76, -73.98)


@pytest.fixture
def location(
    redis: RedisServer, new_service: Callable[[str, dict[str, str]], ServiceProcess]
) -> ServiceProcess:
    process = new_service("location", environment_of(redis))
    process.start_and_wait()
    return process


def counts(location: ServiceProcess) -> dict[str, float]:
    """By result: how many positions had it so far."""
    lines = location.get("/metrics")[1].splitlines()
    series = (line.split() for line in lines if line.startswith("hailstorm_positions_total"))
    return {name.split('"')[1]: float(value) for name, value in series}


def position(
    driver_id: str = "driver-1",
    sequence: int = 1,
    at: tuple[float, float] = HERE,
    age_seconds: float = 0,
) -> Any:
    observed_at = Timestamp()
    observed_at.FromNanoseconds(time.time_ns() - round(age_seconds * 1e9))
    return location_pb2.Position(
        driver_id=driver_id,
        sequence=sequence,
        point={"latitude": at[0], "longitude": at[1]},
        observed_at=observed_at,
        availability=location_pb2.AVAILABILITY_AVAILABLE,
    )


async def test_every_refusal_is_counted_by_its_reason(location: ServiceProcess) -> None:
    assert counts(location) == dict.fromkeys(
        ("accepted", *(reason.name.lower() for reason in Refusal)), 0.0
    )
    refused = {
        Refusal.STALE: position(sequence=1),
        Refusal.FUTURE: position("driver-2", age_seconds=-60),
        Refusal.IMPOSSIBLE: position("driver-3", at=(91.0, 0.0)),
        Refusal.TELEPORT: position(sequence=2, at=FAR),
        Refusal.MALFORMED: position("no|such"),
        Refusal.TOO_OLD: position("driver-4", age_seconds=120),
    }
    assert refused.keys() == set(Refusal), "each reason is shown to be reachable"
    async with ready_channel(location.target) as channel:
        stub = location_pb2_grpc.LocationServiceStub(channel)
        first = location_pb2.ReportPositionsRequest(city_id="nyc", positions=[position()])
        assert (await stub.ReportPositions(first, timeout=10)).accepted_count == 1
        batch = location_pb2.ReportPositionsRequest(
            city_id="nyc", positions=[*refused.values(), position("driver-5")]
        )
        response = await stub.ReportPositions(batch, timeout=10)
        assert response.accepted_count == 1
        assert [each.reason for each in response.refused] == [reason.value for reason in refused]
    assert counts(location) == {
        "accepted": 2.0,
        **dict.fromkeys((reason.name.lower() for reason in Refusal), 1.0),
    }
