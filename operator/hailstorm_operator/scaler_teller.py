"""
What one ServiceScaler says of itself: its status in the API, and Events.

The status is written when it is news, and again after a write that failed, but
not twice a second; an Event tells that something which should hold stopped
holding, once for each reason.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from hailstorm_operator import api, scaler_status
from hailstorm_operator.cluster import Cluster, ClusterError
from hailstorm_operator.conditions import Condition

logger = logging.getLogger(__name__)

# A status that is refused is tried again, but not twice a second.
STATUS_RETRY_SECONDS: Final = 2.0


class ScalerTeller:
    """Tells of the scaler whose object is `body`; `status` is what it said last."""

    def __init__(self, body: Mapping[str, Any], cluster: Cluster) -> None:
        self.status: dict[str, Any] = dict(body.get("status") or {})
        self._metadata: Mapping[str, Any] = body["metadata"]
        self._namespace: str = body["metadata"]["namespace"]
        self._name: str = body["metadata"]["name"]
        self._cluster = cluster
        self._written: dict[str, Any] | None = None
        self._written_at = 0.0
        self._retry_at = 0.0

    async def tell(self, status: Mapping[str, Any], conditions: Sequence[Condition]) -> None:
        """Keep this status and write it if it is worth it; raises ClusterError if refused."""
        before = self.status
        self.status = scaler_status.with_conditions(dict(status), before, list(conditions))
        for condition in conditions:
            await self._post_flip(before, condition)
        now = time.monotonic()
        due = scaler_status.is_worth_writing(self.status, self._written, now - self._written_at)
        if not due or now < self._retry_at:
            return
        try:
            if self._written is None:
                # What an earlier version told of the last decision is merged with what this one
                # does, and would be in its inputs for ever.
                nothing = {"latest": None}
                await self._cluster.set_scaler_status(self._namespace, self._name, nothing)
            await self._cluster.set_scaler_status(self._namespace, self._name, self.status)
        except ClusterError:
            self._retry_at = now + STATUS_RETRY_SECONDS
            raise
        self._written, self._written_at = self.status, now

    async def post(self, reason: str, message: str, *, warning: bool = False) -> None:
        """An Event of the scaler, and a line of the log."""
        logger.info("%s %s/%s: %s", reason, self._namespace, self._name, message)
        about = {
            "apiVersion": api.API_VERSION,
            "kind": api.SCALER_KIND,
            "metadata": self._metadata,
        }
        try:
            await self._cluster.post_event(about, reason, message, warning=warning)
        except ClusterError as error:
            # An Event is a courtesy; the decision is in the history.
            logger.warning("event %s: %s", reason, error)

    async def _post_flip(self, before: Mapping[str, Any], condition: Condition) -> None:
        """An Event when something that should hold stops holding."""
        bad = condition.type in (api.CONDITION_ACTIVE, api.CONDITION_SIGNAL, api.CONDITION_SPARES)
        quiet = condition.reason in (api.REASON_SPARES_STARTING, api.REASON_NO_SPARES)
        if not bad or condition.status or quiet:
            return
        for old in before.get("conditions") or []:
            if old["type"] == condition.type and old["reason"] == condition.reason:
                return
        await self.post(condition.reason, condition.message, warning=True)
