"""The panels of a drill: rate and failures, latency, replicas, the pods' lives."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

from hailstorm_drills.attribution import Attributed
from hailstorm_drills.marks import Mark
from hailstorm_drills.phases import Interval
from hailstorm_drills.pods import PHASES, PodLife
from hailstorm_drills.report import svg
from hailstorm_drills.report.series import Series, ready_counts
from hailstorm_drills.report.svg import Panel

Intervals = Mapping[str, Interval]
ROW: Final = 18
GROUP_GAP: Final = 10
# Latency panels end here at most, times the median p99: one outlier must not
# flatten the rest; what is cut off is told by the tooltip and the table.
P99_HEADROOM: Final = 8.0


def rate_panel(series: Series, intervals: Intervals, marks: Sequence[Mark] = ()) -> str:
    """Calls a second, and below them what failed."""
    seconds = series.step_seconds
    top = svg.nice_top(max((s.n / seconds for s in series.steps), default=1))
    panel = Panel(series.span, 200, top)
    return "".join(
        [
            svg.open_svg(panel, "Calls and failures", "a second, by the moment they were due"),
            svg.bands(panel, intervals, named=True),
            svg.marks(panel, marks, named=True),
            svg.value_axis(panel),
            svg.bars(
                panel,
                [
                    (s.start, s.retried / seconds, f"{s.retried} answered after a retry")
                    for s in series.steps
                ],
                seconds,
                "retried",
            ),
            svg.line(
                panel, [(s.start + seconds / 2, s.n / seconds) for s in series.steps], "offered"
            ),
            svg.bars(
                panel,
                [
                    (s.start, (s.failed + s.unknown) / seconds, _failed_told(s.failed, s.unknown))
                    for s in series.steps
                ],
                seconds,
                "failed",
            ),
            svg.time_axis(panel),
            svg.legend([("offered", "offered"), ("retried", "retried"), ("failed", "not ok")]),
            "</svg>",
        ]
    )


def _failed_told(failed: int, unknown: int) -> str:
    return f"{failed} failed, {unknown} unknown"


def latency_panel(series: Series, intervals: Intervals, drawn: Sequence[Mark] = ()) -> str:
    """p50 and p99 from the intended start."""
    highs = sorted(s.p99_ms for s in series.steps if s.p99_ms is not None)
    usual = highs[len(highs) // 2] if highs else 1.0
    top = svg.nice_top(min(max(highs, default=1.0), P99_HEADROOM * usual))
    panel = Panel(series.span, 220, top)
    half = series.step_seconds / 2
    above = [
        (s.start, top, f"p99 {s.p99_ms:.0f} ms")
        for s in series.steps
        if s.p99_ms is not None and s.p99_ms > top
    ]
    marks = "".join(
        f'<path class="above" d="M{panel.x(at + half)},{svg.TOP - 7}l4,7h-8z">'
        f"<title>{escape(told)}</title></path>"
        for at, _, told in above
    )
    return "".join(
        [
            svg.open_svg(panel, "Latency", "ms, from the moment the call was due"),
            svg.bands(panel, intervals, named=False),
            svg.marks(panel, drawn),
            svg.value_axis(panel),
            svg.line(panel, [(s.start + half, s.p99_ms) for s in series.steps], "p99"),
            svg.line(panel, [(s.start + half, s.p50_ms) for s in series.steps], "p50"),
            marks,
            svg.time_axis(panel),
            svg.legend([("p50", "p50"), ("p99", "p99")]),
            "</svg>",
        ]
    )


def replicas_panel(
    series: Series, intervals: Intervals, lives: Sequence[PodLife], components: Sequence[str]
) -> str:
    """Ready pods of each component."""
    counts = {name: ready_counts(lives, name, series) for name in components}
    top = max((max(c, default=0) for c in counts.values()), default=0) + 1
    panel = Panel(series.span, 150, float(top))
    lines = []
    for number, (_, values) in enumerate(counts.items()):
        # Equal counts would hide each other; a few pixels apart they do not.
        points = [
            (s.start, value + 0.1 * (number - (len(counts) - 1) / 2))
            for s, value in zip(series.steps, values, strict=True)
        ]
        lines.append(svg.stairs(panel, points, f"c{number}"))
    return "".join(
        [
            svg.open_svg(panel, "Ready pods", "of each component"),
            svg.bands(panel, intervals, named=False),
            svg.value_axis(panel, count=top),
            *lines,
            svg.time_axis(panel),
            svg.legend([(f"c{n}", name) for n, name in enumerate(counts)]),
            "</svg>",
        ]
    )


def pods_panel(
    span: Interval,
    intervals: Intervals,
    lives: Sequence[PodLife],
    components: Sequence[str],
    attributed: Sequence[Attributed],
    marks: Sequence[Mark] = (),
) -> str:
    """Each pod's life as a bar, by component, with the failures that hit it."""
    # A pod that had gone before is no part of the picture.
    seen = [p for p in lives if any(end > span.start for _, end, _ in p.spans(span.end))]
    groups = [
        (name, sorted((p for p in seen if p.component == name), key=lambda p: p.changes[0][0]))
        for name in components
    ]
    groups = [(name, own) for name, own in groups if own]
    rows = sum(len(own) for _, own in groups)
    height = svg.TOP + svg.BOTTOM + rows * ROW + GROUP_GAP * len(groups) + 4
    panel = Panel(span, height)
    parts = [
        svg.open_svg(panel, "Pods", "from the first to the last moment of each"),
        svg.bands(panel, intervals, named=False),
        svg.marks(panel, marks),
    ]
    y = svg.TOP + 6
    for name, own in groups:
        parts.append(f'<text class="value group" x="{svg.LEFT - 8}" y="{y + 12}">{name}</text>')
        for life in own:
            parts.append(_life(panel, life, y))
            parts += [
                f'<circle class="hit" cx="{panel.x(entry.call.ended)}" cy="{y + 6.5}" r="3">'
                f"<title>{escape(entry.call.method)} {escape(entry.call.code)}: "
                f"{entry.pod_phase}</title></circle>"
                for entry in attributed
                if entry.pod == life.name
            ]
            y += ROW
        y += GROUP_GAP
    parts += [
        svg.time_axis(panel),
        svg.legend([*((f"p-{name}", name) for name in PHASES[:-1]), ("hit", "failure")]),
        "</svg>",
    ]
    return "".join(parts)


def _life(panel: Panel, life: PodLife, y: float) -> str:
    parts = []
    for start, end, phase in life.spans(panel.span.end):
        if end <= panel.span.start or start >= panel.span.end:
            continue
        x0, x1 = panel.x(start), panel.x(end)
        parts.append(
            f'<rect class="p-{phase}" x="{x0}" y="{y}" width="{max(1.5, x1 - x0):.1f}" '
            f'height="13" rx="2"><title>{escape(life.name)} ({escape(life.version)}) {phase}, '
            f"{end - start:.1f} s</title></rect>"
        )
    # The longest stretch has room for telling which pod it is.
    spans = [(panel.x(start), panel.x(end)) for start, end, _ in life.spans(panel.span.end)]
    x0, x1 = max(spans, key=lambda span: span[1] - span[0], default=(0.0, 0.0))
    label = f"{life.name.rpartition('-')[2]} {life.version}".strip()
    if x1 - x0 > 7 * len(label) + 8:
        parts.append(f'<text class="pod" x="{x0 + 5:.1f}" y="{y + 10.5}">{escape(label)}</text>')
    return "".join(parts)
