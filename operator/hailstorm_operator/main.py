"""
The operator's process: wires the parts, runs kopf, and keeps the beats.

With the operator gone, everything that serves goes on serving; so it may stop at
any moment, and its start only picks up what the API holds.
"""

import asyncio
import contextlib
import gc
import logging
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Final

import aiohttp
import kopf
import uvloop
from aiohttp import web

from hailstorm_operator.archive import Archive
from hailstorm_operator.cluster import Cluster, ClusterError, connect
from hailstorm_operator.handlers import Parts, register_activities, register_handlers
from hailstorm_operator.http_server import serve_http
from hailstorm_operator.inventory import Inventory
from hailstorm_operator.leadership import LEASE_NAME, Leadership, LostError, own_identity
from hailstorm_operator.ledger import Ledger
from hailstorm_operator.logs import configure_logs
from hailstorm_operator.policies import Policies
from hailstorm_operator.pulse import Pulse
from hailstorm_operator.recorder_client import RecorderClient
from hailstorm_operator.roster import Roster
from hailstorm_operator.settings import Settings, SettingsError, read_settings
from hailstorm_operator.settler import Settler
from hailstorm_operator.sources import open_session
from hailstorm_operator.tallies import TalliesReader

logger = logging.getLogger(__name__)

RESYNC_SECONDS: Final = 30.0
# Long enough for the first listing of Deployments, which tells orphans from others.
ORPHANS_AFTER_SECONDS: Final = 30.0
ORPHANS_EVERY_SECONDS: Final = 300.0
# One listing by label; what it finds has waited half a minute already.
SETTLE_EVERY_SECONDS: Final = 5.0
BAD_SETTINGS_EXIT: Final = 2
LOST_EXIT: Final = 3


class Process:
    """Everything that lives as long as the process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.parts = Parts(Pulse(settings.heartbeat_seconds), Inventory())
        # Set when another operator leads: kopf then ends as after a signal.
        self.lost = asyncio.Event()
        self._cluster: Cluster | None = None
        self._leadership: Leadership | None = None
        self._session: aiohttp.ClientSession | None = None
        self._http: web.AppRunner | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """
        Before the first watch: connections, probes, and what runs on its own.

        Does not return before this process leads, so that one which stands by does
        not even watch.
        """
        settings, parts = self._settings, self.parts
        cluster = self._cluster = await connect()
        session = self._session = open_session()
        leadership = self._leadership = Leadership(
            cluster, settings.own_namespace, settings.heartbeat_seconds, own_identity(os.environ)
        )
        cluster.may_write = leadership.may_write
        self._http = await serve_http(settings.http_port, parts.pulse, leadership)

        async def turn() -> None:
            parts.pulse.turned()

        self._every(1.0, turn)
        try:
            await leadership.acquire()
        except asyncio.CancelledError:
            # kopf cleans up only what has started.
            await self.stop()
            raise
        archive = Archive(cluster, settings.history_limit, settings.namespaces)
        ledger = parts.ledger = Ledger(cluster, archive)
        url = settings.recorder_url
        recorder = RecorderClient(session, url) if url else None
        settler = Settler(archive, recorder)
        roster = parts.roster = Roster(
            cluster, parts.inventory, session, settings.poll_milliseconds / 1000, recorder
        )
        policies = parts.policies = Policies(
            cluster, parts.inventory, TalliesReader(session, settings.recorder_url)
        )

        async def beat() -> None:
            try:
                await leadership.renew_at_last()
            except LostError as error:
                logger.error("%s: this operator ends, and stands by after its restart", error)
                self.lost.set()
                return
            parts.pulse.stamped()

        self._every(settings.heartbeat_seconds, beat)
        self._every(RESYNC_SECONDS, roster.resync, first=RESYNC_SECONDS)
        self._every(SETTLE_EVERY_SECONDS, settler.settle_due, first=SETTLE_EVERY_SECONDS)
        self._every(RESYNC_SECONDS, policies.resync, first=RESYNC_SECONDS)
        self._every(ORPHANS_EVERY_SECONDS, ledger.close_orphans, first=ORPHANS_AFTER_SECONDS)
        # What was made up to here stays for good; the collector need not look at it again.
        gc.collect()
        gc.freeze()

    async def stop(self) -> None:
        """After the last watch."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.parts.ledger is not None:
            await self.parts.ledger.stop()
        if self.parts.roster is not None:
            await self.parts.roster.stop()
        if self.parts.policies is not None:
            await self.parts.policies.stop()
        if self._leadership is not None:
            # Last of all that writes.
            await self._leadership.release()
        if self._http is not None:
            await self._http.cleanup()
        if self._session is not None:
            await self._session.close()
        if self._cluster is not None:
            await self._cluster.close()

    def _every(
        self, seconds: float, action: Callable[[], Awaitable[None]], first: float = 0.0
    ) -> None:
        async def repeat() -> None:
            await asyncio.sleep(first)
            while True:
                try:
                    await action()
                except ClusterError as error:
                    logger.warning("%s: %s", action.__qualname__, error)
                except Exception:
                    logger.exception("%s", action.__qualname__)
                await asyncio.sleep(seconds)

        self._tasks.append(asyncio.create_task(repeat(), name=action.__qualname__))


async def run_operator(settings: Settings) -> bool:
    """Run until SIGTERM or SIGINT, or until another operator leads; that is True."""
    process = Process(settings)
    registry = kopf.OperatorRegistry()
    register_activities(registry, process.start, process.stop)
    register_handlers(registry, process.parts)
    # The Lease lies in the operator's own namespace, so that one is watched too.
    watched = {*settings.namespaces, settings.own_namespace} if settings.namespaces else set()
    await kopf.operator(
        registry=registry,
        standalone=True,
        clusterwide=not watched,
        namespaces=watched,
        stop_flag=process.lost,
        # Left to itself kopf asks for a user name, and the image's user has none.
        identity=os.environ.get("HOSTNAME", LEASE_NAME),  # type: ignore[arg-type]
    )
    return process.lost.is_set()


def main() -> int:
    """Exit code: 0 after a signal, 2 for settings that make no sense, 3 when the Lease is lost."""
    try:
        settings = read_settings(os.environ)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return BAD_SETTINGS_EXIT
    configure_logs(settings.log_level)
    with (
        contextlib.suppress(KeyboardInterrupt),
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        if runner.run(run_operator(settings)):
            return LOST_EXIT
    return 0
