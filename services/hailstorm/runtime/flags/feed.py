"""
Where flags come from, and which of two sources is believed.

In a cluster both carry the same ConfigMap: the API server tells of a flip within
a second, the kubelet's copy in the mounted folder follows within 60 to 90. So the
folder speaks until the API server has spoken once, and never again: an older copy
must not undo a flip. What the folder is for is a process that starts while the API
server is away, which would otherwise begin with every kill switch undone.
"""

import logging
from collections.abc import Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Gauge

from hailstorm.runtime.flags.live import LiveFlags

FOLDER: Final = "folder"
CONFIG_MAP: Final = "config_map"

_log = logging.getLogger(__name__)


class Feed:
    """Hands texts of sources to `flags`, and tells how the sources are."""

    def __init__(self, flags: LiveFlags, registry: CollectorRegistry) -> None:
        self._flags = flags
        self._has_authority_spoken = False
        self._told: dict[str, set[str]] = {}
        self._gauge = Gauge(
            "hailstorm_flags_source_reachable",
            "1 while the source can be read; while it cannot, the values of before hold.",
            ("source",),
            registry=registry,
        )

    def take(self, source: str, texts: Mapping[str, str]) -> None:
        """All that `source` says now."""
        self._note(source, True)
        if source == CONFIG_MAP:
            self._has_authority_spoken = True
        elif self._has_authority_spoken:
            return
        self._flags.apply(texts, source)

    def reached(self, source: str) -> None:
        """`source` can be read, whether or not it has something to say."""
        self._note(source, True)

    def lost(self, source: str, why: str) -> None:
        """`source` cannot be read now."""
        self._note(source, False, why)

    def _note(self, source: str, is_reachable: bool, why: str = "") -> None:
        self._gauge.labels(source=source).set(is_reachable)
        told = self._told.setdefault(source, set())
        # Each reason once an outage: an outage must not fill the log, and one that
        # turns from "refused" to "forbidden" has become somebody else's to mend.
        if not is_reachable and why not in told:
            told.add(why)
            _log.warning(
                "flags cannot be read (%s); the values of before hold",
                why,
                extra={"source": source},
            )
        elif is_reachable and told:
            told.clear()
            _log.info("flags can be read again", extra={"source": source})
