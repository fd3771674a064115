"""The location process: `python3 -m hailstorm.location`."""

import os

from hailstorm.location.drivers import Drivers
from hailstorm.location.flags import FLAGS
from hailstorm.location.index import build_switch
from hailstorm.location.servicer import PRIORITIES, SERVICE_NAME, LocationServicer
from hailstorm.location.settings import LocationSettings
from hailstorm.location.store import Store
from hailstorm.location.v1 import location_pb2_grpc
from hailstorm.runtime.run import Process, serve
from hailstorm.runtime.settings import settings_or_exit


async def start(process: Process[LocationSettings]) -> None:
    """Build the service; Redis is not asked for until the first call."""
    settings = process.settings
    store = Store(settings.redis, process.clock, process.registry)
    process.lifecycle.on_close("redis", store.close)
    index = build_switch(settings.location, store, process.flags, process.clock, process.registry)
    drivers = Drivers(settings.location, store, index, process.clock)
    process.register(
        location_pb2_grpc.add_LocationServiceServicer_to_server,
        LocationServicer(drivers, process.registry),
        SERVICE_NAME,
        PRIORITIES,
    )


if __name__ == "__main__":
    serve("location", settings_or_exit(LocationSettings, os.environ), start, flags=FLAGS)
