"""The state machine of a process, on a clock that the test moves."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from hailstorm.runtime.lifecycle import TASK_RESTART_SECONDS, Lifecycle, State
from hailstorm.runtime.process import LifecycleSettings

SETTINGS = LifecycleSettings(
    propagation_seconds=2,
    quiet_milliseconds=500,
    drain_max_seconds=15,
    stop_grace_seconds=5,
    close_seconds=0.1,
)


class Traffic:
    """Says how quiet it is; the test decides."""

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self.last_call: float | None = None

    def quiet_seconds(self) -> float:
        return 0.0 if self.last_call is None else self._clock.monotonic() - self.last_call


@dataclass
class Server:
    """Remembers how it was stopped."""

    clock: Any
    events: list[str]
    stopped: list[tuple[float, float | None]] = field(default_factory=list)

    async def stop(self, grace: float | None) -> None:
        self.stopped.append((self.clock.monotonic(), grace))
        self.events.append("server")


@pytest.fixture
def events() -> list[str]:
    return []


@pytest.fixture
def traffic(clock: Any) -> Traffic:
    traffic = Traffic(clock)
    traffic.last_call = clock.monotonic()
    return traffic


@pytest.fixture
def server(clock: Any, events: list[str]) -> Server:
    return Server(clock, events)


def build(clock: Any, traffic: Traffic, events: list[str], **changes: Any) -> Lifecycle:
    values = {name: getattr(SETTINGS, name) for name in SETTINGS.__slots__}
    lifecycle = Lifecycle(LifecycleSettings(**{**values, **changes}), clock, traffic)

    async def note(state: State) -> None:
        events.append(state.value)

    lifecycle.on_state(note)
    return lifecycle


async def test_drain_waits_for_propagation_when_it_is_quiet_at_once(
    clock: Any, traffic: Traffic, server: Server, events: list[str]
) -> None:
    lifecycle = build(clock, traffic, events)
    await lifecycle.serving()
    began = clock.monotonic()
    ending = asyncio.create_task(lifecycle.drain_and_stop(server))
    await clock.run(1.9)
    assert server.stopped == []
    assert lifecycle.state is State.DRAINING
    await clock.run(0.2)
    await ending
    ((stopped_at, grace),) = server.stopped
    assert stopped_at - began == pytest.approx(2.0, abs=0.06)
    assert grace == 5
    assert events == ["SERVING", "DRAINING", "server", "STOPPED"]


async def test_drain_waits_for_quiet_when_calls_go_on(
    clock: Any, traffic: Traffic, server: Server, events: list[str]
) -> None:
    lifecycle = build(clock, traffic, events)
    await lifecycle.serving()
    ending = asyncio.create_task(lifecycle.drain_and_stop(server))
    for _ in range(40):
        traffic.last_call = clock.monotonic()
        await clock.run(0.1)
    assert server.stopped == []
    last_call = traffic.last_call
    await clock.run(1)
    await ending
    assert server.stopped[0][0] - last_call == pytest.approx(0.5, abs=0.06)


async def test_drain_ends_after_its_maximum_when_it_never_gets_quiet(
    clock: Any, traffic: Traffic, server: Server, events: list[str]
) -> None:
    lifecycle = build(clock, traffic, events)
    traffic.last_call = None
    await lifecycle.serving()
    began = clock.monotonic()
    ending = asyncio.create_task(lifecycle.drain_and_stop(server))
    await clock.run(14.9)
    assert server.stopped == []
    await clock.run(0.2)
    await ending
    assert server.stopped[0][0] - began == pytest.approx(15, abs=0.06)


async def test_streams_are_told_when_draining_begins(
    clock: Any, traffic: Traffic, server: Server, events: list[str]
) -> None:
    lifecycle = build(clock, traffic, events)
    await lifecycle.serving()
    assert not lifecycle.draining.is_set()
    ending = asyncio.create_task(lifecycle.drain_and_stop(server))
    await clock.run(0)
    assert lifecycle.draining.is_set()
    assert events[-1] == "DRAINING"
    await clock.run(3)
    await ending


async def test_disabled_drain_stops_at_once_without_grace(
    clock: Any, traffic: Traffic, server: Server, events: list[str]
) -> None:
    lifecycle = build(clock, traffic, events, drain_enabled=False)
    await lifecycle.serving()
    began = clock.monotonic()
    await lifecycle.drain_and_stop(server)
    assert server.stopped == [(began, 0)]
    assert events == ["SERVING", "server", "STOPPED"]


async def test_process_that_never_served_does_not_drain(
    clock: Any, traffic: Traffic, server: Server, events: list[str]
) -> None:
    lifecycle = build(clock, traffic, events)
    await lifecycle.drain_and_stop(server)
    assert events == ["server", "STOPPED"]


async def test_closers_run_backwards_after_server_and_tasks(
    clock: Any, traffic: Traffic, server: Server, events: list[str]
) -> None:
    lifecycle = build(clock, traffic, events)

    async def relay() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            events.append("relay")

    def closer(name: str) -> Any:
        async def close() -> None:
            events.append(name)

        return close

    lifecycle.on_close("pool", closer("pool"))
    lifecycle.on_close("buffer", closer("buffer"))
    lifecycle.start_task("relay", relay)
    await lifecycle.serving()
    ending = asyncio.create_task(lifecycle.drain_and_stop(server))
    await clock.run(3)
    await ending
    assert events == ["SERVING", "DRAINING", "server", "relay", "buffer", "pool", "STOPPED"]


async def test_closer_that_fails_or_hangs_does_not_keep_the_others(
    clock: Any,
    traffic: Traffic,
    server: Server,
    events: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    lifecycle = build(clock, traffic, events, drain_enabled=False)

    async def close() -> None:
        events.append("pool")

    async def fail() -> None:
        raise OSError("gone")

    async def hang() -> None:
        await asyncio.Event().wait()

    lifecycle.on_close("pool", close)
    lifecycle.on_close("failing", fail)
    lifecycle.on_close("hanging", hang)
    await lifecycle.serving()
    await lifecycle.drain_and_stop(server)
    assert events == ["SERVING", "server", "pool", "STOPPED"]
    assert "hanging does not close in time" in caplog.text
    assert "failing does not close" in caplog.text


async def test_failed_task_is_counted_and_starts_again(
    clock: Any, traffic: Traffic, events: list[str]
) -> None:
    lifecycle = build(clock, traffic, events, drain_enabled=False)
    failures: list[str] = []
    lifecycle.on_task_failure(failures.append)

    async def body() -> None:
        events.append("run")
        if events.count("run") == 1:
            raise ValueError("once")

    lifecycle.start_task("relay", body)
    await clock.run(0)
    assert (events, failures) == (["run"], ["relay"])
    await clock.run(TASK_RESTART_SECONDS + 0.1)
    assert events == ["run", "run"]
    await lifecycle.drain_and_stop(None)


async def test_state_cannot_go_back(clock: Any, traffic: Traffic, events: list[str]) -> None:
    lifecycle = build(clock, traffic, events, drain_enabled=False)
    await lifecycle.serving()
    await lifecycle.drain_and_stop(None)
    with pytest.raises(RuntimeError, match="a process in STOPPED cannot become SERVING"):
        await lifecycle.serving()


def test_budget_counts_every_step(clock: Any, traffic: Traffic, events: list[str]) -> None:
    lifecycle = build(clock, traffic, events, close_seconds=3)

    async def close() -> None:
        return

    assert lifecycle.budget_seconds == 15 + 5 + 3
    lifecycle.on_close("pool", close)
    assert lifecycle.budget_seconds == 15 + 5 + 3 + 3
