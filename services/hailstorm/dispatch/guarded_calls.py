"""
How dispatch calls its neighbours, through the edge.

Every call carries the caller's request id and class, and what is left of its
deadline. No call is repeated here: Envoy has tried other pods, and the rider
has the key. So whatever a neighbour suffers from is UNAVAILABLE for the rider.
Each has a bulkhead and a breaker: a slow location must not take the places of
drivers who accept, for which only trip is needed.
"""

import logging
import math
from collections.abc import Awaitable, Callable
from typing import Any, Final

import grpc
from prometheus_client import CollectorRegistry

from hailstorm.dispatch.errors import NeighbourUnavailableError
from hailstorm.dispatch.settings import MatchingSettings
from hailstorm.runtime.calls import outgoing_metadata, outgoing_priority, remaining_seconds
from hailstorm.runtime.clock import Clock
from hailstorm.runtime.dependency import Dependency, DependencyMetrics
from hailstorm.runtime.errors import DeadlineExceededError, ServiceError, error_from_rpc
from hailstorm.runtime.priority import Priority

LOCATION: Final = "location"
TRIP: Final = "trip"
# Trip as well, with a bulkhead and a breaker of its own: a count that fails must
# not keep riders from a trip that serves them.
COUNTS: Final = "trip-counts"

# Fewer seconds than a call needs at its fastest: it would only be work for nobody.
_LEAST_SECONDS: Final = 0.005

# What a neighbour answers when it fails, or when the edge dies under the call.
# Its own log has the cause, and all our calls carry a key or change nothing.
_FAILED: Final = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS)

_log = logging.getLogger(__name__)


class GuardedCalls:
    """The way of every call to a neighbour. Safe for any number of callers at once."""

    def __init__(
        self, settings: MatchingSettings, clock: Clock, registry: CollectorRegistry
    ) -> None:
        self._call_seconds = settings.call_seconds
        self._margin_seconds = settings.reply_margin_seconds
        metrics = DependencyMetrics(registry)
        self._guards = {
            name: Dependency(
                name,
                clock,
                metrics,
                settings.neighbour_max_calls,
                settings.breaker_failures,
                settings.breaker_open_seconds,
            )
            for name in (LOCATION, TRIP, COUNTS)
        }

    async def call(
        self,
        neighbour: str,
        method: Callable[..., Awaitable[Any]],
        request: Any,
        otherwise: Priority = Priority.NORMAL,
    ) -> Any:
        """
        The answer of one call; `otherwise` is its class where we serve none ourselves.

        It is NORMAL, as looking for a driver is never a mere view. Raises
        grpc.aio.AioRpcError, for `explain`; ServiceError when no call was made.
        """
        # Exactly our patience where that is shorter: `(2.0 + 0.05) - 0.05` is less than 2.0, and
        # no time-out of ours ever counted against a neighbour.
        left = min(self._call_seconds, remaining_seconds(math.inf) - self._margin_seconds)
        if left < _LEAST_SECONDS:
            raise DeadlineExceededError("the deadline leaves no time for matching")
        own_patience = left >= self._call_seconds
        with self._guards[neighbour].asking(own_patience, outgoing_priority(otherwise)):
            return await method(request, timeout=left, metadata=outgoing_metadata(otherwise))

    def explain(self, error: grpc.aio.AioRpcError, neighbour: str) -> ServiceError:
        """What a call that failed means for our own caller."""
        code = error.code()
        if code in _FAILED:
            _log.warning("%s answered %s: %s", neighbour, code.name, error.details())
            return NeighbourUnavailableError(f"{neighbour} failed; repeat the request with its key")
        # Twice the margin: an answer may be a little early.
        spent = remaining_seconds(self._call_seconds) <= 2 * self._margin_seconds
        if code is grpc.StatusCode.DEADLINE_EXCEEDED and not spent:
            # It was our patience that ended, not our caller's.
            return NeighbourUnavailableError(
                f"{neighbour} did not answer within {self._call_seconds} s",
                # It would keep another pod of ours waiting for as long, with the rider's time.
                retry_elsewhere=False,
            )
        return error_from_rpc(error, neighbour)
