"""
The life of a server process: starting, serving, draining, stopped.

    STARTING ──ready──► SERVING ──SIGTERM──► DRAINING ──quiet──► STOPPED
        │                                     │  lb NOT_SERVING, /readyz 503,
        │                                     │  streams told to go; calls served on
        └──────────SIGTERM, or start failed───┼────────────────► STOPPED
                                              └─second SIGTERM, or budget spent──► os._exit

Readiness turns false the moment draining begins, yet the socket stays open:
callers keep arriving until the news has reached every balancer, and only then
may the server stop, because `server.stop(grace)` loses what arrives while its
GOAWAY is on the way (grpc/grpc#41785; 8 calls a roll when measured).

After the server has stopped, background tasks end, then closers run in the
reverse order of their registration, as what was opened last rests on what was
opened first.
"""

import asyncio
import enum
import logging
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from hailstorm.runtime.clock import Clock
from hailstorm.runtime.process import LifecycleSettings

# A crashed background task starts again after this. A guess: long enough that a
# task which always fails does not fill the log.
TASK_RESTART_SECONDS: Final = 1.0
# How often the drain looks whether the house is quiet; a tenth of the default
# quiet period, so that the look adds little to it.
QUIET_POLL_SECONDS: Final = 0.05

_log = logging.getLogger(__name__)


class State(enum.Enum):
    """Where the process stands; the value is the word that /readyz answers."""

    STARTING = "STARTING"
    SERVING = "SERVING"
    DRAINING = "DRAINING"
    STOPPED = "STOPPED"


_NEXT: Final = {
    State.STARTING: {State.SERVING, State.STOPPED},
    State.SERVING: {State.DRAINING, State.STOPPED},
    State.DRAINING: {State.STOPPED},
    State.STOPPED: set[State](),
}


class Traffic(Protocol):
    """What the drain asks about calls."""

    def quiet_seconds(self) -> float:
        """How long no call has come or been in flight; 0 while one is."""


class Stoppable(Protocol):
    """The part of grpc.aio.Server that ends it."""

    async def stop(self, grace: float | None) -> None: ...


class Lifecycle:
    """
    Owns the state, the drain, background tasks and closers of one process.

    Attributes:
        draining: set when draining begins. Every stream waits on it beside its
            own source, and then ends itself with a resume marker.
    """

    def __init__(self, settings: LifecycleSettings, clock: Clock, traffic: Traffic) -> None:
        self._settings = settings
        self._clock = clock
        self._traffic = traffic
        self._state = State.STARTING
        self._listeners: list[Callable[[State], Awaitable[None]]] = []
        self._tasks: list[tuple[str, asyncio.Task[None]]] = []
        self._closers: list[tuple[str, Callable[[], Awaitable[None]]]] = []
        self._on_task_failure: Callable[[str], None] = lambda _name: None
        self.draining = asyncio.Event()

    @property
    def state(self) -> State:
        return self._state

    @property
    def budget_seconds(self) -> float:
        """
        From SIGTERM to the end, at most.

        The chart's terminationGracePeriodSeconds must be larger.
        """
        s = self._settings
        ends = (len(self._closers) + 1) * s.close_seconds
        return s.drain_max_seconds + s.stop_grace_seconds + ends

    def on_state(self, listener: Callable[[State], Awaitable[None]]) -> None:
        """Call `listener` on every change, in the order registered, before anything follows."""
        self._listeners.append(listener)

    def on_task_failure(self, listener: Callable[[str], None]) -> None:
        """Call `listener` with the name of each background task that failed."""
        self._on_task_failure = listener

    def on_close(self, name: str, closer: Callable[[], Awaitable[None]]) -> None:
        """Run `closer` after the server has stopped; the last registered runs first."""
        self._closers.append((name, closer))

    def start_task(self, name: str, body: Callable[[], Awaitable[None]]) -> None:
        """
        Run `body` in the background until the server has stopped.

        A body that returns is done; one that raises is logged, counted and
        started again. It is ended by cancelling it.
        """
        task = asyncio.create_task(self._supervise(name, body), name=name)
        self._tasks.append((name, task))

    async def serving(self) -> None:
        """Tell everybody that the process serves. Once."""
        await self._enter(State.SERVING)

    async def drain_and_stop(self, server: Stoppable | None) -> None:
        """
        Leave without losing a call: drain, stop `server`, end tasks, close.

        Called once, whatever the state. Errors of tasks and closers are logged
        and do not keep the others from ending.
        """
        if self._state is State.SERVING:
            if self._settings.drain_enabled:
                await self._enter(State.DRAINING)
                self.draining.set()
                await self._until_quiet()
            else:
                _log.warning("drain is disabled: calls in flight are lost")
                self.draining.set()
        if server is not None:
            await server.stop(
                self._settings.stop_grace_seconds if self._settings.drain_enabled else 0
            )
        await self._end_tasks()
        await self._close_all()
        await self._enter(State.STOPPED)

    async def _enter(self, state: State) -> None:
        if state not in _NEXT[self._state]:
            raise RuntimeError(f"a process in {self._state.value} cannot become {state.value}")
        self._state = state
        for listener in self._listeners:
            await listener(state)
        _log.info("now %s", state.value)

    async def _until_quiet(self) -> None:
        began = self._clock.monotonic()
        quiet_seconds = self._settings.quiet_milliseconds / 1000
        while (waited := self._clock.monotonic() - began) < self._settings.drain_max_seconds:
            has_propagated = waited >= self._settings.propagation_seconds
            if has_propagated and self._traffic.quiet_seconds() >= quiet_seconds:
                _log.info("drained", extra={"drain_seconds": round(waited, 3)})
                return
            await self._clock.sleep(QUIET_POLL_SECONDS)
        _log.warning("still busy after drain_max_seconds; stopping all the same")

    async def _supervise(self, name: str, body: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await body()
                return
            except Exception:
                _log.exception("background task %s failed; it starts again", name)
                self._on_task_failure(name)
                await self._clock.sleep(TASK_RESTART_SECONDS)

    async def _end_tasks(self) -> None:
        tasks = [task for _, task in self._tasks]
        for task in tasks:
            task.cancel()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=self._settings.close_seconds)
            for name, task in self._tasks:
                if task in late:
                    _log.error("background task %s does not end", name)

    async def _close_all(self) -> None:
        for name, closer in reversed(self._closers):
            try:
                await asyncio.wait_for(closer(), self._settings.close_seconds)
            except TimeoutError:
                _log.error("%s does not close in time; left open", name)
            except Exception:
                _log.exception("%s does not close", name)
