"""
The same code on a Redis in cluster mode, which refuses keys of several slots.

One server that owns all slots is enough: it checks slots as any other does.
"""

from collections.abc import AsyncIterator, Iterator

import pytest
from prometheus_client import CollectorRegistry

from eventually import eventually
from hailstorm.location.drivers import Drivers
from hailstorm.location.index import build_index
from hailstorm.location.positions import Availability, Ping
from hailstorm.location.settings import IndexKind, PositionSettings, RedisSettings
from hailstorm.location.store import Command, Store
from hailstorm.runtime.clock import SystemClock
from hailstorm.runtime.settings import Secret
from integration.stores import RedisServer


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisServer]:
    server = RedisServer("--cluster-enabled", "yes")
    try:
        server.start()
        assert server.command("CLUSTER", "ADDSLOTSRANGE", "0", "16383") == b"+OK"
        yield server
    finally:
        server.remove()


@pytest.fixture
async def store(cluster: RedisServer) -> AsyncIterator[Store]:
    await eventually(lambda: cluster.command("SET", "{up}", "1") == b"+OK", 20)
    settings = RedisSettings(
        host=cluster.host,
        port=cluster.port,
        password=Secret(cluster.password),
        timeout_seconds=5,
        total_seconds=5,
    )
    store = Store(settings, SystemClock(), CollectorRegistry())
    yield store
    await store.close()


async def test_cluster_refuses_keys_of_several_slots(store: Store) -> None:
    """The proof that the test below could fail."""
    with pytest.raises(Exception, match=r"CROSSSLOT|same slot"):
        await store.read([Command(("MGET", "a", "b"))])


async def test_everything_works_in_cluster_mode(store: Store, index_kind: IndexKind) -> None:
    clock = SystemClock()
    settings = PositionSettings(index=index_kind)
    drivers = Drivers(settings, store, build_index(settings, store), clock)
    for sequence in (1, 2):
        now_ms = int(clock.now() * 1000)
        # Four degrees wide: several parents; the second round moves everybody a cell on.
        pings = [
            Ping(
                f"driver-{i}",
                sequence,
                40.0 + i * 0.008,
                -75.0 + i * 0.008 + sequence * 0.003,
                now_ms,
                Availability.AVAILABLE,
            )
            for i in range(500)
        ]
        decisions = await drivers.report(index_kind.value, pings)
        assert decisions.accepted_count == 500
    assert len(await drivers.positions(index_kind.value, [p.driver_id for p in pings])) == 500
    found = await drivers.nearby(index_kind.value, 42.0, -73.0, 30, 20_000)
    assert len(found) == 30
