"""The location domain over the session's Redis, and over one of the test's own."""

from collections.abc import AsyncIterator, Callable

import pytest
from prometheus_client import CollectorRegistry

from hailstorm.location.drivers import Drivers
from hailstorm.location.index import build_index
from hailstorm.location.settings import IndexKind, PositionSettings, RedisSettings
from hailstorm.location.store import Store
from hailstorm.runtime.clock import SystemClock
from hailstorm.runtime.settings import Secret
from integration.processes import ServiceProcess
from integration.stores import RedisServer


def settings_of(server: RedisServer, **fields: float) -> RedisSettings:
    """Settings that reach `server`; slow enough for a busy machine unless told otherwise."""
    patient = {"timeout_seconds": 5.0, "total_seconds": 5.0}
    return RedisSettings(
        host=server.host,
        port=server.port,
        password=Secret(server.password),
        **{**patient, **fields},  # type: ignore[arg-type]
    )


@pytest.fixture
async def store(redis: RedisServer) -> AsyncIterator[Store]:
    store = Store(settings_of(redis), SystemClock(), CollectorRegistry())
    yield store
    await store.close()


@pytest.fixture(params=list(IndexKind), ids=lambda kind: kind.value)
def index_kind(request: pytest.FixtureRequest) -> IndexKind:
    """Each test that asks for it runs on both indexes."""
    kind: IndexKind = request.param
    return kind


@pytest.fixture
def new_drivers(store: Store) -> Callable[..., Drivers]:
    """Makes the domain object, as a server process has one; two of them are two servers."""

    def make(kind: IndexKind = IndexKind.RING, clock: object = None) -> Drivers:
        settings = PositionSettings(index=kind)
        index = build_index(settings, store)
        return Drivers(settings, store, index, clock or SystemClock())  # type: ignore[arg-type]

    return make


@pytest.fixture
def own_location(
    own_redis: RedisServer, new_service: Callable[[str, dict[str, str]], ServiceProcess]
) -> ServiceProcess:
    """A location process that is ready, over a Redis that the test may break."""
    process = new_service("location", environment_of(own_redis))
    process.start_and_wait()
    return process


def environment_of(server: RedisServer) -> dict[str, str]:
    """The variables that point a service at `server`."""
    return {
        "HAILSTORM_REDIS_HOST": server.host,
        "HAILSTORM_REDIS_PORT": str(server.port),
        "HAILSTORM_REDIS_PASSWORD": server.password,
    }
