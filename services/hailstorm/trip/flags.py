"""
The flags that this service asks for; each is true where nobody has said anything.

`history-writes` false: finished trips are not written into trip_history. Their
events stay unpublished, so that nothing is lost: switched on again, the relay
writes what it left. To publish them without history would be the loss.

`tracking-stream` false: WatchTrip goes on telling changes and tells no
positions; who wants one asks LocationService.BatchGetPositions when it wants.
Open streams stay open: to end or refuse them would bring every watcher back at
once, in the very moment in which somebody wants less load, and the edge takes
a pod that answers UNAVAILABLE for a broken one.
"""

from collections.abc import Mapping
from typing import Final

from hailstorm.runtime.flags.values import Kind

HISTORY_WRITES: Final = "history-writes"
TRACKING_STREAM: Final = "tracking-stream"

FLAGS: Final[Mapping[str, Kind]] = dict.fromkeys((HISTORY_WRITES, TRACKING_STREAM), bool)
