"""
The master's book: every line of history on disk, and the state of the run.

The book is closed once. Whether it is complete is a fact it states and never
assumes: a worker that went missing, or a line that did not arrive, leaves
`is_complete` false, and whoever reads it must call the run UNKNOWN.
"""

import gzip
import json
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from hailstorm_loadtests.delivery import Inbox, Line
from hailstorm_loadtests.history import STREAMS, lag_of, percentile

# Recent calls over which the running figures are taken.
RECENT_SECONDS: Final = 10.0
HISTORY_NAME: Final = "history.jsonl.gz"


class Ledger:
    """Writes lines as they come and answers what the run has seen so far."""

    def __init__(self, directory: Path, workers: int) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.path = directory / HISTORY_NAME
        # Level 3: a third of the CPU of the default for a tenth more bytes.
        self._file = gzip.open(self.path, "wt", encoding="utf-8", compresslevel=3)  # noqa: SIM115
        self._inbox = Inbox()
        self._workers = workers
        self._outcomes: Counter[str] = Counter()
        self._codes: Counter[str] = Counter()
        self._lags: list[float] = []
        # When it ended, how long it took (None: a stream, as long as its trip), and how it went.
        self._recent: deque[tuple[float, float | None, bool]] = deque()
        self.state = "waiting"
        self.why = ""
        self.started_at: float | None = None
        self.demand_at: float | None = None
        self.ends_at: float | None = None

    def accept(self, worker: str, sequence: int, lines: Iterable[Line]) -> None:
        """Write the lines of a batch that has not been taken before."""
        for line in self._inbox.accept(worker, sequence, lines):
            self.write(line)

    def write(self, line: Mapping[str, Any]) -> None:
        """Write one line and count it."""
        self._file.write(json.dumps(line, separators=(",", ":")) + "\n")
        if line.get("kind", "call") != "call":
            return
        self._outcomes[line["outcome"]] += 1
        self._codes[line["code"]] += 1
        self._lags.append(
            lag_of(line["intended"], line["started"], line["ended"], line.get("deadline"))
        )
        seconds = None if line["method"] in STREAMS else line["ended"] - line["intended"]
        self._recent.append((line["ended"], seconds, line["outcome"] == "ok"))

    def declare(self, worker: str, lines: int) -> None:
        """A worker says how many lines it has sent in all."""
        self._inbox.declare(worker, lines)

    @property
    def is_complete(self) -> bool:
        """Whether every line of every worker is in the book."""
        return self._inbox.is_complete(self._workers)

    def close(self, state: str, why: str = "") -> None:
        """Close the file for good; `state` is `complete` or `incomplete`."""
        self.state, self.why = state, why
        self._file.close()

    def state_at(self, now: float) -> dict[str, Any]:
        """Everything a drill wants to know while the run goes on."""
        while self._recent and self._recent[0][0] < now - RECENT_SECONDS:
            self._recent.popleft()
        recent = [seconds for _, seconds, _ in self._recent if seconds is not None]
        return {
            "state": self.state,
            "why": self.why,
            "is_complete": self.is_complete,
            "now": now,
            "started_at": self.started_at,
            "demand_at": self.demand_at,
            "ends_at": self.ends_at,
            "workers": self._workers,
            "lines_received": self._inbox.received,
            "lines_declared": self._inbox.declared,
            "calls": sum(self._outcomes.values()),
            "ok": self._outcomes["ok"],
            "fail": self._outcomes["fail"],
            "unknown": self._outcomes["unknown"],
            "codes": dict(self._codes),
            "lag_p99_ms": _ms(percentile(self._lags, 0.99)),
            "recent": {
                "seconds": RECENT_SECONDS,
                "calls_per_second": round(len(self._recent) / RECENT_SECONDS, 1),
                "p50_ms": _ms(percentile(recent, 0.5)),
                "p99_ms": _ms(percentile(recent, 0.99)),
                "not_ok": sum(not ok for _, _, ok in self._recent),
            },
        }


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)
