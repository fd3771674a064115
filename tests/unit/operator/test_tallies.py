"""The recorder's answers, as its API has them, and what is no answer."""

from typing import Any

import pytest

from hailstorm_operator.observations import median_ms
from hailstorm_operator.tallies import EDGES, parse_tallies
from hailstorm_operator.timestamps import parse_time

START = int(parse_time("2026-11-25T22:30:00Z").timestamp())


def row(address: str, outcome: str, count: int, *, stream: bool = False) -> dict[str, Any]:
    return {
        "kind": "attempts",
        "listener": "public",
        "cluster": "dispatch",
        "address": address,
        "method": "hailstorm.dispatch.v1.DispatchService/RequestTrip",
        "code": "OK",
        "flag": "",
        "outcome": outcome,
        "stream": stream,
        "retried": False,
        "count": count,
        "buckets": [[22.627, count]],
    }


def answer(*rows: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "from": "2026-11-25T22:30:00.000Z",
        "to": "2026-11-25T22:30:03.000Z",
        "since": "2026-11-25T22:00:00.000Z",
        "complete": True,
        "gaps": [],
        "seconds": [{"at": START + 1, "rows": list(rows)}],
        **changes,
    }


def test_rows_are_put_to_the_canary_and_the_others() -> None:
    seconds = parse_tallies(
        answer(
            row("10.0.0.9:50051", "ok", 20),
            row("10.0.0.9:50051", "failed", 2),
            row("10.0.0.9:50051", "shed", 1),
            row("10.0.0.1:50051", "ok", 80),
            row("10.0.0.1:50051", "refused", 5),
            row("", "failed", 3),
        ),
        START,
        START + 3,
        {"10.0.0.9"},
    )
    canary, others = seconds[START + 1].canary, seconds[START + 1].others
    assert (canary.calls, canary.failed, canary.shed) == (23, 2, 1)
    # A call that no pod was chosen for is nobody's; one that was refused did not fail.
    assert (others.calls, others.failed) == (85, 0)
    assert median_ms(canary.histogram, EDGES) == pytest.approx(20.8, abs=0.1)


def test_only_calls_that_were_served_tell_how_fast_a_pod_is() -> None:
    rows = [row("10.0.0.9:1", "ok", 5, stream=True), row("10.0.0.9:1", "failed", 5)]
    seconds = parse_tallies(answer(*rows), START, START + 3, {"10.0.0.9"})
    assert sum(seconds[START + 1].canary.histogram) == 0


def test_second_without_rows_is_quiet_and_not_a_gap() -> None:
    seconds = parse_tallies(answer(), START, START + 3, set())
    assert [one.gap for one in seconds.values()] == [False] * 3


@pytest.mark.parametrize(
    ("gap", "unknown"),
    [
        ({"from": "2026-11-25T22:30:00.900Z", "to": "2026-11-25T22:30:01.100Z"}, [1, 1, 0]),
        ({"from": "2026-11-25T22:30:01.000Z", "to": None}, [0, 1, 1]),
        ({"from": "2026-11-25T22:29:00.000Z", "to": "2026-11-25T22:30:00.000Z"}, [0, 0, 0]),
    ],
)
def test_gap_makes_every_second_unknown_that_it_touches(gap: Any, unknown: list[int]) -> None:
    gap = {**gap, "envoy": "edge-1", "reason": "StreamEnded"}
    seconds = parse_tallies(answer(gaps=[gap], complete=False), START, START + 3, set())
    assert [int(one.gap) for one in seconds.values()] == unknown


def test_time_before_the_recorder_began_is_unknown() -> None:
    seconds = parse_tallies(answer(since="2026-11-25T22:30:01.000Z"), START, START + 3, set())
    assert [one.gap for one in seconds.values()] == [True, False, False]


@pytest.mark.parametrize("broken", [{}, {"since": "x"}, {**answer(), "seconds": [{"at": 1}]}])
def test_answer_of_another_form_is_an_error(broken: dict[str, Any]) -> None:
    with pytest.raises((KeyError, ValueError)):
        parse_tallies(broken, START, START + 3, set())


def test_edges_are_the_recorders() -> None:
    # Every fourth is a doubling, from 1 ms to 46 s.
    assert (EDGES[0], EDGES[4], EDGES[40]) == (1.0, 2.0, 1024.0)
    assert len(EDGES) == 63
