"""History: what a line means, and that a damaged one is never passed over."""

import gzip
import json
from pathlib import Path

import pytest

from hailstorm_loadtests.history import (
    Call,
    HistoryError,
    collect,
    outcome_of,
    percentile,
    read_history,
)

CALL = Call(intended=1.0, started=1.25, ended=1.75, method="GetTrip", code="OK", outcome="ok")


def test_latency_counts_from_the_intended_start() -> None:
    assert CALL.latency_seconds == 0.75
    assert CALL.lag_seconds == 0.25


def test_call_survives_its_line() -> None:
    assert collect([json.dumps(CALL.line())]).calls == (CALL,)


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("OK", "ok"),
        ("DEADLINE_EXCEEDED", "unknown"),
        ("UNAVAILABLE", "fail"),
        ("CANCELLED", "fail"),
        ("RESOURCE_EXHAUSTED", "fail"),
        ("NOT_FOUND", "fail"),
    ],
)
def test_outcome_follows_from_the_code(code: str, outcome: str) -> None:
    assert outcome_of(code) == outcome


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        json.dumps({"kind": "call", "intended": 1}),
        json.dumps({**CALL.line(), "outcome": "fine"}),
        json.dumps({**CALL.line(), "ended": None}),
    ],
)
def test_damaged_line_is_an_error_that_names_its_number(line: str) -> None:
    with pytest.raises(HistoryError, match="line 2"):
        collect([json.dumps(CALL.line()), line])


def test_cut_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "h.gz"
    path.write_bytes(gzip.compress(json.dumps(CALL.line()).encode())[:-6])
    with pytest.raises(HistoryError, match="cannot be read"):
        read_history(path)


def test_percentile_is_a_measured_value() -> None:
    values = [float(n) for n in range(1, 201)]
    assert percentile(values, 0.99) == 198.0
    assert percentile(values, 0.5) == 100.0
    assert percentile([7.0], 0.99) == 7.0
    assert percentile([], 0.99) is None
