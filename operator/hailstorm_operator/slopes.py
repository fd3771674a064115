"""
How fast the demand grows, where it grows steadily.

A pod that is asked for now serves when it has started, so a ramp is planned for
as it will be then. A straight line through a window takes a step for a slope and
would plan for another step to come; so each half of the window gets its own line,
and the gentler one counts: a step lies in one half only, a ramp in both. A slope
that is no larger than the scatter around its line is noise, and counts as none.
"""

import math
from collections.abc import Sequence
from typing import Final

# Three standard errors: one window of pure noise in half a million passes,
# since both halves have to.
SIGNIFICANT: Final = 3.0
# Fewer points than that fit any line.
FEWEST_SAMPLES: Final = 4
# However steep, half of what there is: a slope says nothing of how long it lasts.
MOST_HEADROOM: Final = 0.5

Samples = Sequence[tuple[float, float]]


def steady_slope(samples: Samples) -> float:
    """Growth a second of (time, value) pairs in order of time; never below 0."""
    if not samples:
        return 0.0
    middle = (samples[0][0] + samples[-1][0]) / 2
    halves = (
        [one for one in samples if one[0] <= middle],
        [one for one in samples if one[0] > middle],
    )
    return min(significant_slope(half) for half in halves)


def significant_slope(samples: Samples) -> float:
    """Slope of the least-squares line, or 0 when it falls or drowns in the scatter."""
    count = len(samples)
    if count < FEWEST_SAMPLES:
        return 0.0
    mean_at = math.fsum(at for at, _ in samples) / count
    mean_value = math.fsum(value for _, value in samples) / count
    spread = math.fsum((at - mean_at) ** 2 for at, _ in samples)
    if spread <= 0:
        return 0.0
    slope = math.fsum((at - mean_at) * (value - mean_value) for at, value in samples) / spread
    if slope <= 0:
        return 0.0
    scatter = math.fsum((value - mean_value - slope * (at - mean_at)) ** 2 for at, value in samples)
    error = math.sqrt(scatter / (count - 2) / spread)
    return slope if slope > SIGNIFICANT * error else 0.0


def headroom(load: float, slope: float, startup_seconds: float) -> float:
    """Calls in flight that will have come by the time a pod asked for now serves."""
    return min(slope * startup_seconds, MOST_HEADROOM * load)
