"""
Demand to simulate: calls a second, for each second.

Shapes are made of two rates; a recorded demand comes from a CSV of calls a second
or of pickups, or from a recording of `make compare`. `day` is the bundled Friday of
real pickups in New York.
"""

import csv
import gzip
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import IO, Final

# Short enough for the evening's peak, long enough that few pickups make no noise.
BIN_SECONDS: Final = 900
DAY_SECONDS: Final = 86_400
DAY_FILE: Final = "friday.csv"


class DemandError(ValueError):
    """A demand that cannot be read; the message says what would do."""


@dataclass(frozen=True)
class Demand:
    """Calls a second, one value a second."""

    name: str
    calls_per_second: tuple[float, ...]

    @property
    def seconds(self) -> int:
        """How long it lasts."""
        return len(self.calls_per_second)


def step(low: float, high: float) -> Iterator[float]:
    """Two calm minutes, then all at once, for ten."""
    yield from _steady(low, 120)
    yield from _steady(high, 600)


def ramp(low: float, high: float) -> Iterator[float]:
    """Up within five minutes, ten there, down within five, ten below."""
    yield from _steady(low, 120)
    yield from _line(low, high, 300)
    yield from _steady(high, 600)
    yield from _line(high, low, 300)
    yield from _steady(low, 600)


def spike(low: float, high: float) -> Iterator[float]:
    """Ten seconds out of the blue, and another ten after ten minutes."""
    for _ in range(2):
        yield from _steady(low, 300)
        yield from _steady(high, 10)
        yield from _steady(low, 290)


def sawtooth(low: float, high: float) -> Iterator[float]:
    """Ten times up within two minutes, and down at once."""
    for _ in range(10):
        yield from _line(low, high, 120)
    yield from _steady(low, 300)


def day(low: float, high: float) -> Iterator[float]:
    """Pickups of a Friday: the quietest quarter of an hour is `low`, the busiest `high`."""
    place = resources.files("hailstorm_operator.simulation") / DAY_FILE
    with place.open(encoding="utf-8") as file:
        counts = _read_bins(file)
    yield from spread(counts, low, high)


SHAPES: Final[dict[str, Callable[[float, float], Iterator[float]]]] = {
    "step": step,
    "ramp": ramp,
    "spike": spike,
    "sawtooth": sawtooth,
    "day": day,
}


def shaped(name: str, low: float, high: float) -> Demand:
    """A shape by its name. Raises DemandError."""
    if name not in SHAPES:
        raise DemandError(f"there is no shape {name!r}; write one of {', '.join(SHAPES)}")
    if not 0 <= low <= high:
        raise DemandError(f"low {low:g} and high {high:g} will not do; write 0 <= low <= high")
    return Demand(name, tuple(SHAPES[name](low, high)))


def read_demand(path: Path) -> Demand:
    """
    A CSV with a column `calls_per_second`, a row a second, or a recording of `make compare`.

    A recording is named `.json`, and its planned rates are read. Raises DemandError.
    """
    is_recording = path.name.removesuffix(".gz").endswith(".json")
    rates = _read_recording(path) if is_recording else _read_rows(path)
    if not rates:
        raise DemandError(f"{path} has no rows")
    return Demand(path.stem, tuple(rates))


def _read_recording(path: Path) -> list[float]:
    with _open(path) as file:
        try:
            rates = json.load(file)["load"]["rates"]
        except (ValueError, KeyError, TypeError):
            rates = None
    if not isinstance(rates, list):
        raise DemandError(f"{path} has no load.rates; write a CSV, or a recording of make compare")
    if not all(_is_rate(rate) for rate in rates):
        raise DemandError(f"{path}: a value of load.rates is not a rate")
    return [float(rate) for rate in rates]


def _is_rate(found: object) -> bool:
    return (
        isinstance(found, int | float)
        and not isinstance(found, bool)
        and math.isfinite(found)
        and found >= 0
    )


def _read_rows(path: Path) -> list[float]:
    rates = []
    with _open(path) as file:
        reader = csv.DictReader(file)
        if "calls_per_second" not in (reader.fieldnames or ()):
            raise DemandError(f"{path} has no column calls_per_second; write one row a second")
        for row in reader:
            try:
                rate = float(row["calls_per_second"])
            except (TypeError, ValueError):
                rate = math.nan
            if not _is_rate(rate):
                raise DemandError(f"{path}, line {reader.line_num}: not a rate")
            rates.append(rate)
    return rates


def read_pickups(path: Path, date: str, low: float, high: float) -> Demand:
    """One day of a CSV with a column `pickup_at`, spread between two rates."""
    return Demand(f"pickups of {date}", tuple(spread(count_pickups(path, date), low, high)))


def count_pickups(path: Path, date: str) -> list[int]:
    """Pickups in each quarter of an hour of a day (YYYY-MM-DD). Raises DemandError."""
    counts: Counter[int] = Counter()
    with _open(path) as file:
        for row in csv.DictReader(file):
            at = row.get("pickup_at") or ""
            if at.startswith(date):
                moment = datetime.fromisoformat(at)
                since = moment - moment.replace(hour=0, minute=0, second=0, microsecond=0)
                counts[since // timedelta(seconds=BIN_SECONDS)] += 1
    if not counts:
        raise DemandError(f"{path} has no pickup_at on {date}; write a day it covers")
    return [counts[number] for number in range(DAY_SECONDS // BIN_SECONDS)]


def spread(counts: list[int], low: float, high: float) -> Iterator[float]:
    """Rates between the middles of bins, so that the least count is `low`, the most `high`."""
    least, most = min(counts), max(counts)
    scale = (high - low) / ((most - least) or 1)
    rates = [low + (count - least) * scale for count in counts]
    for second in range(len(rates) * BIN_SECONDS):
        place = second / BIN_SECONDS - 0.5
        before = math.floor(place)
        share = place - before
        # A day follows a day like it.
        yield (1 - share) * rates[before % len(rates)] + share * rates[(before + 1) % len(rates)]


def _read_bins(file: IO[str]) -> list[int]:
    lines = (line for line in file if not line.startswith("#"))
    return [int(row["pickups"]) for row in csv.DictReader(lines)]


def _open(path: Path) -> IO[str]:
    try:
        if path.suffix == ".gz":
            return gzip.open(path, "rt", encoding="utf-8", newline="")
        return path.open(encoding="utf-8", newline="")
    except OSError as error:
        raise DemandError(f"{path} cannot be read: {error.strerror}") from error


def _steady(rate: float, seconds: int) -> Iterator[float]:
    yield from (rate for _ in range(seconds))


def _line(start: float, end: float, seconds: int) -> Iterator[float]:
    yield from (start + (end - start) * number / seconds for number in range(seconds))
