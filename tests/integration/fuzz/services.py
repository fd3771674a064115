"""The services that are fuzzed, on real stores, patient because the machine may be busy."""

import contextlib
from collections.abc import AsyncIterator, Callable

from hailstorm.dispatch.v1 import dispatch_pb2
from hailstorm.location.v1 import location_pb2
from hailstorm.runtime.clock import SystemClock
from hailstorm.trip.repository.migrate import migrate
from hailstorm.trip.v1 import trip_pb2
from integration.fuzz.switch import Switch
from integration.processes import ServiceProcess
from integration.stores import Database, RedisServer
from trip_calls import NOBODY, postgres_settings

NewService = Callable[[str, dict[str, str]], ServiceProcess]

SERVICES = {
    "trip": trip_pb2.DESCRIPTOR.services_by_name["TripService"],
    "location": location_pb2.DESCRIPTOR.services_by_name["LocationService"],
    "dispatch": dispatch_pb2.DESCRIPTOR.services_by_name["DispatchService"],
}


@contextlib.asynccontextmanager
async def start_services(
    new_service: NewService, database: Database, redis: RedisServer
) -> AsyncIterator[dict[str, ServiceProcess]]:
    """The three of them, not started yet, with a switch where dispatch looks for the edge."""
    await migrate(postgres_settings(database), SystemClock())
    # Patient, as the machine may be busy: UNAVAILABLE is a defect here.
    trip = new_service(
        "trip",
        {
            **database.environment,
            "HAILSTORM_EDGE_ADDRESS": NOBODY,
            "HAILSTORM_POSTGRES_ACQUIRE_SECONDS": "10",
            "HAILSTORM_POSTGRES_CONNECT_SECONDS": "10",
            "HAILSTORM_POSTGRES_COMMAND_SECONDS": "10",
        },
    )
    location = new_service(
        "location",
        {
            "HAILSTORM_REDIS_HOST": redis.host,
            "HAILSTORM_REDIS_PORT": str(redis.port),
            "HAILSTORM_REDIS_PASSWORD": redis.password,
            "HAILSTORM_REDIS_TIMEOUT_SECONDS": "5",
            "HAILSTORM_REDIS_TOTAL_SECONDS": "5",
            "HAILSTORM_REDIS_POOL_WAIT_SECONDS": "5",
        },
    )
    switch = Switch(**{each.name: each.target.removeprefix("dns:///") for each in (trip, location)})
    dispatch = new_service(
        "dispatch",
        {
            "HAILSTORM_EDGE_ADDRESS": await switch.open(),
            "HAILSTORM_DISPATCH_CALL_SECONDS": "10",
        },
    )
    made = {"trip": trip, "location": location, "dispatch": dispatch}
    try:
        yield made
    finally:
        await switch.close()
