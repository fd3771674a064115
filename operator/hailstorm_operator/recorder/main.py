"""
The recorder's process: wires the parts, and once a second writes down what is new.

It may end at any moment. What was not written is lost, and the time until every
Envoy is heard again is a gap.
"""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import Final

import uvloop

from hailstorm_operator.logs import configure_logs
from hailstorm_operator.recorder.http_server import serve_http
from hailstorm_operator.recorder.journal import Journal
from hailstorm_operator.recorder.pulses import Pulses
from hailstorm_operator.recorder.receiver import serve_logs, stop_receiving
from hailstorm_operator.recorder.settings import Settings, read_settings
from hailstorm_operator.recorder.store import Store
from hailstorm_operator.settings import SettingsError
from hailstorm_operator.sources import open_session

logger = logging.getLogger(__name__)

WRITE_SECONDS: Final = 1.0
BAD_SETTINGS_EXIT: Final = 2
HOST: Final = "0.0.0.0"


def write_down(store: Store, journal: Journal | None, now: float) -> None:
    """Settle the store, and append what is new to the journal."""
    line = store.settle(now)
    if journal is None:
        return
    if journal.needs_segment(now):
        # The snapshot is of the store as it is now; the line still has to follow it.
        journal.begin(store.snapshot(now), now)
    journal.write(line)


async def run_recorder(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    keep_seconds = settings.keep_minutes * 60
    store = Store(keep_seconds, time.time())
    journal = Journal(Path(settings.folder), keep_seconds) if settings.folder else None
    if journal is not None:
        store.restore(journal.read(), time.time())
    runner, http_port = await serve_http(
        HOST, settings.http_port, store, lambda: journal.failures if journal else 0
    )
    server, grpc_port = await serve_logs(HOST, settings.grpc_port, store)
    session = open_session()
    pulses = asyncio.create_task(Pulses(settings.edges, store, session).run(), name="pulses")
    logger.info("recording: logs on port %d, answers on port %d", grpc_port, http_port)
    # What was made up to here stays for good; the collector need not look at it again.
    gc.collect()
    gc.freeze()
    try:
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), WRITE_SECONDS)
            write_down(store, journal, time.time())
            if pulses.done():
                # It catches what the network does; anything else is a defect, and a
                # recorder that no longer knows its gaps must not pass for one that does.
                pulses.result()
    finally:
        pulses.cancel()
        await stop_receiving(server)
        write_down(store, journal, time.time())
        if journal is not None:
            journal.close()
        await session.close()
        await runner.cleanup()


def main() -> int:
    """Exit code: 0 after a signal, 2 for settings that make no sense."""
    try:
        settings = read_settings(os.environ)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return BAD_SETTINGS_EXIT
    configure_logs(settings.log_level, "recorder")
    with (
        contextlib.suppress(KeyboardInterrupt),
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        runner.run(run_recorder(settings))
    return 0
