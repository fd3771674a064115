"""
What the recorder saw of every attempt, asked through the API server's proxy.

A client sees calls. An attempt that failed and was made good by a retry is on
the edge's access log alone, which the recorder keeps.
"""

import datetime as dt
import json
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlencode

from hailstorm_drills.cluster import Cluster
from hailstorm_drills.phases import Interval
from hailstorm_drills.plan import Parameters

# By the operator's chart.
SERVICE: Final = "hailstorm-recorder:8082"
# What is kept of its answer about failures.
NAMES: Final = ("total", "omitted", "unsampled", "complete", "gaps", "failures")


def collect_recorder(cluster: Cluster, p: Parameters, span: Interval) -> dict[str, Any]:
    """
    Attempts of the span: {attempts, total, omitted, unsampled, complete, gaps, failures}.

    Raises CommandError when the recorder cannot be asked.
    """

    def ask(question: str) -> dict[str, Any]:
        words = urlencode(
            {"kind": "attempts", "from": f"{span.start:.3f}", "to": f"{span.end:.3f}"}
        )
        path = f"/api/v1/namespaces/{p.operator_namespace}/services/{SERVICE}/proxy/{question}"
        return dict(json.loads(cluster.raw(f"{path}?{words}")))

    failures, tallies = ask("failures"), ask("tallies")
    return {
        "attempts": sum(row["count"] for row in tallies["rows"]),
        **{name: failures[name] for name in NAMES},
    }


def epoch(text: str) -> float:
    """An RFC 3339 time as epoch seconds."""
    return dt.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def told_gaps(gaps: Sequence[dict[str, Any]]) -> str:
    """Reasons of gaps, each once."""
    return ", ".join(sorted({str(gap["reason"]) for gap in gaps})) or "it was away"
