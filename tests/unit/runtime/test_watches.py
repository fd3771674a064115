"""The loop that feeds streams, and how streams end."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Gauge

from eventually import eventually
from hailstorm.runtime import watches
from hailstorm.runtime.clock import SystemClock
from hailstorm.runtime.errors import UnavailableError

# Longer than any of these tests: what is told in time was asked for at once.
NEVER = 3600.0


class Watch(watches.Watch):
    def __init__(self, draining: asyncio.Event) -> None:
        super().__init__(draining)
        self.news: list[str] = []

    def tell(self, word: str) -> None:
        self.news.append(word)
        self.wake()

    def _news(self) -> Iterator[str]:
        while self.news:
            word = self.news[0]
            yield word
            self.news.remove(word)
            self.is_over = word == "end"


class Watches(watches.Watches[Watch]):
    def __init__(self, draining: asyncio.Event, poll_seconds: float = NEVER) -> None:
        self.registry = CollectorRegistry()
        gauge = Gauge("watches", "Open ones.", registry=self.registry)
        super().__init__(SystemClock(), gauge, draining, poll_seconds)
        self.draining = draining
        self.looks = 0
        self.failures = 0

    def watch(self, *names: watches.Name) -> Any:
        return self._following(Watch(self.draining), names)

    def changed(self, name: watches.Name) -> None:
        self._look_soon(name)

    async def _look(self) -> None:
        self.looks += 1
        if self.failures:
            self.failures -= 1
            raise UnavailableError("the store is away")
        for watch in self:
            watch.tell(f"look {self.looks}")


@contextlib.asynccontextmanager
async def fed(poll_seconds: float = NEVER) -> AsyncIterator[Watches]:
    all_of_them = Watches(asyncio.Event(), poll_seconds)
    tasks = [
        asyncio.create_task(all_of_them.feed()),
        asyncio.create_task(all_of_them.end_with_drain()),
    ]
    try:
        yield all_of_them
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_opening_and_own_changes_are_looked_for_at_once() -> None:
    async with fed() as all_of_them:
        with all_of_them.watch(("nyc", "a")) as watch:
            events = watch.events()
            assert await anext(events) == "look 1"
            all_of_them.changed(("nyc", "nobody's"))
            all_of_them.changed(("nyc", "a"))
            assert await anext(events) == "look 2"
            await events.aclose()


async def test_changes_elsewhere_are_found_by_the_next_look() -> None:
    async with fed(poll_seconds=0.01) as all_of_them:
        with all_of_them.watch(("nyc", "a")) as watch:
            events = watch.events()
            assert [await anext(events) for _ in range(3)] == ["look 1", "look 2", "look 3"]
            await events.aclose()


async def test_look_that_fails_is_made_again_and_streams_stay_open() -> None:
    async with fed(poll_seconds=0.01) as all_of_them:
        all_of_them.failures = 2
        with all_of_them.watch(("nyc", "a")) as watch:
            events = watch.events()
            assert await anext(events) == "look 3"
            await events.aclose()


async def test_two_streams_of_one_name_are_watched_until_both_have_left() -> None:
    all_of_them = Watches(asyncio.Event())
    name = ("nyc", "a")
    with all_of_them.watch(name):
        with all_of_them.watch(name):
            assert all_of_them.registry.get_sample_value("watches") == 2
        all_of_them._wanted.clear()
        all_of_them.changed(name)
        assert all_of_them._wanted.is_set()
    all_of_them._wanted.clear()
    all_of_them.changed(name)
    assert not all_of_them._wanted.is_set()
    assert all_of_them.registry.get_sample_value("watches") == 0


async def test_stream_ends_once_it_is_over() -> None:
    watch = Watch(asyncio.Event())
    watch.tell("begin")
    watch.tell("end")
    assert [event async for event in watch.events()] == ["begin", "end"]
    # Opened again after the end, it has nothing to tell.
    assert [event async for event in watch.events()] == []


async def test_drain_ends_streams_that_wait_once_they_have_sent_all() -> None:
    async with fed() as all_of_them:
        with all_of_them.watch(("nyc", "a")) as watch:
            heard: list[str] = []

            async def listen() -> None:
                heard.extend([event async for event in watch.events()])

            listening = asyncio.create_task(listen())
            await eventually(lambda: all_of_them.looks == 1, 5)
            watch.news.append("last words")
            all_of_them.draining.set()
            await asyncio.wait_for(listening, 5)
            assert heard[-1] == "last words"
