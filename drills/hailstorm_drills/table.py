"""The verdict as a table on a terminal."""

from collections.abc import Sequence

from hailstorm_drills.attribution import buckets
from hailstorm_drills.verdict import Judgement

COLOURS = {"PASS": "32", "FAIL": "31", "UNKNOWN": "33"}
WHY_WIDTH = 96


def render(judgement: Judgement, colour: bool = False) -> str:
    """Findings, what failures were put to, and the verdict last."""
    rows = [("check", "verdict", "n", "why")]
    rows += [
        (f.checker, str(f.verdict), f"{f.n:,}" if f.n else "-", f.why) for f in judgement.findings
    ]
    text = _columns(rows, colour)
    if judgement.attributed:
        where = [("failures", "component", "pod phase", "code", "drill phase")]
        where += [
            (f"{count:,}", component, phase, code, during)
            for (component, phase, code, during), count in buckets(judgement.attributed)
        ]
        text += "\n\n" + _columns(where, colour=False)
    return f"{text}\n\n{_paint(judgement.verdict, colour)}  {judgement.why}"


def _columns(rows: Sequence[tuple[str, ...]], colour: bool) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    lines = []
    for row in rows:
        cells = [
            _paint(cell, colour) + " " * (width - len(cell))
            for cell, width in zip(row, widths, strict=False)
        ]
        last = _wrap(row[-1])
        indent = " " * (sum(widths) + 2 * len(widths))
        lines.append("  ".join([*cells, last[0]]))
        lines += [indent + more for more in last[1:]]
    return "\n".join(lines)


def _wrap(text: str) -> list[str]:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > WHY_WIDTH:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def _paint(word: str, colour: bool) -> str:
    return f"\x1b[{COLOURS[word]};1m{word}\x1b[0m" if colour and word in COLOURS else word
