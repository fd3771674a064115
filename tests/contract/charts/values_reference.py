"""
docs/reference/chart-values.md, made from the comments of values.yaml.

A key without a comment is an error here, so that none is added without a word
about it; the two can never say different things.

    python tests/contract/charts/values_reference.py    writes the page anew
"""

import itertools
import json
import re
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from contract.charts.chart_rendering import CHART, ROOT

PAGE = ROOT / "docs" / "reference" / "chart-values.md"
# Too long for a table; the page shows it as it stands.
WHOLE = "edge.upstreams"
KEY = re.compile(r"^( *)([A-Za-z][A-Za-z0-9]*):(?: (.*))?$")
HEAD = """\
# Values of charts/hailstorm

Made from the comments of [values.yaml](../../charts/hailstorm/values.yaml) by
`python tests/contract/charts/values_reference.py`; a test fails when the two differ.

Values under `server`, `lifecycle`, `log` and `<service>.settings` become the environment of the
services, word for word: `lifecycle.drainMaxSeconds` is `HAILSTORM_LIFECYCLE_DRAIN_MAX_SECONDS`.
Any other setting of a service can be given the same way, for instance
`location.settings.location.maxSpeedMps`; what exists is in the service's `settings.py`, and a
process refuses what it does not know.

Numbers that belong together are checked together: `templates/_checks.tpl`.
"""


@dataclass(frozen=True)
class Row:
    """One key that holds a value, or one that only holds others (value None)."""

    path: str
    comment: str
    value: str | None


class MissingCommentError(Exception):
    """A key of values.yaml that nobody explained."""


def rows(text: str) -> list[Row]:
    """The keys of values.yaml in their order, each with the comment above it."""
    found: list[Row] = []
    stack: list[tuple[int, str]] = []
    comment: list[str] = []
    skip_below: int | None = None
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("#"):
            comment.append(stripped.lstrip("# "))
            continue
        match = KEY.match(line)
        if match is None:
            comment = []
            continue
        indent, key, value = len(match[1]), match[2], (match[3] or "").strip()
        if skip_below is not None and indent > skip_below:
            continue
        skip_below = None
        while stack and stack[-1][0] >= indent:
            stack.pop()
        path = ".".join([*(name for _, name in stack), key])
        stack.append((indent, key))
        if not comment:
            raise MissingCommentError(f"values.yaml: {path} has no comment above it")
        if path == WHOLE or key == "resources":
            # Maps of methods and of quantities explain themselves.
            skip_below = indent
        found.append(Row(path, " ".join(comment), value or None))
        comment = []
    return found


def page() -> str:
    """The page as it should stand."""
    text = (CHART / "values.yaml").read_text()
    values = yaml.safe_load(text)
    parts = [HEAD]
    for row in rows(text):
        if "." not in row.path:
            parts.append(f"\n## {row.path}\n\n{row.comment}\n")
            if row.value is None:
                parts.append("\n| Key | Default | Meaning |\n|---|---|---|\n")
            else:
                parts.append(f"\nDefault: `{row.value}`\n")
        elif row.path == WHOLE:
            parts.append(f"| `{row.path}` | below | {row.comment} |\n")
        elif row.value is None and not row.path.endswith(".resources"):
            parts.append(f"| **`{row.path}`** | | {row.comment} |\n")
        else:
            parts.append(f"| `{row.path}` | {_default(values, row.path)} | {row.comment} |\n")
    parts.append(f"\n## {WHOLE}\n\n```yaml\n{_upstreams(text)}```\n")
    return "".join(parts)


def _default(values: Any, path: str) -> str:
    for name in path.split("."):
        values = values[name]
    return f"`{json.dumps(values)}`"


def _upstreams(text: str) -> str:
    lines = itertools.dropwhile(lambda line: line != "  upstreams:", text.splitlines())
    next(lines)
    below = itertools.takewhile(lambda line: line.startswith("    "), lines)
    return textwrap.dedent("".join(f"{line}\n" for line in below))


if __name__ == "__main__":
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page())
    print(PAGE)
