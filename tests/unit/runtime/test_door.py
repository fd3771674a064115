"""A door that is watched anew."""

import asyncio
from typing import Any

from prometheus_client import CollectorRegistry

from hailstorm.runtime.admission import Admission
from hailstorm.runtime.door import Door, _Knock
from hailstorm.runtime.interceptor import ServerInterceptor
from hailstorm.runtime.telemetry import ServerMetrics


async def test_knock_that_was_under_way_is_not_asked_for_once_the_watch_is_over(clock: Any) -> None:
    admission, metrics = Admission(clock, 1, 1), ServerMetrics(CollectorRegistry())
    interceptor = ServerInterceptor(admission, metrics)
    door = Door(admission, interceptor, clock, metrics, "127.0.0.1:1")
    watching = asyncio.create_task(door.watch())
    await asyncio.sleep(0)
    task = asyncio.create_task(asyncio.Event().wait())
    door._knocks["/a.B/C"] = _Knock(0.0, task)  # type: ignore[arg-type]
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    assert task.cancelled()
    # Its result would raise CancelledError in whoever watches next, and end that one too.
    door._look(None)
