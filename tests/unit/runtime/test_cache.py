"""What a cache promises, on a clock that is held still."""

import asyncio
import contextvars
import random
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from hailstorm.runtime.cache import Cache, CacheMetrics, CachePolicy, Versioned
from hailstorm.runtime.calls import Call, current_call, enter_call
from hailstorm.runtime.errors import NotFoundError, UnavailableError
from unit.runtime.conftest import FakeClock, settle

POLICY = {"size": 100, "ttl_seconds": 10.0, "jitter": 0.0, "absent_seconds": 2.0, "beta": 0.0}


class Source:
    """What lies behind the cache: rows by key, a time that a load takes, a way to fail."""

    def __init__(self, clock: FakeClock) -> None:
        self.rows: dict[str, Versioned[str]] = {}
        self.failure: Exception | None = None
        self.seconds = 0.0
        self.loads = 0
        self.most_at_once: dict[str, int] = {}
        self.seen_calls: list[Call | None] = []
        self._clock = clock
        self._now: dict[str, int] = {}

    async def load(self, key: str) -> Versioned[str] | None:
        self.loads += 1
        self.seen_calls.append(current_call())
        self._now[key] = self._now.get(key, 0) + 1
        self.most_at_once[key] = max(self.most_at_once.get(key, 0), self._now[key])
        try:
            found = self.rows.get(key)
            if self.seconds:
                await self._clock.sleep(self.seconds)
            if self.failure is not None:
                raise self.failure
            return found
        finally:
            self._now[key] -= 1


@pytest.fixture
def source(clock: FakeClock) -> Source:
    return Source(clock)


NewCache = Callable[..., Cache[str, str]]


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def new_cache(clock: FakeClock, source: Source, registry: CollectorRegistry) -> NewCache:
    def make(randomness: Any = None, **policy: Any) -> Cache[str, str]:
        return Cache(
            "test", source.load, CachePolicy(**{**POLICY, **policy}), clock,
            CacheMetrics(registry), randomness or random.Random(1),
        )  # fmt: skip

    return make


def count(registry: CollectorRegistry, what: str, outcome: str) -> float:
    labels = {"cache": "test", "outcome": outcome}
    return registry.get_sample_value(f"hailstorm_cache_{what}_total", labels) or 0.0


async def test_value_is_loaded_once_while_it_is_fresh(
    new_cache: NewCache, source: Source, clock: FakeClock, registry: CollectorRegistry
) -> None:
    cache = new_cache()
    source.rows["a"] = Versioned("one", 1)
    assert [await cache.get("a") for _ in range(3)] == ["one"] * 3
    source.rows["a"] = Versioned("two", 2)
    await clock.run(9.9)
    assert await cache.get("a") == "one"
    await clock.run(0.2)
    assert await cache.get("a") == "two"
    assert source.loads == 2
    assert count(registry, "reads", "hit") == 3
    assert count(registry, "reads", "miss") == 2
    assert count(registry, "loads", "ok") == 2
    assert registry.get_sample_value("hailstorm_cache_entries", {"cache": "test"}) == 1


async def test_absence_is_remembered_for_its_own_time(
    new_cache: NewCache, source: Source, clock: FakeClock, registry: CollectorRegistry
) -> None:
    cache = new_cache()
    assert [await cache.get("a") for _ in range(3)] == [None] * 3
    assert source.loads == 1
    assert count(registry, "reads", "absent") == 2
    source.rows["a"] = Versioned("one", 1)
    await clock.run(2.1)
    assert await cache.get("a") == "one"


async def test_burst_of_misses_is_one_load(
    new_cache: NewCache, source: Source, clock: FakeClock
) -> None:
    cache = new_cache()
    source.seconds = 1.0
    source.rows["a"] = Versioned("one", 1)
    readers = [asyncio.create_task(cache.get("a")) for _ in range(50)]
    await clock.run(1.0)
    assert await asyncio.gather(*readers) == ["one"] * 50
    assert source.loads == 1


async def test_cancelled_leader_takes_nobody_along(
    new_cache: NewCache, source: Source, clock: FakeClock
) -> None:
    cache = new_cache()
    source.seconds = 1.0
    source.rows["a"] = Versioned("one", 1)
    leader = asyncio.create_task(cache.get("a"))
    await settle()
    followers = [asyncio.create_task(cache.get("a")) for _ in range(3)]
    await settle()
    leader.cancel()
    await clock.run(1.0)
    assert await asyncio.gather(*followers) == ["one"] * 3
    assert leader.cancelled()
    assert source.loads == 1


async def test_load_does_not_inherit_the_deadline_of_its_first_caller(
    new_cache: NewCache, source: Source
) -> None:
    cache = new_cache()

    async def call() -> None:
        enter_call(Call("/x/Y", "id", deadline=0.0))
        await cache.get("a")

    await asyncio.get_running_loop().create_task(call(), context=contextvars.copy_context())
    assert source.seen_calls == [None]


