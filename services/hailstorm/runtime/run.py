"""
From main() to exit: puts the parts of a process together and takes them apart.

A service brings its name, its settings, and one coroutine that builds what it
needs and registers its servicers; it must not wait for a store, since a
process whose store is away is ready all the same.
"""

import asyncio
import gc
import logging
import signal
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from hailstorm.runtime.admission import build_admission
from hailstorm.runtime.clock import Clock, SystemClock
from hailstorm.runtime.door import Door
from hailstorm.runtime.flags import FixedFlags, Flags
from hailstorm.runtime.flags.setup import start_flags
from hailstorm.runtime.flags.values import Kind
from hailstorm.runtime.health import Health
from hailstorm.runtime.http import Answer, HttpServer
from hailstorm.runtime.interceptor import ServerInterceptor
from hailstorm.runtime.lifecycle import Lifecycle, State
from hailstorm.runtime.priority import Priority
from hailstorm.runtime.process import ProcessSettings
from hailstorm.runtime.rehearsal import NEVER_READY, build_rehearsal
from hailstorm.runtime.server import build_server, listen, own_target
from hailstorm.runtime.telemetry import ServerMetrics, new_registry, set_up_logging
from hailstorm.runtime.watchdog import Watchdog, exit_now

# Often enough to see a stall between two scrapes, rarely enough to cost nothing.
LAG_SAMPLE_SECONDS: Final = 0.25

S = TypeVar("S", bound=ProcessSettings)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Process(Generic[S]):
    """
    What a service finds when it starts.

    Attributes:
        settings: its own settings.
        lifecycle: for background tasks, closers, and `draining`.
        registry: where its metrics go.
        clock: the time.
        server: add servicers to it with `register`.
        priorities: the class of each method, by its full name.
        flags: what operators may change while it runs.
    """

    settings: S
    lifecycle: Lifecycle
    registry: CollectorRegistry
    clock: Clock
    server: Any
    service_names: list[str]
    priorities: dict[str, Priority] = field(default_factory=dict)
    flags: Flags = field(default_factory=FixedFlags)

    def register(
        self,
        add_to_server: Callable[[Any, Any], None],
        servicer: Any,
        name: str,
        priorities: Mapping[str, Priority] | None = None,
    ) -> None:
        """
        Serve `servicer`, by the generated `add_..._to_server`.

        `name` is the full name of the proto service, for reflection;
        `priorities` has the class of each of its methods, by the method's name.
        """
        add_to_server(servicer, self.server)
        self.service_names.append(name)
        for method, priority in (priorities or {}).items():
            self.priorities[f"/{name}/{method}"] = priority


def serve(
    name: str,
    settings: S,
    start: Callable[[Process[S]], Awaitable[None]],
    request_log_fields: Iterable[str] = ("city_id", "trip_id"),
    flags: Mapping[str, Kind] | None = None,
) -> None:
    """
    Run the process until SIGTERM, then exit 0; exit 1 when it cannot start.

    `start` builds pools without connecting, registers servicers and closers.
    `flags` are those that this service reads: `bool`, or the words to choose from.
    It never returns.
    """
    import uvloop

    set_up_logging(name, settings.version, settings.log.level, request_log_fields)
    try:
        code = uvloop.run(_run(settings, start, flags or {}))
    except Exception:
        _log.exception("the process ends with an error")
        code = 1
    # Not sys.exit: the interpreter's own end can hang in grpc's poller thread
    # (grpc/grpc#40989), and everything that matters has been closed by now.
    exit_now(code)


async def _run(
    settings: S, start: Callable[[Process[S]], Awaitable[None]], flag_kinds: Mapping[str, Kind]
) -> int:
    clock = SystemClock()
    registry = new_registry(settings.version)
    metrics = ServerMetrics(registry)
    admission = build_admission(settings.server, clock)
    lifecycle = Lifecycle(settings.lifecycle, clock, admission)
    lifecycle.on_task_failure(lambda task: metrics.task_failures.labels(task=task).inc())
    health = Health()
    priorities: dict[str, Priority] = {}
    rehearsal = build_rehearsal(settings.rehearsal, clock, socket.gethostname())
    interceptor = ServerInterceptor(admission, metrics, priorities, rehearsal)
    server = build_server(settings.server, interceptor)
    health.add_to(server)

    async def show(state: State) -> None:
        await health.show(state)
        metrics.lifecycle_since.labels(state=state.value).set(clock.now())
        for each in State:
            metrics.lifecycle_state.labels(state=each.value).set(each is state)

    lifecycle.on_state(show)
    await show(State.STARTING)
    stop = _stop_event(lifecycle)
    http = HttpServer(_routes(lifecycle, registry, never_ready=settings.rehearsal.never_ready))
    http_port = await http.start(settings.server.host, settings.server.http_port)

    flags = start_flags(settings.flags, flag_kinds, lifecycle, clock, registry)
    process = Process(settings, lifecycle, registry, clock, server, [], priorities, flags)
    starting = asyncio.ensure_future(_start(process, start))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
    failed = False
    if starting.done() and not (failed := starting.exception() is not None):
        lifecycle.start_task("loop-lag", lambda: _measure_lag(metrics, clock))
        target = own_target(settings.server, starting.result())
        door = Door(admission, interceptor, clock, metrics, target)
        metrics.limit.set(admission.limit)
        await lifecycle.serving()
        await server.start()
        lifecycle.start_task("door", door.watch)
        _log.info("listening", extra={"grpc_port": starting.result(), "http_port": http_port})
        # What exists now lives as long as the process; not scanning it again
        # takes the longest pauses of the collector away.
        gc.collect()
        gc.freeze()
        await stopping
    else:
        starting.cancel()
        stopping.cancel()
    await lifecycle.drain_and_stop(server)
    await http.stop()
    if failed:
        starting.result()
    return 0


async def _start(process: Process[S], start: Callable[[Process[S]], Awaitable[None]]) -> int:
    await start(process)
    # Imported late, as with all that only a few processes or moments need.
    from grpc_reflection.v1alpha import reflection

    names = (*process.service_names, "grpc.health.v1.Health", reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, process.server)
    return listen(process.server, process.settings.server)


def _stop_event(lifecycle: Lifecycle) -> asyncio.Event:
    """An event that the first SIGTERM sets; the second ends the process at once."""
    stop = asyncio.Event()

    def on_signal(number: signal.Signals) -> None:
        if stop.is_set():
            _log.warning("second %s: ending at once", number.name)
            exit_now(128 + number)
        _log.info("%s in state %s", number.name, lifecycle.state.value)
        Watchdog(lifecycle.budget_seconds).start()
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    return stop


def _routes(
    lifecycle: Lifecycle, registry: CollectorRegistry, *, never_ready: bool
) -> dict[str, Callable[[], Answer]]:
    def livez() -> Answer:
        return Answer(200, b"the event loop turns\n")

    def readyz() -> Answer:
        if never_ready:
            return Answer(503, NEVER_READY)
        status = 200 if lifecycle.state is State.SERVING else 503
        return Answer(status, lifecycle.state.value.encode() + b"\n")

    def metrics() -> Answer:
        return Answer(200, generate_latest(registry), CONTENT_TYPE_LATEST)

    return {"/livez": livez, "/readyz": readyz, "/metrics": metrics}


async def _measure_lag(metrics: ServerMetrics, clock: Clock) -> None:
    while True:
        before = clock.monotonic()
        await clock.sleep(LAG_SAMPLE_SECONDS)
        metrics.loop_lag.observe(max(0.0, clock.monotonic() - before - LAG_SAMPLE_SECONDS))
