"""The cities of the history that is loaded, and who rides in each."""

import itertools
import random
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class City:
    """A city, its share of all trips and riders, and its centre."""

    city_id: str
    name: str
    share: float
    latitude: float
    longitude: float


# Guesses, but for the centres.
CITIES: Final = (
    City("nyc", "New York", 0.6, 40.75, -73.95),
    City("chi", "Chicago", 0.25, 41.88, -87.63),
    City("bos", "Boston", 0.15, 42.36, -71.06),
)


def city_riders(count: int) -> list[range]:
    """The numbers of each city's riders: `count` in all, by the cities' shares, none empty."""
    shares = itertools.accumulate(city.share for city in CITIES)
    spare = count - len(CITIES)
    ends = [least + round(share * spare) for least, share in enumerate(shares, start=1)]
    return [range(first, end) for first, end in itertools.pairwise([0, *ends])]


def zipf(source: random.Random, count: int) -> int:
    """
    A rank from 0 below `count`, drawn with weights of about 1/(rank + 1).

    The inverse of a logarithm instead of a table of a million weights.
    """
    return min(count, int((count + 1) ** source.random())) - 1
