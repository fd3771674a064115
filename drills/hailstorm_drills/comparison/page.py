"""
The comparison as one page: verdict, figures, and the arms drawn over each other.

Arms share the axis of the load's own seconds, since each had the same arrivals.
"""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

from hailstorm_drills.checkers.base import Verdict
from hailstorm_drills.comparison.figures import Figures, p99_by_second
from hailstorm_drills.comparison.recording import Recording
from hailstorm_drills.comparison.settings import ARM_TITLES, ARMS, OURS, Settings
from hailstorm_drills.comparison.verdicts import Line, ratios
from hailstorm_drills.phases import Interval
from hailstorm_drills.report import svg
from hailstorm_drills.report.svg import Panel

# What is above it is drawn at the edge: a rival that waits for its deadline would
# press the rest into the floor.
P99_TOP_SLOS: Final = 5
ROWS: Final = (
    ("calls", "offered"),
    ("over the SLO", "over_slo"),
    ("failed", "failed"),
    ("passed their deadline", "unknown"),
    ("p50, ms", "p50_ms"),
    ("p99 of answers, ms", "p99_ms"),
    ("under-provisioned, s", "under_provisioned_seconds"),
    ("pod-seconds", "pod_seconds"),
    ("flaps", "flaps"),
    ("first new capacity, s", "first_capacity_seconds"),
    ("p99 back under the SLO, s", "p99_back_seconds"),
    ("pods serving before the change", "serving_before"),
    ("most pods serving", "most_serving"),
    ("spares", "spares"),
    ("generator lag p99, ms", "generator_lag_p99_ms"),
)


def render_page(
    recordings: Mapping[str, Recording],
    figures: Mapping[str, Figures],
    lines: Sequence[Line],
    verdict: Verdict,
    settings: Settings,
) -> str:
    """The whole HTML document."""
    title = f"compare: {settings.name}"
    body = [
        f'<header><p class="verdict {verdict.lower()}">{verdict}</p><div>'
        f"<h1>{escape(title)}</h1><p>{settings.base_rate:g} calls/s, {escape(settings.pace)}, "
        f"seed {settings.seed}; SLO {settings.slo_ms:g} ms; pods of "
        f"{settings.cpu_limit_millicores}m, {settings.min_replicas} to {settings.max_replicas}"
        f"{escape(_stabilised(settings))}</p></div></header>",
        _pictures(recordings, settings),
        "<h2>Verdicts</h2>",
        table(
            ("what", "asked", "measured", "verdict", "why"),
            [
                (
                    escape(one.name),
                    escape(one.asked),
                    escape(one.measured),
                    f'<span class="chip {one.verdict.lower()}">{one.verdict}</span>',
                    escape(one.why),
                )
                for one in lines
            ],
        ),
        "<h2>Figures</h2>",
        table(
            ("", *(ARM_TITLES[arm] for arm in figures)),
            [
                (escape(name), *(told(getattr(one, field)) for one in figures.values()))
                for name, field in ROWS
            ],
        ),
        "<h2>Ours, divided by</h2>",
        _ratios(figures),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}: {verdict}</title><style>{svg.stylesheet()}</style></head>"
        f"<body><main>{''.join(body)}</main></body></html>\n"
    )


def render_picture(recordings: Mapping[str, Recording], settings: Settings) -> str:
    """The pictures alone, as an SVG to show elsewhere. At least one arm was run."""
    return svg.alone(_panels(recordings, settings))


def told(value: float | None) -> str:
    """A figure as it is read; what is not known is a dash."""
    if value is None:
        return "-"
    return f"{value:,.1f}" if isinstance(value, float) else f"{value:,}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells that are HTML already."""
    return (
        '<div class="scroll"><table><tr>'
        + "".join(f"<th>{escape(name)}</th>" for name in head)
        + "</tr>"
        + "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
        + "</table></div>"
    )


def _stabilised(settings: Settings) -> str:
    if settings.stabilisation_seconds is None:
        return ""
    return f"; every arm looks back {settings.stabilisation_seconds} s before it shrinks"


def _ratios(figures: Mapping[str, Figures]) -> str:
    found = ratios(figures)
    if not found:
        return '<p class="nothing">Ours and a rival were not both measured.</p>'
    names = list(next(iter(found.values())))
    rows = [
        (
            escape(ARM_TITLES[rival]),
            *("-" if one[name] is None else f"{one[name]:.3f}" for name in names),
        )
        for rival, one in found.items()
    ]
    return table(("", *(name.replace("_", " ") for name in names)), rows)


def _kind(arm: str) -> str:
    # Orange and purple for the rivals, teal for ours.
    return "c2" if arm == OURS else f"c{1 + 2 * ARMS.index(arm)}"


