"""
The index changes while riders ask and drivers ping: nobody gets an empty answer.

Two servers hear of each flip at different times, as pods do. Time is held and
moved second by second, so that a minute of it takes none.
"""

from collections.abc import Callable

import pytest
from prometheus_client import CollectorRegistry

from hailstorm.location.drivers import Drivers
from hailstorm.location.flags import GEO_BACKEND
from hailstorm.location.index import build_switch, switch
from hailstorm.location.positions import Availability, Ping
from hailstorm.location.settings import IndexKind, PositionSettings
from hailstorm.location.store import Store
from hailstorm.runtime.flags import FixedFlags

BEAT_SECONDS = 4
FLEET = 12
HERE = (40.7500, -73.9800)


class HeldClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.at = 1_800_000_000.0

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.at += seconds


class Server:
    """One process's view: its flags, its switch, its drivers."""

    def __init__(self, store: Store, clock: HeldClock, kind: IndexKind) -> None:
        self.flags = FixedFlags({GEO_BACKEND: kind.value})
        settings = PositionSettings()
        self.registry = CollectorRegistry()
        index = build_switch(settings, store, self.flags, clock, self.registry)
        self.drivers = Drivers(settings, store, index, clock)

    def hear(self, kind: IndexKind) -> None:
        self.flags.values[GEO_BACKEND] = kind.value

    def uses(self, kind: IndexKind, use: str) -> bool:
        labels = {"index": kind.value, "use": use}
        return self.registry.get_sample_value("hailstorm_location_index", labels) == 1


class City:
    """Drivers who ping one server or the other, and riders who ask both each second."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.clock = HeldClock()
        self.servers = [Server(store, self.clock, IndexKind.RING) for _ in range(2)]
        self.seconds = 0
        self.busy: set[int] = set()
        # A driver is never shown where it was before its last ping.
        self.max_age_seconds = BEAT_SECONDS

    def start_server(self, kind: IndexKind) -> Server:
        self.servers.append(Server(self._store, self.clock, kind))
        return self.servers[-1]

    async def pass_seconds(self, number: int) -> None:
        for _ in range(number):
            await self.one_second()

    async def one_second(self) -> None:
        now_ms = int(self.clock.now() * 1000)
        for i in range(FLEET):
            if self.seconds % BEAT_SECONDS == i % BEAT_SECONDS:
                # Now this server, now that one, in an order of its own for each driver.
                server = self.servers[(self.seconds // BEAT_SECONDS + i) % len(self.servers)]
                is_busy = i in self.busy
                ping = Ping(
                    f"driver-{i}",
                    self.seconds + 1,
                    HERE[0] + i * 0.0005,
                    HERE[1] + self.seconds * 0.0001,
                    now_ms,
                    Availability.BUSY if is_busy else Availability.AVAILABLE,
                )
                decisions = await server.drivers.report("nyc", [ping])
                assert decisions.refused == []
        if self.seconds >= BEAT_SECONDS:
            for number, server in enumerate(self.servers):
                await self._check(number, server)
        self.seconds += 1
        self.clock.at += 1

    async def _check(self, number: int, server: Server) -> None:
        found = await server.drivers.nearby("nyc", *HERE, 50, 20_000)
        seen = {each.fix.driver_id for each in found}
        free = {f"driver-{i}" for i in range(FLEET) if i not in self.busy}
        what = f"second {self.seconds}, server {number}"
        assert free <= seen, f"{what}: {len(seen)} of {len(free)}"
        oldest = min(each.fix.observed_ms for each in found) / 1000
        assert self.clock.now() - oldest < self.max_age_seconds, what


@pytest.mark.parametrize("spread", [0, 5])
async def test_flip_and_back_leaves_no_rider_without_drivers(store: Store, spread: int) -> None:
    city = City(store)
    await city.pass_seconds(20)
    for kind in (IndexKind.GEOSEARCH, IndexKind.RING):
        city.servers[0].hear(kind)
        await city.pass_seconds(spread)
        city.servers[1].hear(kind)
        await city.pass_seconds(60 - spread)
        other = IndexKind.RING if kind is IndexKind.GEOSEARCH else IndexKind.GEOSEARCH
        for server in city.servers:
            assert server.uses(kind, "read")
            assert not server.uses(other, "read")
            # Writing both for ever would cost every ping twice.
            assert not server.uses(other, "written")


@pytest.mark.parametrize("after", [3, 10, 16, 18, 21, 30, 34, 36, 40])
async def test_flip_back_at_any_moment_leaves_no_rider_without_drivers(
    store: Store, after: int
) -> None:
    """Each moment lies in another step of the first flip; the spread makes them overlap."""
    city = City(store)
    await city.pass_seconds(8)
    for kind in (IndexKind.GEOSEARCH, IndexKind.RING):
        city.servers[0].hear(kind)
        await city.pass_seconds(3)
        city.servers[1].hear(kind)
        await city.pass_seconds(after - 3 if kind is IndexKind.GEOSEARCH else 45)
    assert all(server.uses(IndexKind.RING, "read") for server in city.servers)


async def test_server_that_starts_just_after_a_flip_finds_everybody(store: Store) -> None:
    city = City(store)
    await city.pass_seconds(12)
    for server in city.servers:
        server.hear(IndexKind.GEOSEARCH)
    # It writes to the new index alone, while the others still read the old one.
    city.max_age_seconds = 12
    city.start_server(IndexKind.GEOSEARCH)
    await city.pass_seconds(40)


async def test_driver_who_takes_a_trip_during_a_flip_is_not_found(store: Store) -> None:
    city = City(store)
    await city.pass_seconds(12)
    city.servers[0].hear(IndexKind.GEOSEARCH)
    await city.pass_seconds(2)
    city.busy = {0, 1, 2}
    await city.pass_seconds(3)
    city.servers[1].hear(IndexKind.GEOSEARCH)
    # Two beats: each of them has said so; the first to hear has begun to read at 17.
    await city.pass_seconds(16)
    for server in city.servers:
        found = await server.drivers.nearby("nyc", *HERE, 50, 20_000)
        assert {each.fix.driver_id for each in found} == {f"driver-{i}" for i in range(3, FLEET)}


async def test_without_the_hold_riders_miss_drivers(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proof that the tests above could fail."""
    monkeypatch.setattr(switch, "HEARING_SECONDS", -PositionSettings().silence_seconds)
    city = City(store)
    await city.pass_seconds(20)
    city.servers[0].hear(IndexKind.GEOSEARCH)
    with pytest.raises(AssertionError, match="of 12"):
        await city.pass_seconds(5)


async def test_flip_needs_no_second_look_once_it_is_over(
    store: Store, new_drivers: Callable[..., Drivers]
) -> None:
    """What is written after a flip is found by a plain index of that kind alone."""
    city = City(store)
    await city.pass_seconds(12)
    for server in city.servers:
        server.hear(IndexKind.GEOSEARCH)
    await city.pass_seconds(60)
    plain = new_drivers(IndexKind.GEOSEARCH, city.clock)
    assert len(await plain.nearby("nyc", *HERE, 50, 20_000)) == FLEET
    assert await new_drivers(IndexKind.RING, city.clock).nearby("nyc", *HERE, 50, 20_000) == []
