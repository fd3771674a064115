"""
What a trip costs where many ask and few are free: pure decisions.

The pressure of a cell is the requests of the last minute for each idle driver
around it. Up to one there are drivers for all and the price is the usual one;
above it the multiplier is the pressure, smoothed, so that one full tram does not
double prices and one freed car does not halve them.
"""

import math
from typing import Final

MIN_MULTIPLIER: Final = 1.0
MAX_MULTIPLIER: Final = 3.0
# Riders are told steps that they can remember; a finer price changes all the time.
STEP: Final = 0.1


def smoothed(
    before: float, pressure: float, elapsed_seconds: float, memory_seconds: float
) -> float:
    """
    The pressure after an observation, by an exponentially weighted moving average.

    The weight follows from the time since the last one, so that looks which come
    late, or not at all, do not change how fast prices move.
    """
    keep = math.exp(-elapsed_seconds / memory_seconds)
    return keep * before + (1 - keep) * pressure


def pressure_of(requests: int, idle_drivers: int) -> float:
    """Requests for each idle driver; without any driver it is as with one."""
    return requests / max(idle_drivers, 1)


def multiplier_of(pressure: float) -> float:
    """The multiplier at a smoothed pressure: 1.0 to 3.0, in steps of 0.1."""
    clamped = min(MAX_MULTIPLIER, max(MIN_MULTIPLIER, pressure))
    # Rounded twice: 11 * 0.1 is 1.1000000000000001.
    return round(round(clamped / STEP) * STEP, 1)