def _pictures(recordings: Mapping[str, Recording], settings: Settings) -> str:
    if not recordings:
        return '<p class="nothing">There is nothing to draw: no arm was run.</p>'
    drawn = "".join(one for _, one in _panels(recordings, settings))
    return f'<section class="pictures">{drawn}</section>'


def _panels(recordings: Mapping[str, Recording], settings: Settings) -> list[tuple[Panel, str]]:
    span = Interval(0.0, float(settings.seconds))
    bands = {}
    if settings.change_at is not None:
        bands = {"inject": Interval(float(settings.change_at), float(settings.seconds))}
    legend = svg.legend([(_kind(arm), ARM_TITLES[arm]) for arm in recordings])
    rates = next(iter(recordings.values())).load.rates
    return [
        _rate_panel(rates, span, bands),
        _serving_panel(recordings, rates, settings, span, bands, legend),
        _latency_panel(recordings, settings, span, bands, legend),
        _over_panel(recordings, settings, span, bands, legend),
    ]


def _rate_panel(
    rates: Sequence[float], span: Interval, bands: Mapping[str, Interval]
) -> tuple[Panel, str]:
    panel = Panel(span, 130, svg.nice_top(max(rates)))
    points = [(float(second), rate) for second, rate in enumerate(rates)]
    return _panel(
        panel,
        "Demand",
        "calls/s, the same for each arm",
        bands,
        svg.stairs(panel, points, "offered"),
        svg.legend([("offered", "planned")]),
    )


def _serving_panel(
    recordings: Mapping[str, Recording],
    rates: Sequence[float],
    settings: Settings,
    span: Interval,
    bands: Mapping[str, Interval],
    legend: str,
) -> tuple[Panel, str]:
    needed = [(float(at), float(settings.pods_needed(rate))) for at, rate in enumerate(rates)]
    highest = max((n for one in recordings.values() for _, n in one.serving), default=1)
    # The axis has four parts, and there is no quarter of a pod.
    panel = Panel(span, 190, 4.0 * math.ceil((max(highest, settings.max_replicas) + 1) / 4))
    parts = [svg.stairs(panel, needed, "p50")]
    for number, (arm, one) in enumerate(recordings.items()):
        # Equal counts would hide each other; a few pixels apart they do not.
        shift = 0.08 * (number - 1)
        start = one.load.start_at
        before = [n for at, n in one.serving if at <= start]
        points = [
            (0.0, (before[-1] if before else 0) + shift),
            *((at - start, n + shift) for at, n in one.serving if start < at < start + span.end),
        ]
        parts.append(svg.stairs(panel, points, _kind(arm)))
    title = "Serving pods"
    return _panel(panel, title, "ready addresses; blue: needed", bands, *parts, legend)


def _latency_panel(
    recordings: Mapping[str, Recording],
    settings: Settings,
    span: Interval,
    bands: Mapping[str, Interval],
    legend: str,
) -> tuple[Panel, str]:
    top = settings.slo_ms * P99_TOP_SLOS
    panel = Panel(span, 220, top)
    y = panel.y(settings.slo_ms)
    parts = [f'<line class="mark" x1="{panel.x(0)}" x2="{panel.x(span.end)}" y1="{y}" y2="{y}"/>']
    for arm, one in recordings.items():
        values = p99_by_second(one)
        points = [
            (second + 0.5, None if value is None else min(value, top))
            for second, value in enumerate(values)
        ]
        parts.append(svg.line(panel, points, _kind(arm)))
    unit = f"ms, by the second a call was due; the SLO is marked, {top:g} and more at the edge"
    return _panel(panel, "p99", unit, bands, *parts, legend)


def _over_panel(
    recordings: Mapping[str, Recording],
    settings: Settings,
    span: Interval,
    bands: Mapping[str, Interval],
    legend: str,
) -> tuple[Panel, str]:
    sums: dict[str, list[tuple[float, float]]] = {}
    for arm, one in recordings.items():
        total, points = 0, []
        by_second = [0] * settings.seconds
        for sample in one.load.samples:
            if sample.code != "OK" or sample.latency_ms > settings.slo_ms:
                by_second[min(int(sample.due), settings.seconds - 1)] += 1
        for second, count in enumerate(by_second):
            total += count
            points.append((second + 1.0, float(total)))
        sums[arm] = points
    top = max((points[-1][1] for points in sums.values() if points), default=1.0)
    panel = Panel(span, 170, svg.nice_top(top))
    parts = [svg.line(panel, points, _kind(arm)) for arm, points in sums.items()]
    return _panel(panel, "Calls over the SLO", "so far", bands, *parts, legend)


def _panel(
    panel: Panel, title: str, unit: str, bands: Mapping[str, Interval], *parts: str
) -> tuple[Panel, str]:
    return panel, "".join(
        [
            svg.open_svg(panel, title, unit),
            svg.bands(panel, bands, named=False),
            svg.value_axis(panel),
            *parts,
            svg.time_axis(panel),
            "</svg>",
        ]
    )
