"""Dispatch, trip and location as one system in the test's process, without the edge."""

import dataclasses
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import grpc
import pytest

import hailstorm.dispatch.__main__ as dispatch_main
from hailstorm.dispatch.settings import DispatchSettings
from hailstorm.dispatch.v1 import dispatch_pb2, dispatch_pb2_grpc
from hailstorm.location.settings import LocationSettings
from hailstorm.location.v1 import location_pb2, location_pb2_grpc
from hailstorm.runtime.clock import SystemClock
from hailstorm.runtime.process import EdgeSettings
from hailstorm.runtime.settings import read_settings
from hailstorm.trip.repository.migrate import migrate
from integration.stores import Database, RedisServer
from service_in_process import InProcessService
from trip_calls import CITY, DROPOFF, PICKUP, TripCalls, postgres_settings, trip_settings


class DirectChannel:
    """Stands where the channel to the edge is: each service by its own channel."""

    def __init__(self, **targets: str) -> None:
        self._channels = {name: grpc.aio.insecure_channel(t) for name, t in targets.items()}

    def unary_unary(self, method: str, *arguments: Any, **options: Any) -> Any:
        return self._of(method).unary_unary(method, *arguments, **options)

    def unary_stream(self, method: str, *arguments: Any, **options: Any) -> Any:
        return self._of(method).unary_stream(method, *arguments, **options)

    def _of(self, method: str) -> Any:
        # As in /hailstorm.trip.v1.TripService/GetTrip.
        return self._channels[method.split(".")[1]]

    async def close(self) -> None:
        for channel in self._channels.values():
            await channel.close()


class System:
    """The three services, and what a test does with them."""

    def __init__(self, trip: InProcessService, location: InProcessService) -> None:
        self.trip = trip
        self.location = location
        self.dispatches: list[InProcessService] = []
        self._channels: list[Any] = []
        self._sequence = 0

    def dispatch(self, number: int = 0) -> Any:
        """The stub of one of the dispatches."""
        channel = grpc.aio.insecure_channel(self.dispatches[number].target)
        self._channels.append(channel)
        return dispatch_pb2_grpc.DispatchServiceStub(channel)

    async def report(self, *driver_ids: str, latitude: float = PICKUP.latitude) -> None:
        """Put drivers near the pickup, some 20 m from each other."""
        self._sequence += 1
        channel = grpc.aio.insecure_channel(self.location.target)
        self._channels.append(channel)
        request = location_pb2.ReportPositionsRequest(city_id=CITY)
        for number, driver_id in enumerate(driver_ids):
            position = request.positions.add(
                driver_id=driver_id,
                sequence=self._sequence,
                availability=location_pb2.AVAILABILITY_AVAILABLE,
            )
            position.point.latitude = latitude + 0.0002 * number
            position.point.longitude = PICKUP.longitude
            position.observed_at.FromMilliseconds(int(time.time() * 1000))
        stub = location_pb2_grpc.LocationServiceStub(channel)
        response = await stub.ReportPositions(request, timeout=30)
        assert response.accepted_count == len(driver_ids), response

    def trips(self) -> TripCalls:
        """Calls on the trip service itself."""
        channel = grpc.aio.insecure_channel(self.trip.target)
        self._channels.append(channel)
        return TripCalls(channel)

    async def close(self) -> None:
        for channel in self._channels:
            await channel.close()
        for service in (*self.dispatches, self.trip, self.location):
            await service.stop()


def wish(key: str, rider_id: str = "rider-1", **fields: Any) -> Any:
    """A RequestTripRequest."""
    return dispatch_pb2.RequestTripRequest(
        **{
            "idempotency_key": key,
            "city_id": CITY,
            "rider_id": rider_id,
            "pickup": PICKUP,
            "dropoff": DROPOFF,
            **fields,
        }
    )


@pytest.fixture
async def new_system(
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Callable[[Database, RedisServer], Awaitable[System]]]:
    """
    Starts a system with two dispatches on two stores.

    `environment` is dispatch's, `trip_fields` are those of `trip_settings`.
    """
    made: list[System] = []

    async def make(
        database: Database,
        redis: RedisServer,
        environment: dict[str, str] | None = None,
        **trip_fields: Any,
    ) -> System:
        await migrate(postgres_settings(database), SystemClock())
        reach = {
            "HAILSTORM_REDIS_HOST": redis.host,
            "HAILSTORM_REDIS_PORT": str(redis.port),
            "HAILSTORM_REDIS_PASSWORD": redis.password,
            # Patient, as the machine may be busy.
            "HAILSTORM_REDIS_TIMEOUT_SECONDS": "2",
            "HAILSTORM_REDIS_TOTAL_SECONDS": "2",
            # Drivers here report once, and must not fall silent before the test ends.
            "HAILSTORM_LOCATION_SILENCE_SECONDS": "120",
            "HAILSTORM_LIFECYCLE_PROPAGATION_SECONDS": "0",
            "HAILSTORM_LIFECYCLE_QUIET_MILLISECONDS": "50",
        }
        location = InProcessService("location", read_settings(LocationSettings, reach))
        await location.start()
        # Positions are all that trip asks others for, so location is edge enough.
        edge = EdgeSettings(address=location.target)
        trip = InProcessService(
            "trip", dataclasses.replace(trip_settings(database, **trip_fields), edge=edge)
        )
        system = System(trip, location)
        made.append(system)
        await trip.start()
        monkeypatch.setattr(
            dispatch_main,
            "edge_channel",
            lambda _: DirectChannel(trip=trip.target, location=location.target),
        )
        quick = dataclasses.replace(trip.settings.lifecycle)
        for _ in range(2):
            patient = read_settings(
                DispatchSettings,
                {
                    "HAILSTORM_DISPATCH_CALL_SECONDS": "20",
                    "HAILSTORM_SERVER_MAX_CONCURRENT": "1000",
                    # As patient as the tests' own deadlines: a call that is served may last.
                    "HAILSTORM_SEARCH_MIN_AGE_SECONDS": "60",
                    # Tests ask for more than there is, and look at the market when they want to.
                    "HAILSTORM_MARKET_POLL_MILLISECONDS": "3600000",
                    **(environment or {}),
                },
            )
            dispatch = InProcessService("dispatch", dataclasses.replace(patient, lifecycle=quick))
            system.dispatches.append(dispatch)
            await dispatch.start()
        return system

    yield make
    for system in made:
        await system.close()


@pytest.fixture
async def system(new_system: Any, database: Database, redis: RedisServer) -> System:
    made: System = await new_system(database, redis)
    return made


@pytest.fixture
async def sql(system: System, database: Database) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database.dsn)
    yield connection
    await connection.close()
