"""The same code on a real Redis Cluster of three masters, whole and broken."""

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from prometheus_client import CollectorRegistry

from eventually import eventually
from hailstorm.location import keys
from hailstorm.location.cluster import owners_of
from hailstorm.location.drivers import Drivers
from hailstorm.location.geometry import cell_at, parent_of
from hailstorm.location.index import build_index
from hailstorm.location.positions import Availability, Ping
from hailstorm.location.settings import IndexKind, PositionSettings
from hailstorm.location.store import Command, Store, StoreUnavailableError
from hailstorm.location.v1 import location_pb2, location_pb2_grpc
from hailstorm.runtime.clock import SystemClock
from integration.location.conftest import cluster_settings_of
from integration.processes import ServiceProcess
from integration.redis_cluster import MASTERS, RedisCluster
from integration.stores import RedisServer
from ready_channel import ready_channel

# Above what a store operation may take, below what a caller waits.
FAST_SECONDS = 1.0
HERE = (40.75, -73.98)


@pytest.fixture
def own_cluster() -> Iterator[RedisCluster]:
    """Three masters and a replica of the first, for a test that leaves them changed."""
    cluster = RedisCluster(replicas=1)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.remove()


def drivers_over(store: Store, kind: IndexKind = IndexKind.RING) -> Drivers:
    settings = PositionSettings(index=kind)
    return Drivers(settings, store, build_index(settings, store), SystemClock())


def fleet(sequence: int, number: int = 500) -> list[Ping]:
    """Four degrees wide: many parents; each round moves everybody a cell on."""
    now_ms = int(time.time() * 1000)
    return [
        Ping(
            f"driver-{i}",
            sequence,
            40.0 + i * 0.008,
            -75.0 + i * 0.008 + sequence * 0.003,
            now_ms,
            Availability.AVAILABLE,
        )
        for i in range(number)
    ]


async def test_cluster_refuses_keys_of_several_slots(cluster_store: Store) -> None:
    """The proof that the tests below could fail."""
    with pytest.raises(Exception, match=r"CROSSSLOT|same slot"):
        await cluster_store.read([Command(("MGET", "a", "b"))])


async def test_everything_works_over_three_masters(
    cluster_store: Store, cluster: RedisCluster, index_kind: IndexKind
) -> None:
    drivers = drivers_over(cluster_store, index_kind)
    for sequence in (1, 2):
        decisions = await drivers.report("nyc", pings := fleet(sequence))
        assert decisions.accepted_count == 500
    positions = await drivers.positions("nyc", [ping.driver_id for ping in pings])
    assert {fix.sequence for fix in positions} == {2}
    assert len(positions) == 500
    found = await drivers.nearby("nyc", 42.0, -73.0, 30, 20_000)
    assert len(found) == 30
    # One city does not sit on one server.
    assert all(cluster.keys_on(server) > 10 for server in cluster.servers)


async def test_answers_come_back_in_their_places(
    cluster_store: Store, cluster: RedisCluster
) -> None:
    names = [f"key-{i}" for i in range(100)]
    assert len({cluster.owner_of(name).port for name in names[:20]}) == MASTERS
    await cluster_store.write([Command(("SET", name, name)) for name in names])
    answers = await cluster_store.read([Command(("GET", name)) for name in reversed(names)])
    assert [answer.decode() for answer in answers] == names[::-1]


async def test_first_server_need_not_live_on(cluster: RedisCluster) -> None:
    """It is where the map is asked for; any other does as well."""
    seed = cluster.servers[2]
    store = Store(
        cluster_settings_of(seed, timeout_seconds=0.5), SystemClock(), CollectorRegistry()
    )
    key = next(k for k in (f"k-{i}" for i in range(99)) if cluster.owner_of(k) is not seed)
    await store.write([Command(("SET", key, "here"))])
    seed.freeze()
    try:
        assert await store.read([Command(("GET", key))]) == [b"here"]
    finally:
        seed.thaw()
    await store.close()


async def test_nobody_there_is_unavailable_and_a_map_is_found_later(
    own_redis: RedisServer,
) -> None:
    own_redis.kill()
    settings = cluster_settings_of(own_redis, timeout_seconds=0.2, total_seconds=0.3)
    store = Store(settings, SystemClock(), CollectorRegistry())
    started = time.monotonic()
    with pytest.raises(StoreUnavailableError):
        await store.read([Command(("GET", "a"))])
    assert time.monotonic() - started < FAST_SECONDS
    await store.close()


