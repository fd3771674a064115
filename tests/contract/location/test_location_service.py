"""LocationService on the wire: what it refuses, and how it names it."""

import math
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from prometheus_client import CollectorRegistry

from hailstorm.location.drivers import Drivers
from hailstorm.location.index import build_index
from hailstorm.location.positions import Refusal
from hailstorm.location.servicer import LocationServicer
from hailstorm.location.settings import PositionSettings, RedisSettings
from hailstorm.location.store import Store
from hailstorm.location.v1 import location_pb2, location_pb2_grpc
from hailstorm.runtime.admission import Admission
from hailstorm.runtime.clock import SystemClock
from hailstorm.runtime.errors import PUSHBACK_KEY
from hailstorm.runtime.interceptor import ServerInterceptor
from hailstorm.runtime.process import ServerSettings
from hailstorm.runtime.server import build_server, listen
from hailstorm.runtime.statuses import DETAILS_KEY
from hailstorm.runtime.telemetry import ServerMetrics
from integration.stores import free_port


@pytest.fixture
async def stub() -> AsyncIterator[Any]:
    """The real service over a Redis that is not there: refusals must not need it."""
    clock, registry = SystemClock(), CollectorRegistry()
    settings = ServerSettings(host="127.0.0.1", grpc_port=0)
    store = Store(RedisSettings(host="127.0.0.1", port=free_port()), clock, registry)
    positions = PositionSettings()
    drivers = Drivers(positions, store, build_index(positions, store), clock)
    interceptor = ServerInterceptor(Admission(clock, 100, 100), ServerMetrics(registry))
    server = build_server(settings, interceptor)
    servicer = LocationServicer(drivers, registry)
    location_pb2_grpc.add_LocationServiceServicer_to_server(servicer, server)
    port = listen(server, settings)
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield location_pb2_grpc.LocationServiceStub(channel)
    await server.stop(0)
    await store.close()


async def refused(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


def fields_of(error: grpc.aio.AioRpcError) -> list[str]:
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT, error.details()
    status = status_pb2.Status.FromString(dict(error.trailing_metadata())[DETAILS_KEY])
    bad = error_details_pb2.BadRequest()
    assert status.details[1].Unpack(bad)
    return [violation.field for violation in bad.field_violations]


def report(number: int, **fields: Any) -> Any:
    request = location_pb2.ReportPositionsRequest(**{"city_id": "nyc", **fields})
    for i in range(number):
        request.positions.add(driver_id=f"driver-{i}")
    return request


def nearby(latitude: float = 40.75, longitude: float = -73.98, **fields: Any) -> Any:
    request = location_pb2.NearbyDriversRequest(**{"city_id": "nyc", **fields})
    request.point.latitude, request.point.longitude = latitude, longitude
    return request


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (report(0), ["positions"]),
        (report(501), ["positions"]),
        (report(1, city_id=""), ["city_id"]),
        (report(0, city_id="new york"), ["city_id", "positions"]),
        (report(0, city_id="{nyc}"), ["city_id", "positions"]),
    ],
)
async def test_report_positions_refuses(stub: Any, request_: Any, fields: list[str]) -> None:
    assert fields_of(await refused(stub.ReportPositions(request_))) == fields


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (location_pb2.NearbyDriversRequest(), ["city_id", "point"]),
        (nearby(91), ["point.latitude"]),
        (nearby(math.nan, math.inf), ["point.latitude", "point.longitude"]),
        (nearby(max_drivers=101), ["max_drivers"]),
        (nearby(max_drivers=-1, max_radius_m=20_001), ["max_drivers", "max_radius_m"]),
    ],
)
async def test_nearby_drivers_refuses(stub: Any, request_: Any, fields: list[str]) -> None:
    assert fields_of(await refused(stub.NearbyDrivers(request_))) == fields


@pytest.mark.parametrize(
    ("ids", "fields"),
    [
        ([], ["driver_ids"]),
        (["driver-1", "", "a|b"], ["driver_ids[1]", "driver_ids[2]"]),
        (["driver-1"] * 501, ["driver_ids"]),
    ],
)
async def test_batch_get_positions_refuses(stub: Any, ids: list[str], fields: list[str]) -> None:
    request = location_pb2.BatchGetPositionsRequest(city_id="nyc", driver_ids=ids)
    assert fields_of(await refused(stub.BatchGetPositions(request))) == fields


async def test_missing_store_is_unavailable_with_a_delay(stub: Any) -> None:
    for call in (
        stub.ReportPositions(report(1)),
        stub.NearbyDrivers(nearby()),
        stub.BatchGetPositions(
            location_pb2.BatchGetPositionsRequest(city_id="nyc", driver_ids=["driver-1"])
        ),
    ):
        error = await refused(call)
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        trailers = dict(error.trailing_metadata())
        assert int(trailers[PUSHBACK_KEY]) > 0
        info = error_details_pb2.ErrorInfo()
        assert status_pb2.Status.FromString(trailers[DETAILS_KEY]).details[0].Unpack(info)
        assert info.reason == "REDIS_UNAVAILABLE"


async def test_malformed_positions_are_refused_one_by_one_without_the_store(stub: Any) -> None:
    """None of these has a driver to look up, so the store is not asked."""
    request = location_pb2.ReportPositionsRequest(city_id="nyc")
    request.positions.add()
    request.positions.add(driver_id="a|b", availability=1)
    request.positions.add(driver_id="x" * 65)
    response = await stub.ReportPositions(request)
    assert response.accepted_count == 0
    assert [(r.index, r.driver_id, r.reason) for r in response.refused] == [
        (0, "", location_pb2.REFUSAL_REASON_MALFORMED),
        (1, "a|b", location_pb2.REFUSAL_REASON_MALFORMED),
        (2, "x" * 65, location_pb2.REFUSAL_REASON_MALFORMED),
    ]


def test_reasons_and_availabilities_are_those_of_the_proto() -> None:
    from hailstorm.location.positions import Availability

    for kind, prefix in ((Refusal, "REFUSAL_REASON_"), (Availability, "AVAILABILITY_")):
        wire = location_pb2.RefusalReason if kind is Refusal else location_pb2.Availability
        named = {name.removeprefix(prefix): number for name, number in wire.items() if number}
        assert named == {member.name: member.value for member in kind}
