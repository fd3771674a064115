"""
The page: verdict first, then pictures, then what they rest on.

One file, nothing fetched: styles and drawings are inside, and every text that
came from the cluster is escaped, since a pod's name is somebody's input too.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from html import escape
from typing import Any, Final

from hailstorm_drills.attribution import Attributed, buckets, share
from hailstorm_drills.evidence import Evidence
from hailstorm_drills.operator_records import of_this_drill
from hailstorm_drills.pods import SPARE_SUFFIX
from hailstorm_drills.report import panels
from hailstorm_drills.report.html import table
from hailstorm_drills.report.own import each_section, own_tiles
from hailstorm_drills.report.series import make_series, run_span
from hailstorm_drills.report.svg import stylesheet
from hailstorm_drills.verdict import Judgement, as_json

# Failures listed one by one; the buckets count all of them.
MAX_FAILURES: Final = 100
# The checks whose PASS is a zero, which says no more than its 3/n.
ZEROES: Final = frozenset({"availability", "I1", "I2", "I3", "I4", "effects", "chain"})
# Components in the order of a request's way; others are not drawn.
COMPONENTS: Final = (
    "edge",
    *(name for of in ("dispatch", "location", "trip") for name in (of, f"{of}{SPARE_SUFFIX}")),
    *("postgres", "redis"),
)


def render_page(evidence: Evidence, judgement: Judgement) -> str:
    """The whole HTML document."""
    told = as_json(evidence, judgement)
    name = evidence.parameters.drill + (" (broken twin)" if evidence.parameters.is_twin else "")
    body = [
        _head(name, told, judgement),
        _tiles(told),
        _pictures(evidence, judgement),
        "<h2>Verdicts</h2>",
        _verdicts(judgement),
        "<h2>Failures</h2>",
        _failures(judgement.attributed, told["offered"]),
        "<h2>Latency by method</h2>",
        _methods(judgement),
        each_section(judgement),
        "<h2>What the operator recorded</h2>",
        _records(evidence),
        "<h2>How it was run</h2>",
        _conditions(evidence, told),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(name)}: {judgement.verdict}</title><style>{stylesheet()}</style></head>"
        f"<body><main>{''.join(body)}</main></body></html>\n"
    )


def _head(name: str, told: Mapping[str, Any], judgement: Judgement) -> str:
    at = dt.datetime.fromisoformat(told["started_at"]).strftime("%d %B %Y, %H:%M:%S UTC")
    return (
        f'<header><p class="verdict {judgement.verdict.lower()}">{judgement.verdict}</p>'
        f"<div><h1>{escape(name)}</h1><p>{escape(judgement.why)}</p>"
        f'<p class="quiet">{at}, seed {told["seed"]}</p></div></header>'
    )


def _tiles(told: Mapping[str, Any]) -> str:
    bound = told["failed_bound95"]
    p99 = told["p99_ms"] or {}
    tiles = [
        ("calls offered", _count(told["offered"]), "by users, in an open model"),
        (
            "failed",
            _count(told["failed"]),
            f"at most {bound:.3%} with 95 %" if bound is not None else "no calls",
        ),
        ("unknown", _count(told["unknown"]), "deadline passed, effect open"),
        ("retried by the edge", _count(told["retried_ok"]), "and answered with OK"),
        (
            "p99 during the fault",
            _unit(p99.get("fault"), "ms"),
            f"{_unit(p99.get('baseline'), 'ms')} before, {_unit(p99.get('recovery'), 'ms')} after"
            + _times(told["p99_ratio"], told["max_p99_ratio"]),
        ),
        ("recovery", _unit(told["recovery_seconds"], "s"), "last bad window, from the start"),
        ("put to a pod", _share(told["attributed_share"]), "of what was not ok"),
        ("generator lag p99", _unit(told["generator_lag_p99_ms"], "ms"), "its own, not the city's"),
        *own_tiles(told),
    ]
    return (
        '<section class="tiles">'
        + "".join(
            f'<div class="tile"><b>{escape(value)}</b><span>{escape(name)}</span>'
            f"<small>{escape(note)}</small></div>"
            for name, value, note in tiles
        )
        + "</section>"
    )


def _times(ratio: float | None, most: float | None) -> str:
    if ratio is None:
        return ""
    return f"; {ratio:g} times" + (f", at most {most:g} asked" if most is not None else "")


def _pictures(evidence: Evidence, judgement: Judgement) -> str:
    calls = evidence.history.calls if evidence.history else ()
    span = run_span(calls, evidence.intervals)
    if span is None:
        return '<p class="nothing">There is nothing to draw: no call and no phase.</p>'
    series = make_series(calls, span)
    scaled = [c for c in evidence.components if any(p.component == c for p in evidence.lives)]
    return (
        '<section class="pictures">'
        + panels.rate_panel(series, evidence.intervals, evidence.marks)
        + panels.latency_panel(series, evidence.intervals, evidence.marks)
        + panels.replicas_panel(series, evidence.intervals, evidence.lives, scaled)
        + panels.pods_panel(
            span,
            evidence.intervals,
            evidence.lives,
            COMPONENTS,
            judgement.attributed,
            evidence.marks,
        )
        + "</section>"
    )


def _verdicts(judgement: Judgement) -> str:
    rows = [
        (
            f"<b>{escape(f.checker)}</b>",
            f'<span class="chip {f.verdict.lower()}">{f.verdict}</span>',
            f"{f.n:,}" if f.n else "none",
            f"{min(1, 3 / f.n):.3%}" if f.n and f.verdict == "PASS" and f.checker in ZEROES else "",
            escape(f.why),
        )
        for f in judgement.findings
    ]
    return table(("check", "verdict", "n", "zero, at most", "why"), rows)


def _failures(attributed: Sequence[Attributed], offered: int | None) -> str:
    if not attributed:
        n = offered or 0
        return (
            f"<p>None of {n:,} calls. Zero of {n:,} means at most {3 / n:.3%} with 95 %.</p>"
            if n
            else '<p class="nothing">There are no calls to have failed.</p>'
        )
    counted = [
        (escape(component), escape(phase), escape(code), escape(during), f"{count:,}")
        for (component, phase, code, during), count in buckets(attributed)
    ]
    rows = [
        (
            dt.datetime.fromtimestamp(entry.call.intended, dt.UTC).strftime("%H:%M:%S.%f")[:-3],
            escape(entry.call.method),
            escape(entry.call.code),
            escape(entry.pod),
            escape(entry.pod_phase),
            "" if entry.seconds_since_sigterm is None else f"{entry.seconds_since_sigterm:.2f}",
            escape(entry.evidence),
            f"{entry.call.attempts or 1}",
            escape(entry.call.detail or ""),
        )
        for entry in attributed[:MAX_FAILURES]
    ]
    known = share(attributed)
    left = len(attributed) - len(rows)
    heads = ("at", "method", "code", "pod", "pod phase", "s after SIGTERM", "by", "attempts", "say")
    return (
        f"<p>{len(attributed):,} calls were not ok; {known:.0%} were put to a pod.</p>"
        + table(("component", "pod phase", "code", "drill phase", "calls"), counted)
        + f"<details><summary>The first {len(rows)}</summary>{table(heads, rows)}"
        + (f"<p>{left:,} more are in history.jsonl.gz.</p>" if left else "")
        + "</details>"
    )


def _methods(judgement: Judgement) -> str:
    figures = {finding.checker: finding.figures for finding in judgement.findings}
    waited = figures["latency"].get("by_method_p99_ms", {})
    counted = figures["availability"].get("methods", {})
    rows = [
        (
            escape(method),
            f"{own['n']:,}",
            f"{own['failed']:,}",
            *(
                _unit(waited.get(method, {}).get(phase), "ms")
                for phase in ("baseline", "fault", "recovery")
            ),
        )
        for method, own in counted.items()
    ]
    if not rows:
        return '<p class="nothing">There are no calls.</p>'
    return table(("method", "n", "failed", "p99 before", "p99 during", "p99 after"), rows)


def _records(evidence: Evidence) -> str:
    if evidence.records is None:
        why = evidence.problems.get("records", "they were not fetched")
        return f'<p class="nothing">There are no RolloutRecords: {escape(why)}</p>'
    found = of_this_drill(evidence)
    if not found:
        return '<p class="nothing">The operator recorded no rollout during this drill.</p>'
    return "".join(
        f"<details><summary>{escape(str(record['metadata']['name']))}</summary>"
        f"{_nested({k: v for k, v in record.items() if k in ('spec', 'status')})}</details>"
        for record in found
    )


def _conditions(evidence: Evidence, told: Mapping[str, Any]) -> str:
    phases = [
        (escape(name), f"{interval.seconds:.1f} s") for name, interval in evidence.intervals.items()
    ]
    return (
        '<div class="columns">'
        + _card("Parameters", _pairs(asdict(evidence.parameters)))
        + _card("Versions", _pairs(told["versions"]) or "<p>unknown</p>")
        + _card("Machine", _pairs(told["machine"]))
        + _card("Phases", table(("phase", "took"), phases))
        + "</div>"
    )


def _card(title: str, content: str) -> str:
    return f'<div class="card"><h3>{escape(title)}</h3>{content}</div>'


def _pairs(values: Mapping[str, Any]) -> str:
    return "".join(
        f"<dl><dt>{escape(str(k))}</dt><dd>{escape(_plain(v))}</dd></dl>" for k, v in values.items()
    )


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k}={v}" for k, v in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _nested(value: Any) -> str:
    if isinstance(value, Mapping):
        return "".join(
            f"<dl><dt>{escape(str(k))}</dt><dd>{_nested(v)}</dd></dl>" for k, v in value.items()
        )
    if isinstance(value, list):
        return "".join(f'<div class="item">{_nested(v)}</div>' for v in value) or "none"
    return escape(str(value))


def _count(value: int | None) -> str:
    return "unknown" if value is None else f"{value:,}"


def _unit(value: float | None, unit: str) -> str:
    if value is None:
        return "unknown"
    return f"{value:,.0f} {unit}" if value >= 10 else f"{value:.1f} {unit}"


def _share(value: float | None) -> str:
    return "nothing to put" if value is None else f"{value:.0%}"
