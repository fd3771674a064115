"""The location domain over the session's Redis or Redis Cluster, and over one of the test's own."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from hailstorm.location.drivers import Drivers
from hailstorm.location.index import build_index
from hailstorm.location.settings import IndexKind, PositionSettings, RedisMode, RedisSettings
from hailstorm.location.store import Store
from hailstorm.runtime.clock import SystemClock
from hailstorm.runtime.settings import Secret
from integration.processes import ServiceProcess
from integration.redis_cluster import RedisCluster
from integration.stores import RedisServer


def settings_of(server: RedisServer, **fields: Any) -> RedisSettings:
    """Settings that reach `server`; slow enough for a busy machine unless told otherwise."""
    patient = {"timeout_seconds": 5.0, "total_seconds": 5.0}
    return RedisSettings(
        host=server.host,
        port=server.port,
        password=Secret(server.password),
        **{**patient, **fields},
    )


def cluster_settings_of(server: RedisServer, **fields: Any) -> RedisSettings:
    """The same for a cluster, of which `server` is asked first."""
    return settings_of(server, mode=RedisMode.CLUSTER, **fields)


@pytest.fixture
async def store(redis: RedisServer) -> AsyncIterator[Store]:
    store = Store(settings_of(redis), SystemClock(), CollectorRegistry())
    yield store
    await store.close()


@pytest.fixture(scope="session")
def shared_cluster() -> Iterator[RedisCluster]:
    """Three masters for all tests; use `cluster` to find them whole and empty."""
    cluster = RedisCluster()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.remove()


@pytest.fixture
def cluster(shared_cluster: RedisCluster) -> RedisCluster:
    """Three masters, emptied; a test that breaks something puts it right again."""
    shared_cluster.wait_until_whole()
    shared_cluster.empty()
    return shared_cluster


@pytest.fixture
async def cluster_store(cluster: RedisCluster) -> AsyncIterator[Store]:
    store = Store(cluster_settings_of(cluster.servers[0]), SystemClock(), CollectorRegistry())
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
