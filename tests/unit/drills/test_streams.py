"""Long streams: nothing lost, nothing doubled, each resumed where it ended."""

from collections.abc import Callable
from typing import Any

import pytest

from hailstorm_drills.checkers.availability import check_availability
from hailstorm_drills.checkers.base import Verdict
from hailstorm_drills.checkers.streams import check_streams, mended
from hailstorm_drills.evidence import Evidence
from hailstorm_loadtests.history import Call, History

Make = Callable[..., Evidence]


def watch(call: Any, at: float, end: float, after: int, seen: int, **changes: Any) -> Call:
    """A stream of trip t1 that brought the changes behind `after` up to `seen`."""
    figures = {"changes": seen - after, "resumed": False, **changes}
    told = f"after={after} changes={figures.pop('changes')} positions=3 "
    told += f"resumed={figures.pop('resumed')}"
    fields = {"method": "WatchTrip", "trip_id": "t1", "version": seen or None, **figures}
    return call(at, end - at, detail=told, **fields)  # type: ignore[no-any-return]


def followed(evidence: Make, *streams: Call, **changes: Any) -> Evidence:
    good = evidence()
    assert good.history is not None
    calls = sorted((*good.history.calls, *streams), key=lambda c: c.intended)
    return evidence(history=History(tuple(calls), good.history.generator), **changes)


BROKEN = {"code": "UNAVAILABLE", "outcome": "fail"}


def test_stream_resumed_by_marker_loses_nothing(evidence: Make, call: Any) -> None:
    found = check_streams(
        followed(evidence, watch(call, 50, 65, 0, 3, resumed=True), watch(call, 65, 90, 3, 6))
    )
    assert found.verdict is Verdict.PASS
    assert (found.n, found.figures["resumed_by_marker"]) == (6, 1)
    assert found.figures["open_during_fault"] == 2


def test_broken_stream_that_was_resumed_is_no_failed_call(evidence: Make, call: Any) -> None:
    seen = followed(evidence, watch(call, 50, 65, 0, 3, **BROKEN), watch(call, 66, 90, 3, 6))
    found = check_streams(seen)
    assert found.verdict is Verdict.PASS
    assert (found.figures["broken"], found.figures["broken_and_resumed"]) == (1, 1)
    available = check_availability(seen)
    assert available.verdict is Verdict.PASS
    assert (available.figures["failed"], available.figures["streams_resumed"]) == (0, 1)


@pytest.mark.parametrize(
    "again",
    [
        None,
        # Too late, or from another place than where it had ended.
        (90.0, 95.0, 3),
        (66.0, 90.0, 2),
    ],
)
def test_broken_stream_that_was_not_resumed_is_a_failure(
    again: tuple[float, float, int] | None, evidence: Make, call: Any
) -> None:
    streams = [watch(call, 50, 65, 0, 3, **BROKEN)]
    if again:
        streams.append(watch(call, again[0], again[1], again[2], 6))
    seen = followed(evidence, *streams)
    assert mended(streams) == set()
    assert check_streams(seen).verdict is Verdict.FAIL
    assert check_availability(seen).verdict is Verdict.FAIL


@pytest.mark.parametrize(
    ("changes", "told"), [(5, "1 changes up to v6 lost"), (7, "1 changes came twice")]
)
def test_lost_and_doubled_events_are_failures(
    changes: int, told: str, evidence: Make, call: Any
) -> None:
    found = check_streams(followed(evidence, watch(call, 55, 90, 0, 6, changes=changes)))
    assert found.verdict is Verdict.FAIL
    assert told in found.why


def test_broken_promise_of_a_stream_is_a_failure(evidence: Make, call: Any) -> None:
    bad = watch(call, 55, 90, 0, 6, outcome="fail")
    assert check_streams(followed(evidence, bad)).verdict is Verdict.FAIL


def test_without_a_stream_in_the_fault_nothing_is_known(evidence: Make, call: Any) -> None:
    assert check_streams(evidence()).verdict is Verdict.UNKNOWN
    before = followed(evidence, watch(call, 5, 30, 0, 6))
    assert check_streams(before).verdict is Verdict.UNKNOWN
    assert check_streams(evidence(history=None)).verdict is Verdict.UNKNOWN


def offers(call: Any, at: float, end: float, **changes: Any) -> Call:
    fields = {"method": "WatchOffers", "detail": "offers=3 withdrawals=0 resumed=False", **changes}
    return call(at, end - at, **fields)  # type: ignore[no-any-return]


def test_each_opening_mends_one_broken_stream_of_offers(call: Any) -> None:
    first, second = offers(call, 1, 60, **BROKEN), offers(call, 2, 60.5, **BROKEN)
    again = offers(call, 61, 99)
    assert mended([first, second, again]) == {id(first)}
    assert mended([first, second, again, offers(call, 61.5, 99)]) == {id(first), id(second)}


@pytest.mark.parametrize("is_answered", [True, False])
def test_offer_that_expired_unanswered_was_lost(
    is_answered: bool, evidence: Make, call: Any, parameters: Any
) -> None:
    event = {"trip_id": "t1", "driver_id": "d1", "occurred_at": 1.0}
    events = [
        {**event, "version": 2, "move": "OFFER", "state": "OFFERED"},
        {**event, "version": 3, "move": "EXPIRE", "state": "REQUESTED"},
    ]
    answer = call(70.0, method="AcceptOffer", trip_id="t1", driver_id="d1")
    found = check_streams(
        followed(
            evidence,
            watch(call, 55, 90, 0, 6),
            offers(call, 1, 129),
            *([answer] if is_answered else []),
            facts={"trips": [], "events": events, "keys": []},
            parameters=parameters(load={"answers_offers": True, "silent_share": 0}),
        )
    )
    assert found.figures["lost_offers"] == (0 if is_answered else 1)
    assert found.verdict is (Verdict.PASS if is_answered else Verdict.FAIL)


@pytest.mark.parametrize(
    ("streams", "told"),
    [
        ([], "no stream of offers was open while the fault lasted"),
        ([(1, 30)], "no stream of offers was open while the fault lasted"),
        ([(1, 129)], None),
    ],
)
def test_where_drivers_answer_a_stream_of_offers_must_be_open_in_the_fault(
    streams: list[tuple[float, float]], told: str | None, evidence: Make, call: Any, parameters: Any
) -> None:
    own = [offers(call, at, end) for at, end in streams]
    asked = parameters(load={"answers_offers": True, "silent_share": 0.1})
    seen = followed(evidence, watch(call, 55, 90, 0, 6), *own, parameters=asked)
    found = check_streams(seen)
    assert found.verdict is (Verdict.UNKNOWN if told else Verdict.PASS)
    assert (told or "3 offers on 1 streams") in found.why
    # Without drivers who answer there are no such streams, and none is missed.
    assert check_streams(followed(evidence, watch(call, 55, 90, 0, 6))).verdict is Verdict.PASS


def test_streams_that_brought_no_offer_say_nothing(
    evidence: Make, call: Any, parameters: Any
) -> None:
    idle = offers(call, 1, 129, detail="offers=0 withdrawals=0 resumed=False")
    asked = parameters(load={"answers_offers": True, "silent_share": 0.1})
    found = check_streams(followed(evidence, watch(call, 55, 90, 0, 6), idle, parameters=asked))
    assert found.verdict is Verdict.UNKNOWN
    assert "no offer reached one" in found.why
