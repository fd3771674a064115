"""A trip service whose Postgres is nowhere: what it says before any store is asked."""

from collections.abc import AsyncIterator

import pytest

from integration.stores import Database
from service_in_process import InProcessService
from trip_calls import TripCalls, trip_settings

# Nobody listens on port 1 of the loopback, so a connection is refused at once.
NOWHERE = Database("127.0.0.1", 1, "matcher", "hailstorm", "unused")


@pytest.fixture
async def service() -> AsyncIterator[InProcessService]:
    service = InProcessService("trip", trip_settings(NOWHERE, drain_max_seconds=1.0))
    await service.start()
    yield service
    await service.stop()


@pytest.fixture
async def calls(service: InProcessService) -> AsyncIterator[TripCalls]:
    async with service.channel() as channel:
        yield TripCalls(channel)
