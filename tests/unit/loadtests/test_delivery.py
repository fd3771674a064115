"""No line is lost unseen, none is counted twice."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hailstorm_loadtests.delivery import BATCH_LINES, RESEND_SECONDS, Inbox, Outbox
from hailstorm_loadtests.history import read_history
from hailstorm_loadtests.ledger import Ledger


def lines(count: int) -> Iterator[dict[str, int]]:
    return ({"n": n} for n in range(count))


def fill(outbox: Outbox, count: int) -> None:
    for line in lines(count):
        outbox.add(line)


def test_lines_arrive_once_when_a_batch_is_sent_again() -> None:
    outbox, inbox = Outbox(), Inbox()
    fill(outbox, 3)
    (batch,) = outbox.due(100.0)
    assert len(inbox.accept("w", batch.sequence, batch.lines)) == 3
    # The acknowledgement was lost.
    assert outbox.due(100.0 + RESEND_SECONDS / 2) == []
    (again,) = outbox.due(100.0 + RESEND_SECONDS)
    assert inbox.accept("w", again.sequence, again.lines) == []
    outbox.acknowledge(again.sequence)
    inbox.declare("w", outbox.line_count)
    assert outbox.is_empty()
    assert inbox.is_complete(workers=1)


def test_history_is_incomplete_when_a_batch_never_arrives() -> None:
    outbox, inbox = Outbox(), Inbox()
    fill(outbox, BATCH_LINES + 1)
    first, second = outbox.due(1.0)
    assert (len(first.lines), len(second.lines)) == (BATCH_LINES, 1)
    inbox.accept("w", second.sequence, second.lines)
    inbox.declare("w", outbox.line_count)
    assert not inbox.is_complete(workers=1)
    inbox.accept("w", first.sequence, first.lines)
    assert inbox.is_complete(workers=1)


def test_history_is_incomplete_while_a_worker_has_not_declared() -> None:
    inbox = Inbox()
    inbox.accept("a", 1, lines(2))
    inbox.declare("a", 2)
    assert not inbox.is_complete(workers=2)
    assert inbox.declared == 2
    inbox.accept("b", 1, lines(1))
    assert inbox.declared is None
    assert not inbox.is_complete(workers=2)


def test_too_many_lines_are_not_complete_either() -> None:
    inbox = Inbox()
    inbox.accept("a", 1, lines(5))
    inbox.declare("a", 4)
    assert not inbox.is_complete(workers=1)


def call(ended: float, outcome: str = "ok", code: str = "OK") -> dict[str, object]:
    return {
        "kind": "call",
        "intended": ended - 0.1,
        "started": ended - 0.08,
        "ended": ended,
        "method": "GetTrip",
        "code": code,
        "outcome": outcome,
    }


def test_ledger_writes_and_counts_each_line_once(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, workers=1)
    batch = [call(1.0), call(99.0, "fail", "UNAVAILABLE"), {"kind": "generator"}]
    ledger.accept("w", 1, batch)
    ledger.accept("w", 1, batch)
    state = ledger.state_at(100.0)
    assert (state["calls"], state["ok"], state["fail"]) == (2, 1, 1)
    assert state["recent"]["not_ok"] == 1
    assert state["lag_p99_ms"] == pytest.approx(20.0)
    assert not state["is_complete"]
    ledger.declare("w", 3)
    assert ledger.is_complete
    ledger.close("complete")
    history = read_history(ledger.path)
    assert [c.code for c in history.calls] == ["OK", "UNAVAILABLE"]
    assert len(history.generator) == 1


def test_ledger_leaves_streams_out_of_recent_latencies(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, workers=1)
    # It lasted as long as its trip, which says nothing about waiting.
    stream = {**call(99.5), "method": "WatchTrip", "intended": 60.0, "started": 60.0}
    ledger.accept("w", 1, [stream, call(99.0)])
    recent = ledger.state_at(100.0)["recent"]
    assert recent["p99_ms"] == pytest.approx(100.0)
    assert recent["calls_per_second"] == pytest.approx(0.2)
