"""
Small pieces of SVG: scales, axes, lines, bars. Colours are CSS classes.

A panel is a strip of the page that shares its time axis with all others, so
that what happens above each other happened at the same moment.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from typing import Final

from hailstorm_drills.marks import Mark
from hailstorm_drills.phases import Interval

WIDTH: Final = 1120
LEFT: Final = 76
RIGHT: Final = 16
TOP: Final = 26
BOTTOM: Final = 22
GAP: Final = 10


@dataclass(frozen=True)
class Panel:
    """Where moments and values fall on the paper."""

    span: Interval
    height: int
    top_value: float = 1.0

    def x(self, moment: float) -> float:
        """Pixels from the left of a moment, kept on the paper."""
        share = (moment - self.span.start) / self.span.seconds
        return round(LEFT + min(max(share, 0), 1) * (WIDTH - LEFT - RIGHT), 1)

    def y(self, value: float) -> float:
        """Pixels from the top of a value; what is above the paper ends at its edge."""
        share = min(max(value / self.top_value, 0), 1)
        return round(TOP + (1 - share) * (self.height - TOP - BOTTOM), 1)

    @property
    def floor(self) -> float:
        """The pixel row of zero."""
        return self.height - BOTTOM


def nice_top(value: float) -> float:
    """The next number at or above the value whose quarters are round: the end of an axis."""
    if value <= 0:
        return 1.0
    power = 10 ** math.floor(math.log10(value))
    return float(
        next(m * power for m in (1, 1.2, 1.6, 2, 2.4, 3.2, 4, 6, 8, 10) if m * power >= value)
    )


def open_svg(panel: Panel, title: str, unit: str) -> str:
    """The start of a panel, with its name and unit."""
    return (
        f'<svg class="panel" viewBox="0 0 {WIDTH} {panel.height}" role="img" '
        f'aria-label="{escape(title)}"><text class="title" x="{LEFT}" y="15">{escape(title)}'
        f'<tspan class="unit" dx="8">{escape(unit)}</tspan></text>'
    )


def stylesheet() -> str:
    """The classes of panels and pages."""
    return (resources.files("hailstorm_drills") / "report" / "report.css").read_text("utf-8")


def alone(panels: Sequence[tuple[Panel, str]]) -> str:
    """One SVG file that needs no page: whole panels below each other, on their own paper."""
    parts, y = [], GAP
    for panel, drawn in panels:
        place = f'<svg y="{y}" width="{WIDTH}" height="{panel.height}" '
        parts.append(drawn.replace('<svg class="panel" ', place, 1))
        y += panel.height + GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" width="{WIDTH}" '
        f'height="{y}" font-family="system-ui, sans-serif"><style>{stylesheet()}</style>'
        f'<rect width="{WIDTH}" height="{y}" style="fill: var(--card)"/>{"".join(parts)}</svg>\n'
    )


def bands(panel: Panel, intervals: Mapping[str, Interval], named: bool) -> str:
    """The drill's phases as shaded bands; the fault's own are marked."""
    parts = []
    for name, interval in intervals.items():
        x0, x1 = panel.x(interval.start), panel.x(interval.end)
        kind = "fault" if name in ("inject", "hold") else "calm"
        parts.append(
            f'<rect class="band {kind}" x="{x0}" y="{TOP}" width="{max(0, x1 - x0):.1f}" '
            f'height="{panel.floor - TOP}"><title>{escape(name)}: {interval.seconds:.1f} s'
            "</title></rect>"
        )
        # A name needs room; the narrow ones are told by the tooltip.
        if named and x1 - x0 > 8 * len(name):
            parts.append(
                f'<text class="phase" x="{(x0 + x1) / 2:.1f}" y="{TOP + 13}">{escape(name)}</text>'
            )
    fault = intervals.get("inject")
    if fault:
        x0 = panel.x(fault.start)
        parts.append(f'<line class="mark" x1="{x0}" x2="{x0}" y1="{TOP}" y2="{panel.floor}"/>')
    return "".join(parts)


def marks(panel: Panel, found: Iterable[Mark], named: bool = False) -> str:
    """Each thing that the drill did as a line; the tooltip says what, and what it took."""
    parts = []
    for number, mark in enumerate(found, start=1):
        x = panel.x(mark.at)
        took = "" if mark.until is None else f", {mark.until - mark.at:.1f} s"
        label = f"{mark.what} ({mark.kind} {number}{took})"
        parts.append(
            f'<line class="mark each" x1="{x}" x2="{x}" y1="{TOP}" y2="{panel.floor}">'
            f"<title>{escape(label)}</title></line>"
        )
        if named:
            parts.append(f'<text class="phase" x="{x}" y="{TOP + 26}">{number}</text>')
    return "".join(parts)


def time_axis(panel: Panel) -> str:
    """Seconds since the start of the span, at round numbers."""
    step = next(
        (s for s in (5, 10, 15, 30, 60, 120, 300, 600, 1800) if panel.span.seconds / s <= 14), 3600
    )
    parts = [
        f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{panel.floor}" '
        f'y2="{panel.floor}"/>'
    ]
    for second in range(0, int(panel.span.seconds) + 1, step):
        x = panel.x(panel.span.start + second)
        parts.append(
            f'<line class="tick" x1="{x}" x2="{x}" y1="{panel.floor}" y2="{panel.floor + 4}"/>'
            f'<text class="label" x="{x}" y="{panel.floor + 16}">{second} s</text>'
        )
    return "".join(parts)


def value_axis(panel: Panel, count: int = 4, text: Callable[[float], str] = "{:g}".format) -> str:
    """Horizontal lines with their values."""
    parts = []
    for i in range(count + 1):
        value = panel.top_value * i / count
        y = panel.y(value)
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>'
            f'<text class="value" x="{LEFT - 8}" y="{y + 4}">{escape(text(value))}</text>'
        )
    return "".join(parts)


def line(panel: Panel, points: Iterable[tuple[float, float | None]], kind: str) -> str:
    """A line through the points; where there is no value, there is no line."""
    parts, pen = [], "M"
    for moment, value in points:
        if value is None:
            pen = "M"
            continue
        parts.append(f"{pen}{panel.x(moment)},{panel.y(value)}")
        pen = "L"
    return f'<path class="line {kind}" d="{"".join(parts)}"/>'


def stairs(panel: Panel, points: Sequence[tuple[float, float]], kind: str) -> str:
    """A line that changes at once, for counts."""
    parts = []
    for number, (moment, value) in enumerate(points):
        x, y = panel.x(moment), panel.y(value)
        parts.append(f"M{x},{y}" if number == 0 else f"H{x}V{y}")
    if points:
        parts.append(f"H{panel.x(panel.span.end)}")
    return f'<path class="line {kind}" d="{"".join(parts)}"/>'


def bars(
    panel: Panel, points: Iterable[tuple[float, float, str]], width_seconds: float, kind: str
) -> str:
    """A bar for each value above zero, never thinner than can be seen."""
    parts = []
    for moment, value, told in points:
        if value <= 0:
            continue
        x0 = panel.x(moment)
        # One failure among hundreds must be seen: at least three pixels.
        y = min(panel.y(value), panel.floor - 3)
        width = max(2.0, panel.x(moment + width_seconds) - x0 - 0.5)
        parts.append(
            f'<rect class="bar {kind}" x="{x0}" y="{y}" width="{width:.1f}" '
            f'height="{panel.floor - y:.1f}"><title>{escape(told)}</title></rect>'
        )
    return "".join(parts)


def legend(entries: Iterable[tuple[str, str]]) -> str:
    """(class, name) pairs, right-aligned in the panel's first row."""
    entries = list(entries)
    x = WIDTH - RIGHT - sum(30 + 6.6 * len(name) for _, name in entries)
    parts = []
    for kind, name in entries:
        parts.append(
            f'<rect class="swatch {kind}" x="{x:.0f}" y="6" width="12" height="10" rx="2"/>'
            f'<text class="legend" x="{x + 17:.0f}" y="15">{escape(name)}</text>'
        )
        x += 30 + 6.6 * len(name)
    return "".join(parts)
