"""
Adds to closed records what became of their callers.

A record is closed before the last line of its rollout has arrived, and the time
after it is still to come; one that a policy took back, before its pods are gone.
So a closed record carries a label until its traffic is written: whoever is the
operator then finds it by the label, and a restart loses none and writes none twice.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from hailstorm_operator import api
from hailstorm_operator.archive import Archive, Clock, status_of, utc_now
from hailstorm_operator.cluster import ConflictError, NotFoundError
from hailstorm_operator.recorder_client import RecorderClient, RecorderError
from hailstorm_operator.records import is_rolled_back
from hailstorm_operator.taken_back import add_ends, remaining_pods
from hailstorm_operator.timestamps import parse_time
from hailstorm_operator.traffic import (
    PATIENCE,
    SECOND_THOUGHTS,
    describe_traffic,
    due_at,
    may_be_withdrawn,
    unknown_traffic,
    windows_of,
)

logger = logging.getLogger(__name__)

Record = dict[str, Any]
Json = Mapping[str, Any]


class Settler:
    """Writes traffic into records. `settle_due` may be repeated at any time."""

    def __init__(
        self, archive: Archive, recorder: RecorderClient | None, clock: Clock = utc_now
    ) -> None:
        self._archive = archive
        self._recorder = recorder
        self._clock = clock

    async def settle_due(self) -> None:
        """Complete every record whose time has come. Raises ClusterError."""
        for record in await self._archive.awaiting_traffic():
            try:
                await self._settle(record)
            except (ConflictError, NotFoundError):
                # Changed or let go meanwhile: the next listing shows what it is now.
                continue

    async def _settle(self, record: Record) -> None:
        status = status_of(record)
        if "traffic" not in status:
            now = self._clock()
            if is_rolled_back(status):
                status = add_ends(record, await self._archive.of_target(record), now)
                is_young = now - parse_time(status["completedAt"]) < PATIENCE
                if remaining_pods(status) and is_young:
                    return
            late = now - due_at(status)
            if late < timedelta():
                return
            fields = await self._describe(record["metadata"]["name"], status, late)
            if fields is None:
                return
            record = await self._archive.write(record, {**status, **fields})
        await self._archive.mark_settled(record)

    async def _describe(self, name: str, status: Json, late: timedelta) -> dict[str, Any] | None:
        """The fields to add, None when asking again later may help; `late` is since it was due."""
        if self._recorder is None:
            return unknown_traffic(api.REASON_NO_RECORDER, "the operator has no recorder to ask")
        windows = windows_of(status)
        try:
            evidence = {window.name: await self._recorder.evidence(window) for window in windows}
            envoys: Sequence[str] = await self._recorder.envoys()
        except RecorderError as error:
            logger.warning("traffic of %s: %s", name, error)
            if late < PATIENCE:
                return None
            return unknown_traffic(api.REASON_RECORDER_SILENT, str(error)[:200])
        try:
            if late < SECOND_THOUGHTS and may_be_withdrawn(evidence):
                return None
            return describe_traffic(status, windows, evidence, envoys)
        except (KeyError, TypeError, ValueError) as error:
            # A recorder of another version: say so rather than ask for ever.
            logger.exception("traffic of %s", name)
            return unknown_traffic(
                api.REASON_RECORDER_SILENT, f"its answer made no sense: {error!r}"[:200]
            )
