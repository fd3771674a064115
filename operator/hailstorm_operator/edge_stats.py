"""
What an Envoy says of one cluster, out of its text answer to /stats.

`upstream_rq_active` has to be there: an Envoy that does not know the cluster is
an error and never zero. The counters need not: Envoy makes `grpc.8` (calls that
ended RESOURCE_EXHAUSTED) with the first such call, and only where its filter
`envoy.filters.http.grpc_stats` is on.
"""

import math
import re
from dataclasses import dataclass
from typing import Final

ACTIVE: Final = "upstream_rq_active"
COMPLETED: Final = "upstream_rq_completed"
# Envoy's own circuit breaker: the call reached no pod, its caller saw UNAVAILABLE.
OVERFLOW: Final = "upstream_rq_pending_overflow"
EXHAUSTED: Final = "grpc.8"
TIME: Final = "upstream_rq_time"
# P50(of the last five seconds,since the start), in milliseconds; "nan" for none.
_MEDIAN: Final = re.compile(r"\bP50\(([^,)]+),([^,)]+)\)")


class StatsError(ValueError):
    """An answer that does not hold the figure. Asking again may help."""


@dataclass(frozen=True)
class EdgeStats:
    """
    One Envoy's figures of one cluster.

    Attributes:
        active: calls in flight.
        completed: answers of pods since Envoy's start; None when it does not say.
        exhausted: those of them that refused the call for want of capacity.
        median_ms: how long half of the calls took at most; None when there were none.
        overflow: calls that Envoy refused itself; no pod has answered them.
    """

    active: float
    completed: float | None = None
    exhausted: float = 0.0
    median_ms: float | None = None
    overflow: float = 0.0


def stats_filter(cluster: str) -> str:
    """The regular expression that makes /stats answer with these lines only."""
    escaped = cluster.replace("\\", "\\\\").replace(".", "\\.")
    names = "|".join(
        name.replace(".", "\\.") for name in (ACTIVE, COMPLETED, OVERFLOW, EXHAUSTED, TIME)
    )
    return rf"^cluster\.{escaped}\.({names})$"


def parse_edge_stats(text: str, cluster: str) -> EdgeStats:
    """Read the figures out of a text answer of /stats. Raises StatsError."""
    prefix = f"cluster.{cluster}."
    found = {}
    for line in text.splitlines():
        if line.startswith(prefix):
            name, _, value = line.removeprefix(prefix).partition(": ")
            found[name] = value.strip()
    if ACTIVE not in found:
        raise StatsError(f"Envoy knows no cluster {cluster!r}")
    return EdgeStats(
        active=_number(ACTIVE, found[ACTIVE]),
        completed=_number(COMPLETED, found[COMPLETED]) if COMPLETED in found else None,
        exhausted=_number(EXHAUSTED, found.get(EXHAUSTED, "0")),
        median_ms=_median(found.get(TIME, "")),
        overflow=_number(OVERFLOW, found.get(OVERFLOW, "0")),
    )


def _number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise StatsError(f"{name} is not a number: {text!r}") from error
    if not math.isfinite(value) or value < 0:
        raise StatsError(f"{name} is not a number of calls: {text!r}")
    return value


def _median(text: str) -> float | None:
    found = _MEDIAN.search(text)
    for value in found.groups() if found else ():
        try:
            number = float(value)
        except ValueError:
            continue
        if math.isfinite(number):
            return number
    return None
