"""
When calls of one method are due: a shape, a rate and a seed make the schedule.

It is laid out before the first call, so that the same three give the same
arrivals however fast the answers come: what differs between two runs is the
system and never the demand.
"""

import collections
import datetime as dt
import itertools
import random
from collections.abc import Callable, Sequence
from typing import Final

from hailstorm_loadtests.arrivals import poisson
from hailstorm_loadtests.city import Pickup, read_pickups
from hailstorm_loadtests.shapes import Corner, Shape, ShapeError, parse_shape

# The busiest whole day of the bundled records, a Friday.
DAY: Final = dt.date(2014, 4, 4)
# Half hours: fine enough for rush hours, coarse enough that each holds dozens of pickups.
DAY_PARTS: Final = 48


def parse_pace(words: str, pickups: Callable[[], Sequence[Pickup]] = read_pickups) -> Shape:
    """
    A shape of `shapes.parse_shape`, or `day:SECONDS:PEAK`: a real day in that time.

    Raises ShapeError, naming the forms there are.
    """
    name, _, rest = words.partition(":")
    if name != "day":
        return parse_shape(words)
    try:
        seconds, peak = (float(word) for word in rest.split(":"))
    except ValueError:
        raise ShapeError(f"shape {words!r} is not day:SECONDS:PEAK") from None
    if not (seconds > 0 and peak > 0):
        raise ShapeError(f"shape {words!r}: seconds and peak must be above 0")
    return day_shape(pickups(), seconds, peak)


def day_shape(pickups: Sequence[Pickup], seconds: float, peak: float) -> Shape:
    """The pickups of `DAY`, half hour by half hour, within `seconds`; the most is `peak`."""
    counts = collections.Counter(
        (pickup.at.hour * 60 + pickup.at.minute) * DAY_PARTS // (24 * 60)
        for pickup in pickups
        if pickup.at.date() == DAY
    )
    if not counts:
        raise ShapeError(f"the records hold no pickup of {DAY}")
    top, width = max(counts.values()), seconds / DAY_PARTS
    middles = [Corner((part + 0.5) * width, peak * counts[part] / top) for part in range(DAY_PARTS)]
    return Shape(f"day:{seconds:g}:{peak:g}", (Corner(0, middles[0].multiplier), *middles))


def arrivals(shape: Shape, rate: float, seconds: float, seed: int) -> list[float]:
    """Moments in seconds from the start: Poisson at `rate` a second, warped by the shape."""
    draws = random.Random(f"{seed}:unary")
    dues = (shape.due(u) for u in poisson(rate, shape.area(seconds), draws))
    return [due for due in dues if due < seconds]


def planned_rates(shape: Shape, rate: float, seconds: int) -> list[float]:
    """Calls a second that are meant to come in each second of the run."""
    areas = [shape.area(second) for second in range(seconds + 1)]
    return [rate * (b - a) for a, b in itertools.pairwise(areas)]
