"""What only some drills have on their page: kills, deploys, streams, attempts, a control."""

from collections.abc import Mapping
from html import escape
from typing import Any

from hailstorm_drills.report.html import table
from hailstorm_drills.verdict import Judgement


def own_tiles(told: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(name, value, note) of each figure that this drill has besides the common ones."""
    figures = {finding["checker"]: finding["figures"] for finding in told["findings"]}
    tiles = []
    if (kills := figures.get("kills", {})).get("kills"):
        p95 = kills["recovery_p95_seconds"]
        tiles.append(
            (
                "recovery p95 of kills",
                _seconds(p95),
                f"{kills['kills']} kills, at most {_seconds(kills['recovery_max_seconds'])}",
            )
        )
    if "wanted" in (deploys := figures.get("repetitions", {})):
        note = "each replaced every pod" if deploys["deploys"] else "none began"
        tiles.append(("deploys", f"{deploys['deploys']} of {deploys['wanted']}", note))
    if "changes" in (streams := figures.get("streams", {})):
        note = (
            f"{streams['resumed_by_marker']} resumed by marker, "
            f"{streams['broken_and_resumed']} of {streams['broken']} broken"
        )
        tiles.append(("changes on streams", f"{streams['changes']:,}", note))
    scaler = figures.get("scaler", {}).items()
    for name, steps in ((name, own) for name, own in scaler if isinstance(own, dict)):
        apart = steps["shortest_wait_seconds"]
        note = f"{_seconds(apart)} apart at least, {steps['user_calls']:,} calls of users to it"
        tiles.append((f"steps down of {name}", str(len(steps["steps"])), note))
    if "watched_seconds" in (kept := figures.get("no-shrink", {})):
        first = min(kept["first_fall_seconds"].values(), default=None)
        value = "none" if first is None else _seconds(first)
        note = f"to the first pod less; {kept['window_seconds']:g} s are promised"
        tiles.append(("after the operator's return", value, note))
    if "failed_attempts" in (attempts := figures.get("attribution", {})):
        note = f"put to pod and phase, of {attempts['attempts']:,} attempts"
        value = f"{attempts['attributed']:,} of {attempts['failed_attempts']:,}"
        tiles.append(("failed attempts", value, note))
    if "ratio" in (control := figures.get("control", {})):
        least = "at least " if control["is_at_least"] else ""
        note = f"{control['failed']:,} of {control['offered']:,} failed, without drain and edge"
        tiles.append(("the naive arm fails", f"{least}{control['ratio']:g} times", note))
    return tiles


def each_section(judgement: Judgement) -> str:
    """A table of every kill and every deploy; empty where there were none."""
    figures = {finding.checker: finding.figures for finding in judgement.findings}
    parts = []
    if kills := figures.get("kills", {}).get("each"):
        rows = [
            (str(n), escape(str(kill["pod"])), _seconds(kill["recovery_seconds"]))
            for n, kill in enumerate(kills, start=1)
        ]
        parts.append("<h2>Each kill</h2>" + table(("", "pod", "recovery"), rows))
    if deploys := figures.get("repetitions", {}).get("each"):
        rows = [
            (
                escape(str(deploy["name"])),
                _seconds(deploy["seconds"]),
                f"{deploy['replaced']} of {deploy['of']}",
            )
            for deploy in deploys
        ]
        parts.append("<h2>Each deploy</h2>" + table(("", "took", "pods replaced"), rows))
    return "".join(parts)


def _seconds(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1f} s"
