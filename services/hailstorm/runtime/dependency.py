"""
A neighbour that may be slow or away, kept from taking a whole process with it.

A bulkhead: so many calls to it at once and no more, so that places are left for
calls that do not need it. A breaker: after failures in a row it is not asked
for a moment, so that callers hear so at once instead of waiting each for
itself. Neither waits in line: there is nothing behind a full bulkhead that
would be better a moment later.

What the door of the process keeps for the calls that matter most, the bulkhead
keeps as well: filled by the others, it would refuse whom the door had let in.
"""

import contextlib
import math
from collections.abc import Iterator

import grpc
from prometheus_client import CollectorRegistry, Counter, Gauge

from hailstorm.runtime.admission import SHARES
from hailstorm.runtime.breaker import Breaker
from hailstorm.runtime.clock import Clock
from hailstorm.runtime.errors import ResourceExhaustedError, UnavailableError
from hailstorm.runtime.priority import Priority


class DependencyMetrics:
    """What is told of all dependencies of a process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.in_flight = Gauge(
            "hailstorm_dependency_in_flight",
            "Calls to a neighbour that it has not answered yet.",
            ("dependency",),
            registry=registry,
        )
        self.refused = Counter(
            "hailstorm_dependency_refused",
            "Calls to a neighbour that were not made, by cause.",
            ("dependency", "cause"),
            registry=registry,
        )


class Dependency:
    """Bulkhead and breaker before one neighbour. Safe for any number of callers at once."""

    def __init__(
        self,
        name: str,
        clock: Clock,
        metrics: DependencyMetrics,
        max_calls: int,
        breaker_failures: int,
        breaker_open_seconds: float,
    ) -> None:
        self._name = name
        # As at the door: a class finds a place while all calls together are fewer.
        self._places = {each: math.ceil(max_calls * share) for each, share in SHARES.items()}
        self._breaker = Breaker(clock, breaker_failures, breaker_open_seconds)
        self._calls = 0
        self._gauge = metrics.in_flight.labels(dependency=name)
        self._full = metrics.refused.labels(dependency=name, cause="full")
        self._away = metrics.refused.labels(dependency=name, cause="away")

    @contextlib.contextmanager
    def asking(self, own_patience: bool, priority: Priority = Priority.CRITICAL) -> Iterator[None]:
        """
        Make one call inside the block; its errors go through.

        Raises, before the call, ResourceExhaustedError when its class has no place,
        and UnavailableError when the neighbour is taken to be away. `own_patience`
        says that a deadline which ends the call is ours: one of the caller's says
        nothing of the neighbour.
        """
        if self._calls >= self._places[priority]:
            self._full.inc()
            # Load, and no outage: told as one, the edge would try it on other pods,
            # which are as busy, and their breakers would open for everybody.
            raise ResourceExhaustedError(
                f"{self._calls} calls wait for {self._name}", reason="DEPENDENCY_BUSY"
            )
        if not self._breaker.allows():
            self._away.inc()
            raise UnavailableError(f"{self._name} is away", reason="DEPENDENCY_AWAY")
        self._calls += 1
        self._gauge.inc()
        try:
            yield
        except grpc.aio.AioRpcError as error:
            self._note(error.code(), own_patience)
            raise
        except BaseException:
            # Our caller left, or the call was never made.
            self._breaker.gave_up()
            raise
        else:
            self._breaker.answered()
        finally:
            self._calls -= 1
            self._gauge.dec()

    def _note(self, code: grpc.StatusCode, own_patience: bool) -> None:
        if code is grpc.StatusCode.UNAVAILABLE:
            self._breaker.failed()
        elif code is grpc.StatusCode.DEADLINE_EXCEEDED:
            if own_patience:
                self._breaker.failed()
            else:
                self._breaker.gave_up()
        elif code is grpc.StatusCode.CANCELLED:
            self._breaker.gave_up()
        else:
            self._breaker.answered()
