"""
When calls of one method are due: a shape, a rate and a seed make the schedule.

It is laid out before the first call, so that the same three give the same
arrivals however fast the answers come: what differs between two runs is the
system and never the demand.
"""

import collections
import datetime as dt
import itertools
import math
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
# Six in the morning: a night, the longest way down that a day has, is then at its end.
# As the records go, it is the night before.
FIRST_PART: Final = 12


def parse_pace(words: str, pickups: Callable[[], Sequence[Pickup]] = read_pickups) -> Shape:
    """
    A shape of `shapes.parse_shape`, or one of two more.

    `day:SECONDS:PEAK` is a real day in that time; `trapezoid:AT:UP:HIGH:TOP:DOWN` is calm
    until AT, up to HIGH within UP seconds, TOP seconds there, and calm again DOWN later.
    Raises ShapeError, naming the forms there are.
    """
    name, _, rest = words.partition(":")
    if name == "day":
        seconds, peak = _numbers(words, rest, "day:SECONDS:PEAK")
        return day_shape(pickups(), seconds, peak)
    if name == "trapezoid":
        at, up, high, top, down = _numbers(words, rest, "trapezoid:AT:UP:HIGH:TOP:DOWN")
        corners = (Corner(at, 1), Corner(at + up, high), Corner(at + up + top, high))
        return Shape(words, (Corner(0, 1), *corners, Corner(at + up + top + down, 1)))
    return parse_shape(words)


def _numbers(words: str, rest: str, form: str) -> list[float]:
    """As many numbers above 0 as the form has. Raises ShapeError."""
    try:
        numbers = [float(word) for word in rest.split(":")]
    except ValueError:
        raise ShapeError(f"shape {words!r} is not {form}") from None
    if len(numbers) != form.count(":"):
        raise ShapeError(f"shape {words!r} is not {form}")
    if not all(number > 0 and math.isfinite(number) for number in numbers):
        raise ShapeError(f"shape {words!r}: numbers must be above 0, and finite")
    return numbers


def day_shape(pickups: Sequence[Pickup], seconds: float, peak: float) -> Shape:
    """The pickups of `DAY` by half hours from six to six, in `seconds`; the most is `peak`."""
    counts = collections.Counter(
        (pickup.at.hour * 60 + pickup.at.minute) * DAY_PARTS // (24 * 60)
        for pickup in pickups
        if pickup.at.date() == DAY
    )
    if not counts:
        raise ShapeError(f"the records hold no pickup of {DAY}")
    top, width = max(counts.values()), seconds / DAY_PARTS
    turned = [counts[(part + FIRST_PART) % DAY_PARTS] for part in range(DAY_PARTS)]
    middles = [Corner((n + 0.5) * width, peak * count / top) for n, count in enumerate(turned)]
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