async def test_failed_load_fails_its_callers_and_no_later_one(
    new_cache: NewCache, source: Source, clock: FakeClock, registry: CollectorRegistry
) -> None:
    cache = new_cache(stale_seconds=5.0)
    source.seconds = 1.0
    source.failure = UnavailableError("away")
    readers = [asyncio.create_task(cache.get("a")) for _ in range(3)]
    await clock.run(1.0)
    ends = await asyncio.gather(*readers, return_exceptions=True)
    assert all(isinstance(end, UnavailableError) for end in ends)
    assert source.loads == 1
    assert count(registry, "loads", "error") == 1
    source.failure, source.seconds = None, 0.0
    source.rows["a"] = Versioned("one", 1)
    assert await cache.get("a") == "one"


async def test_old_value_stands_in_while_the_source_is_away_but_not_for_ever(
    new_cache: NewCache, source: Source, clock: FakeClock, registry: CollectorRegistry
) -> None:
    cache = new_cache(stale_seconds=5.0)
    source.rows["a"] = Versioned("one", 1)
    await cache.get("a")
    source.failure = UnavailableError("away")
    await clock.run(14.9)
    assert await cache.get("a") == "one"
    assert count(registry, "reads", "stale") == 1
    await clock.run(0.2)
    with pytest.raises(UnavailableError):
        await cache.get("a")


async def test_old_value_does_not_hide_an_error_that_is_no_outage(
    new_cache: NewCache, source: Source, clock: FakeClock
) -> None:
    cache = new_cache(stale_seconds=5.0)
    source.rows["a"] = Versioned("one", 1)
    await cache.get("a")
    await clock.run(11.0)
    source.failure = NotFoundError("a defect of ours, or a fact")
    with pytest.raises(NotFoundError):
        await cache.get("a")


async def test_absence_does_not_stand_in_for_what_cannot_be_asked(
    new_cache: NewCache, source: Source, clock: FakeClock
) -> None:
    cache = new_cache(stale_seconds=5.0)
    assert await cache.get("a") is None
    await clock.run(2.1)
    source.failure = UnavailableError("away")
    with pytest.raises(UnavailableError):
        await cache.get("a")


async def test_least_recently_used_entry_goes(
    new_cache: NewCache, source: Source, registry: CollectorRegistry
) -> None:
    cache = new_cache(size=2)
    source.rows = {name: Versioned(name, 1) for name in "abc"}
    for name in ("a", "b", "a", "c"):
        await cache.get(name)
    assert source.loads == 3
    await cache.get("a")
    assert source.loads == 3
    await cache.get("b")
    assert source.loads == 4
    assert registry.get_sample_value("hailstorm_cache_entries", {"cache": "test"}) == 2


async def test_jitter_ends_entries_at_different_times(
    new_cache: NewCache, source: Source, clock: FakeClock
) -> None:
    cache = new_cache(jitter=0.5)
    for number in range(50):
        source.rows[str(number)] = Versioned("x", 1)
        await cache.get(str(number))
    await clock.run(7.5)
    for number in range(50):
        await cache.get(str(number))
    # Half of them, give or take what 50 draws may differ.
    assert 12 <= source.loads - 50 <= 38


async def test_refresh_ahead_spares_every_reader_the_wait(
    new_cache: NewCache, source: Source, clock: FakeClock
) -> None:
    cache = new_cache(refresh_ahead=0.5)
    source.rows["a"] = Versioned("one", 1)
    await cache.get("a")
    source.rows["a"] = Versioned("two", 2)
    source.seconds = 1.0
    await clock.run(4.9)
    assert await cache.get("a") == "one"
    assert source.loads == 1
    await clock.run(0.2)
    # At once, and not a second later.
    assert [await cache.get("a") for _ in range(5)] == ["one"] * 5
    await clock.run(1.0)
    assert await cache.get("a") == "two"
    assert source.loads == 2


async def test_failed_refresh_shows_only_when_the_entry_is_over(
    new_cache: NewCache, source: Source, clock: FakeClock
) -> None:
    cache = new_cache(refresh_ahead=0.5)
    source.rows["a"] = Versioned("one", 1)
    await cache.get("a")
    source.failure = UnavailableError("away")
    await clock.run(6.0)
    assert await cache.get("a") == "one"
    await settle()
    assert await cache.get("a") == "one"
    await clock.run(5.0)
    with pytest.raises(UnavailableError):
        await cache.get("a")


class Draws:
    def __init__(self, value: float) -> None:
        self.value = value

    def random(self) -> float:
        return self.value


