"""
One gauge out of what a pod answers to /metrics, in Prometheus' text format.

A gauge with labels (calls in flight of each class) has several lines; their sum
is the pod's figure. A pod that does not have the gauge is an error, never zero.
"""

import math
import re
from typing import Final

from hailstorm_operator.edge_stats import StatsError

# name{labels} value [timestamp]; label values may hold braces and escaped quotes.
_LABELS: Final = r'(?:\{(?:[^"}]|"(?:[^"\\]|\\.)*")*\})?'


def parse_gauge(text: str, metric: str) -> float:
    """Sum of a metric's lines. Raises StatsError without any, for no number, and below zero."""
    pattern = re.compile(rf"{re.escape(metric)}{_LABELS}[ \t]+(\S+)")
    values = []
    for line in text.splitlines():
        found = pattern.match(line)
        if found is None:
            continue
        try:
            value = float(found[1])
        except ValueError as error:
            raise StatsError(f"not a number: {line[:200]!r}") from error
        if not math.isfinite(value):
            raise StatsError(f"not a number: {line[:200]!r}")
        values.append(value)
    if not values:
        raise StatsError(f"there is no metric {metric!r} in the answer")
    if sum(values) < 0:
        raise StatsError(f"{metric!r} is below zero: {sum(values):g} calls in flight")
    return sum(values)
