"""
Rendered charts as files, so that a change of the chart shows what it does.

golden/default.yaml is the whole chart; each other values file of ci/ is kept as
its difference from that, which is what it is for. Generated passwords and the
compiled protos are masked: the one is random, the other has its own check.

    python tests/contract/charts/golden.py    writes the files anew
"""

import difflib
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from contract.charts.chart_rendering import CHART, ci_values, render_text

FOLDER = Path(__file__).parent / "golden"
CASES = tuple(
    sorted(path.name.removesuffix("-values.yaml") for path in (CHART / "ci").glob("*-values.yaml"))
)
MASKS = (
    (re.compile(r"^(  (?:password|quoteKey): )[A-Za-z0-9+/=]+$", re.MULTILINE), r"\1<generated>"),
    (re.compile(r"^(  hailstorm\.pb: )[A-Za-z0-9+/=]+$", re.MULTILINE), r"\1<compiled protos>"),
    # A hash of the two lines above and much else.
    (re.compile(r"^(\s+checksum/config: )[0-9a-f]{64}$", re.MULTILINE), r"\1<hash>"),
)


def masked(case: str) -> str:
    """The chart as ci/<case>-values.yaml renders it, without what differs each time."""
    text = render_text("--values", ci_values(case))
    for pattern, replacement in MASKS:
        text = pattern.sub(replacement, text)
    return text


def golden_path(case: str) -> Path:
    """Where the golden file of a case lies."""
    return FOLDER / ("default.yaml" if case == "default" else f"{case}.diff")


def golden_text(case: str) -> str:
    """What the golden file of a case should hold."""
    if case == "default":
        return masked(case)
    lines = difflib.unified_diff(
        masked("default").splitlines(), masked(case).splitlines(), "default", case, lineterm="", n=1
    )
    # Places move with every line added above them; what matters is what changes.
    kept = ("@@" if line.startswith("@@") else line for line in lines)
    return "\n".join(kept) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for one in CASES:
        golden_path(one).write_text(golden_text(one))
        print(golden_path(one))
