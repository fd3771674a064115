"""
What the edge wrote about calls that failed or were tried more than once.

The client sees the outermost call only. A request that failed because an inner
call hit a dying pod names the innocent pod in its answer; the edge's own lines,
which carry the same request id, name the guilty one.
"""

import datetime as dt
import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class EdgeLine:
    """One call that failed or was retried, as one Envoy saw it end."""

    at: float
    is_internal: bool
    method: str
    grpc_status: str
    flags: str
    attempts: int
    upstream: str | None
    request_id: str

    @property
    def has_failed(self) -> bool:
        """Whether the last attempt was not answered with OK."""
        return self.grpc_status != "OK"

    def as_json(self) -> dict[str, Any]:
        """For the drill's directory."""
        return asdict(self)


def parse(lines: Iterable[str]) -> tuple[list[EdgeLine], int]:
    """
    The edge's lines about calls, and how many could not be read.

    Other lines of the same log, Envoy's own, are no such lines.
    """
    found: list[EdgeLine] = []
    damaged = 0
    for line in lines:
        if '"message":"call"' not in line.replace(" ", ""):
            continue
        try:
            told = json.loads(line[line.index("{") :])
            found.append(
                EdgeLine(
                    at=_epoch(told["ts"]) + float(told.get("duration_ms") or 0) / 1000,
                    is_internal=told["logger"] == "edge.internal",
                    method=str(told.get("method") or "").rpartition("/")[2],
                    grpc_status=_status(str(told.get("grpc_status") or "-")),
                    flags=str(told.get("flags") or ""),
                    attempts=int(told.get("attempts") or 1),
                    upstream=told.get("upstream") or None,
                    request_id=str(told.get("request_id") or ""),
                )
            )
        except (ValueError, KeyError, TypeError):
            damaged += 1
    return found, damaged


def _epoch(text: str) -> float:
    return dt.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def _status(camel: str) -> str:
    """`DeadlineExceeded` in the words of gRPC: DEADLINE_EXCEEDED; OK stays OK."""
    if camel.upper() == "OK":
        return "OK"
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", camel).upper()
