"""
Figures with their spread, what was asked of them, and the verdict.

A benchmark runs several times, its rival in turn with it, so that noise of the
machine meets both; a single number is never shown. Judged is the median: of the
measured values, or of the ratios to the rival of the same turn. What was not
measured is UNKNOWN, and UNKNOWN is no PASS.
"""

import enum
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final


class Verdict(enum.StrEnum):
    """Whether a figure is what was asked for."""

    PASS = "PASS"
    FAIL = "FAIL"
    UNKNOWN = "UNKNOWN"


# Exit codes, as the drills use them.
EXIT_CODES: Final = {Verdict.PASS: 0, Verdict.FAIL: 1, Verdict.UNKNOWN: 2}


@dataclass(frozen=True, slots=True)
class Spread:
    """Some measurements of the same thing, in the order they were taken."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """Raises StatisticsError when nothing was measured."""
        return statistics.median(self.values)

    def to_json(self) -> dict[str, Any]:
        return {
            "median": _rounded(self.median),
            "min": _rounded(min(self.values)),
            "max": _rounded(max(self.values)),
            "values": [_rounded(value) for value in self.values],
        }

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "Spread":
        return cls(tuple(stored["values"]))


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked: at least `limit`, or at most."""

    limit: float
    is_floor: bool = True

    def judge(self, spread: Spread | None) -> Verdict:
        """Judge the median; a value that is no number makes it UNKNOWN."""
        if spread is None or not spread.values or not all(map(math.isfinite, spread.values)):
            return Verdict.UNKNOWN
        holds = spread.median >= self.limit if self.is_floor else spread.median <= self.limit
        return Verdict.PASS if holds else Verdict.FAIL


@dataclass(frozen=True, slots=True)
class Figure:
    """
    One figure.

    Attributes:
        name: what is measured, without its unit.
        unit: of `measured` and of `rival`.
        measured: a value for each turn; None when it could not be.
        asked: what is judged; None for a figure that is only shown.
        asked_of_ratio: whether `asked` is about `measured / rival`.
        rival_name: the limit, or what others reach, of the same turns.
        why: what kept it from being measured, or what a reader must know.
    """

    name: str
    unit: str
    measured: Spread | None
    asked: Asked | None = None
    asked_of_ratio: bool = False
    rival_name: str = ""
    rival: Spread | None = None
    why: str = ""

    @property
    def ratio(self) -> Spread | None:
        """Turn by turn; None without a rival."""
        if self.measured is None or self.rival is None or not all(self.rival.values):
            return None
        pairs = zip(self.measured.values, self.rival.values, strict=True)
        return Spread(tuple(mine / other for mine, other in pairs))

    @property
    def verdict(self) -> Verdict | None:
        """None when nothing is asked."""
        if self.asked is None:
            return None
        return self.asked.judge(self.ratio if self.asked_of_ratio else self.measured)

    def to_json(self) -> dict[str, Any]:
        stored: dict[str, Any] = {"name": self.name, "unit": self.unit}
        if self.asked is not None:
            stored["asked"] = {
                "limit": self.asked.limit,
                "is_floor": self.asked.is_floor,
                "of_ratio": self.asked_of_ratio,
            }
        for name, spread in (
            ("measured", self.measured),
            ("rival", self.rival),
            ("ratio", self.ratio),
        ):
            if spread is not None:
                stored[name] = spread.to_json()
        if self.rival_name:
            stored["rival_name"] = self.rival_name
        if self.why:
            stored["why"] = self.why
        if self.verdict is not None:
            stored["verdict"] = self.verdict.value
        return stored

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "Figure":
        """Read a stored figure; its verdict is made anew. KeyError, TypeError for anything else."""
        asked = stored.get("asked")
        return cls(
            name=stored["name"],
            unit=stored["unit"],
            measured=Spread.from_json(stored["measured"]) if "measured" in stored else None,
            asked=None if asked is None else Asked(asked["limit"], asked["is_floor"]),
            asked_of_ratio=bool(asked and asked["of_ratio"]),
            rival_name=stored.get("rival_name", ""),
            rival=Spread.from_json(stored["rival"]) if "rival" in stored else None,
            why=stored.get("why", ""),
        )


def worst(verdicts: Iterable[Verdict | None]) -> Verdict:
    """FAIL before UNKNOWN before PASS; UNKNOWN when nothing was judged."""
    judged = {verdict for verdict in verdicts if verdict is not None}
    for verdict in (Verdict.FAIL, Verdict.UNKNOWN, Verdict.PASS):
        if verdict in judged:
            return verdict
    return Verdict.UNKNOWN


def percentile(values: Sequence[float], share: float) -> float:
    """
    The value that `share` of all do not exceed (nearest rank).

    Raises ValueError for no values: a percentile of nothing is no number.
    """
    if not values:
        raise ValueError("no values")
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def table(figures: Sequence[Figure]) -> str:
    """The figures as text, a row each."""
    head = ("figure", "asked", "measured [min..max]", "limit or rival", "ratio", "verdict")
    rows: list[tuple[str, ...]] = [head]
    rows += [_row(figure) for figure in figures]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def verdict_lines(figures: Sequence[Figure]) -> str:
    """
    What a program ends with: a line for each figure that is judged, and one for all.

    Each says what was asked, what was measured, and the limit or rival of the same
    turns. That nothing was judged is said too, as UNKNOWN.
    """
    lines = []
    for figure in figures:
        if figure.verdict is None:
            continue
        measured = "nothing" if figure.measured is None else _range(figure.measured)
        parts = [f"asked {_asked(figure)}", f"measured {measured} {figure.unit}".rstrip()]
        if figure.rival is not None:
            parts.append(f"limit {figure.rival_name} {_range(figure.rival)}")
        if figure.ratio is not None:
            parts.append(f"ratio {_range(figure.ratio)}")
        why = f" ({figure.why})" if figure.why else ""
        lines.append(f"{figure.verdict:7} {figure.name}: {', '.join(parts)}{why}")
    verdict = worst(figure.verdict for figure in figures)
    counts = ", ".join(
        f"{sum(figure.verdict is each for figure in figures)} {each}" for each in Verdict
    )
    return "\n".join([*lines, f"verdict {verdict} ({counts}; exit code {EXIT_CODES[verdict]})"])


def _row(figure: Figure) -> tuple[str, ...]:
    verdict = "" if figure.verdict is None else figure.verdict.value
    if figure.why:
        verdict = f"{verdict} ({figure.why})" if verdict else f"({figure.why})"
    return (
        figure.name,
        _asked(figure),
        "nothing" if figure.measured is None else f"{_range(figure.measured)} {figure.unit}",
        "" if figure.rival is None else f"{figure.rival_name} {_range(figure.rival)}",
        "" if figure.ratio is None else _range(figure.ratio),
        verdict,
    )


def _asked(figure: Figure) -> str:
    if figure.asked is None:
        return ""
    unit = f"x {figure.rival_name}" if figure.asked_of_ratio else figure.unit
    return f"{'>=' if figure.asked.is_floor else '<='} {_number(figure.asked.limit)} {unit}"


def _range(spread: Spread) -> str:
    if not spread.values:
        return "nothing"
    low, high = _number(min(spread.values)), _number(max(spread.values))
    return f"{_number(spread.median)} [{low}..{high}]"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _rounded(value: float) -> float:
    # Four digits are more than any of these runs can tell apart.
    return float(f"{value:.4g}")
