"""
A release that is bad on purpose: what a gate is to catch, made of a good one.

Nobody trusts an alarm that was never heard. With HAILSTORM_REHEARSAL_* a process
fails a share of its calls, is slow, or never becomes ready, so that a
RolloutPolicy can be seen to take it back before a release does it unasked.

Failed calls are answered with INTERNAL and not with UNAVAILABLE: that one the edge
tries again on another pod (`retry_on: unavailable`), so users would feel nothing,
while a defect in a handler is what its users feel. A gate that counts attempts
sees both alike.

Which calls fail is drawn from the seed and the pod's name: a run can be repeated,
and the pods of a release do not all fail their third call.
"""

import logging
import random
from typing import Final

import grpc

from hailstorm.runtime.clock import Clock
from hailstorm.runtime.errors import ServiceError
from hailstorm.runtime.process import RehearsalSettings

# What /readyz says of a process that is never ready.
NEVER_READY: Final = b"REHEARSAL: neverReady\n"

_log = logging.getLogger(__name__)


class RehearsedError(ServiceError):
    """A call that fails because somebody wanted it to. No defect, and not logged as one."""

    code = grpc.StatusCode.INTERNAL
    reason = "REHEARSED"


class Rehearsal:
    """What goes wrong in front of every unary handler."""

    def __init__(self, settings: RehearsalSettings, clock: Clock, pod: str) -> None:
        self._fail_share = settings.fail_share
        self._delay_seconds = settings.delay_milliseconds / 1000
        self._clock = clock
        self._random = random.Random(f"{settings.seed}/{pod}")

    async def before(self) -> None:
        """Wait, then raise RehearsedError for the share of calls that is to fail."""
        if self._delay_seconds:
            await self._clock.sleep(self._delay_seconds)
        if self._random.random() < self._fail_share:
            raise RehearsedError("this release is a rehearsal: it fails on purpose")


def build_rehearsal(settings: RehearsalSettings, clock: Clock, pod: str) -> Rehearsal | None:
    """The rehearsal of calls that the settings ask for; None when calls are served as usual."""
    if settings.is_on:
        _log.warning(
            "REHEARSAL: this process is bad on purpose",
            extra={
                "fail_share": settings.fail_share,
                "delay_milliseconds": settings.delay_milliseconds,
                "never_ready": settings.never_ready,
            },
        )
    if settings.fail_share or settings.delay_milliseconds:
        return Rehearsal(settings, clock, pod)
    return None
