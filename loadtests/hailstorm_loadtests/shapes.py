"""
How demand changes over a run: steady, ramp, step, spike, sawtooth.

A shape is a multiplier of the wanted rate, linear between its corners. It acts
by warping time: an arrival that is due after `u` seconds at the plain rate is
due when the area under the multiplier reaches `u`. That keeps the order and
the burstiness of real arrivals, which thinning them at random would not.
"""

import math
from dataclasses import dataclass
from typing import Final

# A bound on corners, which are walked for each arrival.
MOST_TEETH: Final = 100


class ShapeError(ValueError):
    """The words do not describe a shape; the message says what would."""


@dataclass(frozen=True)
class Corner:
    """From `at_seconds` on the multiplier moves towards that of the next corner."""

    at_seconds: float
    multiplier: float


@dataclass(frozen=True)
class Shape:
    """Corners in order, the first at 0; the last multiplier holds for ever."""

    name: str
    corners: tuple[Corner, ...]

    def multiplier(self, seconds: float) -> float:
        """The multiplier after `seconds`; at a jump, the value after it."""
        before = self.corners[0]
        for corner in self.corners[1:]:
            if seconds < corner.at_seconds:
                share = (seconds - before.at_seconds) / (corner.at_seconds - before.at_seconds)
                return before.multiplier + share * (corner.multiplier - before.multiplier)
            before = corner
        return before.multiplier

    def due(self, area: float) -> float:
        """When the area under the multiplier reaches `area`, in seconds."""
        left = area
        for before, after in zip(self.corners, self.corners[1:], strict=False):
            width = after.at_seconds - before.at_seconds
            whole = width * (before.multiplier + after.multiplier) / 2
            if left < whole:
                return before.at_seconds + _seconds_for(left, before, after, width)
            left -= whole
        last = self.corners[-1]
        if last.multiplier <= 0:
            return math.inf
        return last.at_seconds + left / last.multiplier

    def area(self, seconds: float) -> float:
        """The area under the multiplier up to `seconds`: the inverse of `due`."""
        total = 0.0
        for before, after in zip(self.corners, self.corners[1:], strict=False):
            if seconds <= before.at_seconds:
                return total
            end = min(seconds, after.at_seconds)
            height = before.multiplier
            if after.at_seconds > before.at_seconds:
                slope = (after.multiplier - height) / (after.at_seconds - before.at_seconds)
                total += (end - before.at_seconds) * (
                    height + slope * (end - before.at_seconds) / 2
                )
        last = self.corners[-1]
        return total + max(0.0, seconds - last.at_seconds) * last.multiplier


def _seconds_for(area: float, before: Corner, after: Corner, width: float) -> float:
    """Solve height·x + slope·x²/2 = area for the x inside one piece."""
    slope = (after.multiplier - before.multiplier) / width
    # The stable form of the root: it does not divide by a slope of zero.
    root = math.sqrt(max(0.0, before.multiplier**2 + 2 * slope * area))
    divisor = before.multiplier + root
    return 2 * area / divisor if divisor else 0.0


STEADY: Final = Shape("steady", (Corner(0, 1),))


def parse_shape(words: str) -> Shape:
    """
    Read `steady`, `ramp:SECONDS:FROM:TO`, `step:AT:FACTOR`, `spike:AT:FACTOR:SECONDS`
    or `sawtooth:PERIOD:LOW:HIGH:TEETH`.

    Raises ShapeError, naming the form that was expected.
    """
    name, _, rest = words.partition(":")
    try:
        numbers = [float(word) for word in rest.split(":")] if rest else []
    except ValueError:
        raise ShapeError(f"shape {words!r}: {rest!r} is not numbers joined by colons") from None
    if any(not math.isfinite(number) or number < 0 for number in numbers):
        raise ShapeError(f"shape {words!r}: numbers must be finite and not negative")
    match name, numbers:
        case "steady", []:
            return STEADY
        case "ramp", [seconds, low, high] if seconds > 0:
            return Shape(words, (Corner(0, low), Corner(seconds, high)))
        case "step", [at, factor]:
            return Shape(words, (Corner(0, 1), Corner(at, 1), Corner(at, factor)))
        case "spike", [at, factor, seconds] if seconds > 0:
            end = at + seconds
            return Shape(
                words,
                (
                    Corner(0, 1),
                    Corner(at, 1),
                    Corner(at, factor),
                    Corner(end, factor),
                    Corner(end, 1),
                ),
            )
        case "sawtooth", [period, low, high, teeth] if period > 0 and 1 <= teeth <= MOST_TEETH:
            starts = [number * period for number in range(int(teeth))]
            corners = [
                corner
                for start in starts
                for corner in (Corner(start, low), Corner(start + period, high))
            ]
            return Shape(words, (*corners, Corner(corners[-1].at_seconds, low)))
    raise ShapeError(
        f"shape {words!r} is none of: steady, ramp:SECONDS:FROM:TO, step:AT:FACTOR, "
        "spike:AT:FACTOR:SECONDS, sawtooth:PERIOD:LOW:HIGH:TEETH"
    )
