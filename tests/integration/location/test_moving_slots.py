"""Slots that move from one master of a real Redis Cluster to another, under calls."""

import time

import pytest
from prometheus_client import CollectorRegistry
from redis.crc import key_slot

from hailstorm.location.store import Command, Script, Store, StoreUnavailableError
from integration.location.conftest import cluster_settings_of
from integration.redis_cluster import MASTERS, RedisCluster
from integration.stores import RedisServer


def move_slot(cluster: RedisCluster, key: str) -> tuple[int, RedisServer, RedisServer]:
    """The slot of a key, who holds it, and somebody else."""
    source = cluster.owner_of(key)
    target = next(server for server in cluster.servers[:MASTERS] if server is not source)
    return key_slot(key.encode()), source, target


async def test_slot_that_moves_is_followed(cluster_store: Store, cluster: RedisCluster) -> None:
    """ASK while it moves, MOVED once it has: neither loses a write, nor runs one twice."""
    key = "loc:{moving}:count"
    slot, source, target = move_slot(cluster, key)
    # Not known to any server, so that ASK and NOSCRIPT come together.
    script = Script.of("return redis.call('INCR', KEYS[1])")

    async def count() -> int:
        # Another server's key beside it: what is answered is not asked again.
        others = [Command(("INCR", f"other-{i}")) for i in range(20)]
        *_, answer = await cluster_store.write([*others, script.call([key], ())])
        return int(answer)

    await cluster_store.read([Command(("GET", key))])
    cluster.ask(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", cluster.name_of(source))
    cluster.ask(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", cluster.name_of(target))
    try:
        assert [await count() for _ in range(3)] == [1, 2, 3]
        assert cluster.keys_on(target) > 0
    finally:
        for server in (target, source):
            cluster.ask(server, "CLUSTER", "SETSLOT", slot, "NODE", cluster.name_of(target))
    assert [await count() for _ in range(3)] == [4, 5, 6]
    (others,) = await cluster_store.read([Command(("GET", "other-0"))])
    assert others == b"6"


class Between:
    """A slot on its way, one key of two already there; a clock on which it arrives."""

    def __init__(self, cluster: RedisCluster) -> None:
        self._cluster = cluster
        self.keys = [f"loc:{{between}}:{i}" for i in range(2)]
        self.slot, self.source, self.target = move_slot(cluster, self.keys[0])
        self.arrives_after: int | None = None
        self._has_arrived = False

    async def begin(self, store: Store) -> None:
        await store.write([Command(("SET", key, key)) for key in self.keys])
        name = self._cluster.name_of
        self._set(self.target, "IMPORTING", name(self.source))
        self._set(self.source, "MIGRATING", name(self.target))
        self._move(self.keys[0])

    def end(self) -> None:
        """All keys, and the slot with them, are at the target; repeatable."""
        if self._has_arrived:
            return
        self._has_arrived = True
        self._move(self.keys[1])
        for server in (self.target, self.source):
            self._set(server, "NODE", self._cluster.name_of(self.target))

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """So many sleeps later it arrives; nobody waits for one."""
        if self.arrives_after is not None:
            self.arrives_after -= 1
            if self.arrives_after == 0:
                self.end()

    def _set(self, server: RedisServer, *words: str) -> None:
        self._cluster.ask(server, "CLUSTER", "SETSLOT", self.slot, *words)

    def _move(self, key: str) -> None:
        to = ("MIGRATE", self.target.host, self.target.port, key, 0, 5000)
        self._cluster.ask(self.source, *to, "AUTH", self.target.password)


async def test_keys_on_both_sides_of_a_move_are_no_outage_of_their_server(
    cluster: RedisCluster,
) -> None:
    """TRYAGAIN is an answer: it took the breaker of all that the server holds."""
    between = Between(cluster)
    settings = cluster_settings_of(between.source, breaker_failures=1, breaker_silence_seconds=0.0)
    registry = CollectorRegistry()
    store = Store(settings, between, registry)
    await between.begin(store)
    try:
        with pytest.raises(StoreUnavailableError):
            await store.read([Command(("MGET", *between.keys))])
        held = (f"other-{i}" for i in range(999))
        other = next(key for key in held if cluster.owner_of(key) is between.source)
        assert await store.read([Command(("GET", other))]) == [None]
        assert registry.get_sample_value("hailstorm_location_store_reachable") == 1
        # Asked again it is answered, though it writes: it has not run yet.
        between.arrives_after = 1
        both = Command(("MSET", between.keys[0], "a", between.keys[1], "b"))
        assert await store.write([both]) == [b"OK"]
        assert await store.read([Command(("MGET", *between.keys))]) == [[b"a", b"b"]]
    finally:
        between.end()
        await store.close()