async def test_early_expiry_follows_the_paper(
    new_cache: NewCache, source: Source, clock: FakeClock
) -> None:
    """-load_time * beta * ln(draw), with a load of 1 s and a draw of 1/e: 1 s early."""
    draws = Draws(1 - 1 / 2.718281828459045)
    cache = new_cache(randomness=draws, beta=1.0)
    source.rows["a"] = Versioned("one", 1)
    source.seconds = 1.0
    first = asyncio.create_task(cache.get("a"))
    await clock.run(1.0)
    await first
    await clock.run(8.9)
    await cache.get("a")
    await settle()
    assert source.loads == 1
    await clock.run(0.2)
    # Early is no reason to wait.
    assert await cache.get("a") == "one"
    await settle()
    assert source.loads == 2
    await clock.run(1.0)


async def test_older_version_never_overwrites_a_newer_one(
    new_cache: NewCache, source: Source, clock: FakeClock, registry: CollectorRegistry
) -> None:
    cache = new_cache(refresh_ahead=0.5)
    cache.put("a", Versioned("three", 3))
    cache.put("a", Versioned("two", 2))
    assert await cache.get("a") == "three"
    source.rows["a"] = Versioned("two", 2)
    await clock.run(6.0)
    await cache.get("a")
    await settle()
    assert await cache.get("a") == "three"
    assert count(registry, "loads", "outdated") == 2
    # Past its end the source is right, or one that counts anew would never be heard.
    await clock.run(5.0)
    assert await cache.get("a") == "two"


async def test_load_that_began_before_a_write_is_not_kept(
    new_cache: NewCache, source: Source, clock: FakeClock
) -> None:
    cache = new_cache()
    source.seconds = 1.0
    source.rows["a"] = Versioned("one", 1)
    reader = asyncio.create_task(cache.get("a"))
    await settle()
    cache.put("a", Versioned("two", 2))
    await clock.run(1.0)
    assert await reader == "one"
    assert await cache.get("a") == "two"
    assert source.loads == 1


async def test_forgotten_key_is_asked_for_again_by_who_comes_later(
    new_cache: NewCache, source: Source, clock: FakeClock
) -> None:
    cache = new_cache()
    source.seconds = 1.0
    source.rows["a"] = Versioned("one", 1)
    before = asyncio.create_task(cache.get("a"))
    await settle()
    source.rows["a"] = Versioned("two", 2)
    cache.forget("a")
    after = asyncio.create_task(cache.get("a"))
    await clock.run(1.0)
    assert (await before, await after) == ("one", "two")
    assert await cache.get("a") == "two"


@pytest.mark.parametrize("seed", range(20))
async def test_readers_never_see_a_version_go_back_and_never_load_at_once(
    new_cache: NewCache, source: Source, clock: FakeClock, seed: int
) -> None:
    """Readers, writers, cancellations and outages in a seeded order."""
    print(f"seed {seed}")
    chance = random.Random(seed)
    # What overtakes a load lets the next one begin beside it; without that, no two do.
    is_overtaken = seed % 2 == 0
    cache = new_cache(
        randomness=chance, size=4, ttl_seconds=3.0, jitter=0.3, beta=1.0, refresh_ahead=0.3,
        stale_seconds=2.0,
    )  # fmt: skip
    keys = list("abcdef")
    versions = dict.fromkeys(keys, 1)
    for key in keys:
        source.rows[key] = Versioned("1", 1)
    # Values are trusted for 3 s and stand in for 2 more.
    written: dict[str, list[tuple[float, int]]] = {key: [(clock.monotonic(), 1)] for key in keys}

    async def reader(key: str) -> None:
        for _ in range(20):
            asked = clock.monotonic()
            try:
                value = await cache.get(key)
            except UnavailableError:
                value = None
            if value is not None:
                oldest_allowed = max(
                    version for at, version in written[key] if at <= max(asked - 5.0, 1_000.0)
                )
                assert int(value) >= oldest_allowed, (key, value, oldest_allowed)
                assert int(value) <= versions[key]
            await clock.sleep(chance.uniform(0, 0.5))

    async def writer() -> None:
        for _ in range(40):
            key = chance.choice(keys)
            versions[key] += 1
            fresh = Versioned(str(versions[key]), versions[key])
            source.rows[key] = fresh
            written[key].append((clock.monotonic(), fresh.version))
            if is_overtaken and chance.random() < 0.5:
                cache.put(key, fresh)
            elif is_overtaken and chance.random() < 0.3:
                cache.forget(key)
            source.seconds = chance.choice((0.0, 0.1, 0.4))
            source.failure = UnavailableError("away") if chance.random() < 0.15 else None
            await clock.sleep(chance.uniform(0, 0.5))

    readers = [asyncio.create_task(reader(chance.choice(keys))) for _ in range(20)]
    writing = asyncio.create_task(writer())
    for _ in range(40):
        await clock.run(0.5)
        if chance.random() < 0.2:
            chance.choice(readers).cancel()
    ends = await asyncio.gather(*readers, writing, return_exceptions=True)
    wrong = [end for end in ends if end and not isinstance(end, asyncio.CancelledError)]
    assert wrong == []
    assert is_overtaken or set(source.most_at_once.values()) == {1}
    assert len(cache._entries) <= 4
    assert cache._flights == {}
    assert source.loads > 20
