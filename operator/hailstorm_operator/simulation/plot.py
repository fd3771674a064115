"""
The plot of a simulation: one self-contained SVG, a panel for each policy.

Grey is how many pods the demand needs at least, the line how many serve, and red
marks the seconds in which calls broke the objective, darker with more of them.
"""

import html
from collections.abc import Sequence
from typing import Final

from hailstorm_operator.simulation.scorecard import Point, Scorecard
from hailstorm_operator.simulation.service import PodModel

WIDTH: Final = 960
PANEL: Final = 130
LEFT: Final = 44
RIGHT: Final = 12
TOP: Final = 30
GAP: Final = 34
# More points than pixels show nothing more.
MOST_POINTS: Final = WIDTH - LEFT - RIGHT
STYLE: Final = (
    "text{font:12px system-ui,sans-serif;fill:#333}.title{font-weight:600}"
    ".need{fill:#d9dde3}.serving{fill:none;stroke:#1f5fa8;stroke-width:1.5}"
    ".late{fill:#c62828}.axis{stroke:#999;stroke-width:.5}"
)


def draw(title: str, cards: Sequence[Scorecard], pod: PodModel) -> str:
    """SVG text."""
    height = TOP + len(cards) * (PANEL + GAP) + 8
    most = max(
        max(point.serving, point.demand / pod.calls_per_second)
        for card in cards
        for point in card.points
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<title>{html.escape(title)}</title><style>{STYLE}</style>",
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text class="title" x="{LEFT}" y="18">{html.escape(title)}</text>',
    ]
    for number, card in enumerate(cards):
        parts += _panel(card, pod, TOP + number * (PANEL + GAP), max(1.0, most))
    parts.append("</svg>\n")
    return "\n".join(parts)


def _panel(card: Scorecard, pod: PodModel, top: float, most: float) -> list[str]:
    points = _thin(card.points)
    bottom = top + 18 + PANEL
    wide = (WIDTH - LEFT - RIGHT) / max(1, card.points[-1].at)

    def place(at: float, pods: float) -> str:
        return f"{LEFT + at * wide:.1f},{bottom - pods / most * PANEL:.1f}"

    need = " ".join(place(one.at, one.demand / pod.calls_per_second) for one in points)
    end = points[-1].at
    serving = " ".join(place(one.at, one.serving) for one in points)
    caption = (
        f"{card.policy}: {card.underprovisioned_seconds:g} s short, "
        f"{card.calls_over_slo:,} of {card.calls:,} calls over the SLO, "
        f"{card.pod_seconds:,} pod-seconds, {card.flaps} flaps"
    )
    late = [
        f'<rect class="late" opacity="{max(0.15, one.late_share):.2f}" '
        f'x="{LEFT + one.at * wide:.1f}" y="{bottom - PANEL:.1f}" '
        f'width="{max(1.0, wide):.1f}" height="5"/>'
        for one in points
        # One call in a hundred: what a p99 would show.
        if one.late_share > 0.01
    ]
    return [
        f'<text x="{LEFT}" y="{top + 12:.0f}">{html.escape(caption)}</text>',
        f'<polygon class="need" points="{place(0, 0)} {need} {place(end, 0)}"/>',
        f'<polyline class="serving" points="{serving}"/>',
        *late,
        f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{bottom}" y2="{bottom}"/>',
        f'<text x="6" y="{bottom - PANEL + 10:.0f}">{most:.0f}</text>',
        f'<text x="6" y="{bottom}">pods</text>',
    ]


def _thin(points: Sequence[Point]) -> list[Point]:
    """As many as there are pixels; of each stretch the worst, or a short outage would vanish."""
    size = max(1, -(-len(points) // MOST_POINTS))
    return [
        max(points[start : start + size], key=lambda one: (one.late_share, one.serving))
        for start in range(0, len(points), size)
    ]
