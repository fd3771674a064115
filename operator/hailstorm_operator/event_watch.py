"""
Keeps the scale events of one ServiceScaler up to date: pods from the watch, calls
from the recorder, which is asked on the side: it may be slow, and a poll waits for
nobody.
"""

import asyncio
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from hailstorm_operator import metrics
from hailstorm_operator.inventory import EdgePod, Json
from hailstorm_operator.recorder_client import RecorderClient, RecorderError
from hailstorm_operator.scale_events import ScaleEvents
from hailstorm_operator.spares import Entry

# Its counts are by second, and two seconds old at least.
ASK_SECONDS: Final = 2.0


class EventWatch:
    """Feeds `ScaleEvents`. Without a recorder, or a cluster it knows, calls stay unknown."""

    def __init__(self, kept: Iterable[Json], recorder: RecorderClient | None, cluster: str) -> None:
        self._events = ScaleEvents(kept)
        self._recorder = recorder if cluster else None
        self._cluster = cluster
        self._asked_at = 0.0
        self._asking: asyncio.Task[None] | None = None

    @property
    def startup_seconds(self) -> float:
        """How long pods took to start lately; 0 when none has."""
        return self._events.startup_seconds()

    def written(
        self, now: float, before: int, after: int, signal: float, decision: float, write: float
    ) -> None:
        """A scale-up was written; the last three are the seconds its parts took."""
        self._events.begin(now, before, after, signal, decision, write)
        for stage, seconds in (("signal", signal), ("decision", decision), ("write", write)):
            metrics.SCALE_STAGE_SECONDS.labels(stage).observe(seconds)

    def entered(
        self, now: float, replicas: int, entry: Entry, signal: float, decision: float
    ) -> None:
        """Spares were labelled into the Service; the last two are seconds, as above."""
        self._events.enter(now, replicas, entry, signal, decision)

    def show_endpoints(self, endpoints: Iterable[EdgePod]) -> None:
        """Take addresses behind the Service that spares serve behind."""
        ready = [one.address for one in endpoints if one.ready]
        self._events.show_endpoints(ready, datetime.now(UTC))

    def show_pod(self, pod: Json, *, deleted: bool = False) -> None:
        """Take a watch event of a pod of the target."""
        self._events.show_pod(pod, datetime.now(UTC), deleted=deleted)

    def turn(self, now: float) -> None:
        """Ask the recorder if there is something to ask, and go on."""
        since = self._events.asks_from(now) if self._recorder is not None else None
        if since is None or now - self._asked_at < ASK_SECONDS:
            return
        if self._asking is None or self._asking.done():
            self._asked_at = now
            self._asking = asyncio.create_task(self._ask(since), name="ask the recorder")

    def describe(self) -> list[dict[str, Any]]:
        """For the status."""
        return self._events.describe()

    async def close(self) -> None:
        """Take back an open question."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    async def _ask(self, since: float) -> None:
        assert self._recorder is not None  # `turn` has seen one.
        try:
            answer = await self._recorder.seconds(self._cluster, int(since), int(time.time()))
            self._events.show_calls(answer)
        except (RecorderError, KeyError, TypeError, ValueError):
            # First calls stay unknown; the next turn asks again.
            return