@pytest.mark.parametrize("how", ["kill", "freeze"])
async def test_lost_master_is_unavailable_at_once_and_heals_by_itself(
    how: str, cluster: RedisCluster, new_service: Callable[..., ServiceProcess]
) -> None:
    location = location_over(cluster, new_service)
    async with ready_channel(location.target) as channel:
        stub = location_pb2_grpc.LocationServiceStub(channel)
        await eventually(lambda: works(stub), 20)
        tag = keys.index_tag("nyc", parent_of(cell_at(*HERE)))
        victim = cluster.owner_of(keys.live_cells(tag))
        getattr(victim, how)()
        for ask in (lambda: stub.NearbyDrivers(nearby(), timeout=10), lambda: report(stub)):
            started = time.monotonic()
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await ask()
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE, caught.value.details()
            assert time.monotonic() - started < FAST_SECONDS
        assert location.readiness() == (200, "SERVING\n")
        assert "hailstorm_location_store_reachable 0.0" in location.get("/metrics")[1]
        victim.start() if how == "kill" else victim.thaw()
        await asyncio.to_thread(cluster.wait_until_whole)
        await eventually(lambda: works(stub), 10)
        assert "hailstorm_location_store_reachable 1.0" in location.get("/metrics")[1]
    assert not [line for line in location.log_lines() if line["level"] == "error"]


async def test_lost_master_costs_the_others_nothing(cluster: RedisCluster) -> None:
    """Until the servers themselves agree that a part is missing, the rest is served."""
    settings = cluster_settings_of(cluster.servers[0], timeout_seconds=0.2, total_seconds=0.3)
    store = Store(settings, SystemClock(), CollectorRegistry())
    victim = cluster.servers[1]
    names = [f"key-{i}" for i in range(200)]
    theirs = [name for name in names if cluster.owner_of(name) is victim]
    ours = [name for name in names if cluster.owner_of(name) is not victim]
    await store.write([Command(("SET", name, name)) for name in names])
    cluster.ask(cluster.servers[0], "CONFIG", "SET", "cluster-require-full-coverage", "no")
    cluster.ask(cluster.servers[2], "CONFIG", "SET", "cluster-require-full-coverage", "no")
    victim.freeze()
    try:
        # Enough at once to open a breaker, were there one for all.
        asks = [store.read([Command(("GET", name))]) for name in theirs[:8]]
        for answer in await asyncio.gather(*asks, return_exceptions=True):
            assert isinstance(answer, StoreUnavailableError)
        started = time.monotonic()
        for name in ours[:50]:
            assert await store.read([Command(("GET", name))]) == [name.encode()]
        assert time.monotonic() - started < FAST_SECONDS
    finally:
        victim.thaw()
        cluster.ask(cluster.servers[0], "CONFIG", "SET", "cluster-require-full-coverage", "yes")
        cluster.ask(cluster.servers[2], "CONFIG", "SET", "cluster-require-full-coverage", "yes")
    await store.close()


async def test_replica_that_takes_over_is_found(
    own_cluster: RedisCluster, new_service: Callable[..., ServiceProcess]
) -> None:
    victim, replica = own_cluster.servers[0], own_cluster.servers[MASTERS]
    # The one that dies is also the one that the settings name.
    location = location_over(own_cluster, new_service)
    async with ready_channel(location.target) as channel:
        stub = location_pb2_grpc.LocationServiceStub(channel)
        await eventually(lambda: works(stub), 20)
        victim.kill()
        # It never comes back; what helps is a map that names the replica.
        await eventually(lambda: works(stub), 20)
    assert own_cluster.is_master(replica)
    # A server that is none any more is no outage.
    reachable = "hailstorm_location_store_reachable 1.0"
    await eventually(lambda: reachable in location.get("/metrics")[1], 5)


def location_over(
    cluster: RedisCluster, new_service: Callable[..., ServiceProcess]
) -> ServiceProcess:
    seed = cluster.servers[0]
    process = new_service(
        "location",
        {
            "HAILSTORM_REDIS_MODE": "cluster",
            "HAILSTORM_REDIS_HOST": seed.host,
            "HAILSTORM_REDIS_PORT": str(seed.port),
            "HAILSTORM_REDIS_PASSWORD": seed.password,
        },
    )
    process.start_and_wait()
    return process


async def report(stub: Any) -> Any:
    """Sixty drivers around one place: every bucket of records, so every master."""
    request = location_pb2.ReportPositionsRequest(city_id="nyc")
    for i in range(60):
        position = request.positions.add(
            driver_id=f"driver-{i}", sequence=time.time_ns(), availability=1
        )
        position.point.latitude, position.point.longitude = HERE
        position.observed_at.GetCurrentTime()
    return await stub.ReportPositions(request, timeout=10)


def nearby() -> Any:
    request = location_pb2.NearbyDriversRequest(city_id="nyc", max_drivers=60)
    request.point.latitude, request.point.longitude = HERE
    return request


async def works(stub: Any) -> bool:
    accepted = (await report(stub)).accepted_count
    return accepted == 60 and len((await stub.NearbyDrivers(nearby(), timeout=5)).drivers) == 60


def test_server_that_does_not_know_its_address_is_the_one_asked() -> None:
    owners = owners_of([[0, 1, [b"", 7000, b"id"]], [3, 16383, [b"10.0.0.2", 7001]]], "10.0.0.1")
    assert owners[:4] == [("10.0.0.1", 7000), ("10.0.0.1", 7000), None, ("10.0.0.2", 7001)]
    assert len(owners) == 16384
