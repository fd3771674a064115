"""
What a run takes whose drivers answer their offers themselves; `--offers`, for any drill.

The release must leave the answer to them, and the load must have drivers who give
it. The two belong together: with one alone every offer expires, or none is made.
"""

from collections.abc import Mapping
from typing import Any, Final

# `key=value` for `helm --set`. A rider whom no driver is near waits, so that the
# searches that outlive a pod are under way as well.
OFFER_SETTINGS: Final = (
    "dispatch.settings.dispatch.autoAccept=false",
    "dispatch.settings.dispatch.waitsWithoutDrivers=true",
)
# Fields of the load's profile. Nobody lets an offer expire on purpose: one that
# expires without an answer is one that never reached its driver.
OFFER_LOAD: Final[Mapping[str, Any]] = {"answers_offers": True, "silent_share": 0.0}
