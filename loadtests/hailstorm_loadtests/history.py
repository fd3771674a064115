"""
The history of a run: one line for each call, as the caller lived it.

Drills judge by it and by nothing the servers say, so a line that cannot be
read is an error and never skipped. This module imports neither Locust nor
gRPC: it is the one part of the load tests that drills import.
"""

import gzip
import json
import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal

Outcome = Literal["ok", "fail", "unknown"]
OUTCOMES: Final = ("ok", "fail", "unknown")
# Streams last as long as the trip, or the run, so their duration is no latency.
STREAMS: Final = frozenset({"WatchTrip", "WatchOffers"})


class HistoryError(ValueError):
    """The history is damaged or incomplete; the message names line and cause."""


@dataclass(slots=True, kw_only=True)
class Call:
    """
    One call. Times are epoch seconds; latency counts from `intended`.

    `outcome`: ok; fail, surely not answered as promised; unknown, when the
    deadline passed and nobody can say whether it took effect.
    """

    intended: float
    started: float
    ended: float
    method: str
    code: str
    outcome: Outcome
    upstream: str | None = None
    attempts: int | None = None
    request_id: str = ""
    key: str | None = None
    trip_id: str | None = None
    rider_id: str | None = None
    driver_id: str | None = None
    version: int | None = None
    state: str | None = None
    detail: str | None = None
    # Seconds from `started` that it was given; None of streams, and of older histories.
    deadline: float | None = None

    @property
    def latency_seconds(self) -> float:
        """From the moment the call was due to the answer."""
        return self.ended - self.intended

    @property
    def lag_seconds(self) -> float:
        """How late the generator itself was."""
        return lag_of(self.intended, self.started, self.ended, self.deadline)

    def line(self) -> dict[str, Any]:
        """The call as one JSON object."""
        return {"kind": "call", **asdict(self)}


@dataclass(frozen=True)
class History:
    """A whole run: its calls by intended time, and what generators said of themselves."""

    calls: tuple[Call, ...]
    generator: tuple[Mapping[str, Any], ...] = field(default=())


def lag_of(intended: float, started: float, ended: float, deadline: float | None) -> float:
    """
    Seconds that the generator itself was late, at the start of a call or at its end.

    A call that outlasts its deadline was over by then, and the generator had not looked.
    """
    at_start = started - intended
    return at_start if deadline is None else max(at_start, ended - started - deadline)


def outcome_of(code: str) -> Outcome:
    """
    What the status code of an answer means to the caller.

    A business answer such as an UNFULFILLED trip is OK on the wire, so every
    other code is a failure; only a passed deadline leaves the effect open.
    """
    if code == "OK":
        return "ok"
    return "unknown" if code == "DEADLINE_EXCEEDED" else "fail"


CALL_FIELDS: Final = {f.name for f in fields(Call)}
REQUIRED: Final = ("intended", "started", "ended", "method", "code", "outcome")


def parse_line(line: str | Mapping[str, Any], number: int) -> Call | Mapping[str, Any]:
    """Read one line: a Call, or a mapping when its kind is another."""
    if isinstance(line, str):
        try:
            line = json.loads(line)
        except ValueError as error:
            raise HistoryError(f"line {number} is no JSON: {error}") from error
    if not isinstance(line, Mapping):
        raise HistoryError(f"line {number} is no JSON object")
    if line.get("kind", "call") != "call":
        return line
    missing = [name for name in REQUIRED if name not in line]
    if missing:
        raise HistoryError(f"line {number} lacks {', '.join(missing)}")
    call = Call(**{name: value for name, value in line.items() if name in CALL_FIELDS})
    if call.outcome not in OUTCOMES:
        raise HistoryError(f"line {number}: outcome {call.outcome!r} is none of {OUTCOMES}")
    times = (call.intended, call.started, call.ended)
    if not all(isinstance(t, int | float) and math.isfinite(t) for t in times):
        raise HistoryError(f"line {number}: times {times} are not finite numbers")
    return call


def read_history(path: Path) -> History:
    """
    Read gzip or plain JSON lines; calls come in order of their intended time.

    Raises HistoryError when a line is malformed or the file is cut short.
    """
    try:
        raw = path.read_bytes()
        text = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
        lines = text.decode("utf-8").splitlines()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise HistoryError(f"{path} cannot be read: {error}") from error
    return collect(lines)


def collect(lines: Iterable[str | Mapping[str, Any]]) -> History:
    """Make a History of lines; raises HistoryError at the first bad one."""
    calls: list[Call] = []
    generator: list[Mapping[str, Any]] = []
    for number, line in enumerate(lines, start=1):
        parsed = parse_line(line, number)
        if isinstance(parsed, Call):
            calls.append(parsed)
        else:
            generator.append(parsed)
    calls.sort(key=lambda call: call.intended)
    return History(tuple(calls), tuple(generator))


def percentile(values: Sequence[float], share: float) -> float | None:
    """
    The smallest value that at least `share` of all are not above; None of nothing.

    Nearest rank: it returns a value that was measured, never one in between.
    """
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
