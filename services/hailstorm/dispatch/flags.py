"""
The flags that dispatch heeds, by name; each takes effect without a restart.

All of them are on when nobody has said anything. The context of NEW_REQUESTS is
`city` and `cell`, the H3 cell of resolution 8 in hexadecimal.
"""

from collections.abc import Mapping
from typing import Final

from hailstorm.runtime.flags.values import Kind

# Off: every request takes the nearest driver, and no window is waited for.
BATCH_MATCHING: Final = "batch-matching"
# Off: the multiplier is 1.0. Quotes that were given keep theirs.
SURGE: Final = "surge"
# Off: no request is refused for want of drivers.
REQUEST_GATE: Final = "request-gate"
# Off: the cell takes no new requests; trips that exist go on.
NEW_REQUESTS: Final = "new-requests"

FLAGS: Final[Mapping[str, Kind]] = dict.fromkeys(
    (BATCH_MATCHING, SURGE, REQUEST_GATE, NEW_REQUESTS), bool
)
