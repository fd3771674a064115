"""The invariants hold for a true history and break for each kind of lie."""

from collections.abc import Callable
from typing import Any

import pytest

from hailstorm_drills.checkers.acknowledged import check_acknowledged, check_doubled_effects
from hailstorm_drills.checkers.base import Verdict
from hailstorm_drills.checkers.invariants import (
    Binding,
    bindings,
    check_driver_overlaps,
    check_offers_end,
    check_one_driver,
)
from hailstorm_drills.evidence import Evidence
from hailstorm_loadtests.history import Call, History

Make = Callable[..., Evidence]
MOVES = {
    "REQUESTED": "REQUEST",
    "OFFERED": "OFFER",
    "MATCHED": "ACCEPT",
    "ARRIVING": "APPROACH",
    "IN_PROGRESS": "START",
    "COMPLETED": "COMPLETE",
    "CANCELLED": "CANCEL",
}


def trip(trip_id: str, driver: str, start: float, *states: str) -> list[dict[str, Any]]:
    """A trip's events, a second apart."""
    return [
        {
            "trip_id": trip_id,
            "version": number + 1,
            "state": state,
            "move": MOVES[state],
            "driver_id": None if state == "REQUESTED" else driver,
            "occurred_at": start + number,
            "offer_expires_at": start + number + 15 if state == "OFFERED" else None,
        }
        for number, state in enumerate(states)
    ]


WHOLE = ("REQUESTED", "OFFERED", "MATCHED", "ARRIVING", "IN_PROGRESS", "COMPLETED")


def facts(*trips: list[dict[str, Any]]) -> dict[str, Any]:
    events = [event for own in trips for event in own]
    ids = sorted({event["trip_id"] for event in events})
    return {
        "trips": [{"trip_id": t, "rider_id": f"rider of {t}"} for t in ids],
        "events": events,
        "keys": [
            {"scope": f"CreateTrip/rider of {t}", "key": f"{t}-REQUEST", "trip_id": t} for t in ids
        ],
        "overdue_offers": 0,
    }


def told(call: Callable[..., Call], *events: dict[str, Any], **changes: Any) -> History:
    """What riders were told of these events."""
    return History(
        tuple(
            call(
                event["occurred_at"],
                trip_id=event["trip_id"],
                version=event["version"],
                state=event["state"],
                driver_id=event["driver_id"],
                key=f"{event['trip_id']}-{event['move']}",
                **changes,
            )
            for event in events
        )
    )


def test_true_history_holds(evidence: Make, call: Callable[..., Call]) -> None:
    first, second = trip("a", "d1", 0, *WHOLE), trip("b", "d1", 10, *WHOLE)
    true = evidence(facts=facts(first, second), history=told(call, *first, *second))
    for check, n in (
        (check_driver_overlaps, 2),
        (check_one_driver, 2),
        (check_acknowledged, 12),
        (check_offers_end, 2),
        (check_doubled_effects, 8),
    ):
        found = check(true)
        assert (found.verdict, found.n) == (Verdict.PASS, n), found


def test_bindings_last_from_the_offer_to_the_end() -> None:
    events = trip("a", "d1", 0, *WHOLE)
    driver, trip_id = ("", "d1"), ("", "a")
    assert bindings(events) == [Binding(driver, trip_id, 1, 5, None, None)]
    endless = float("inf")
    assert bindings(events[:3]) == [Binding(driver, trip_id, 1, endless, None, endless)]


def test_overlap_breaks_i1(evidence: Make) -> None:
    found = check_driver_overlaps(
        evidence(facts=facts(trip("a", "d1", 0, *WHOLE), trip("b", "d1", 2, *WHOLE)))
    )
    assert found.verdict is Verdict.FAIL
    assert "driver d1 had a and b" in found.why


def test_driver_bound_again_at_once_does_not_break_i1(evidence: Make) -> None:
    # Offered at 4.98, freed at 5.0: stamps of transactions, not an overlap.
    again = trip("b", "d1", 3.98, *WHOLE)
    assert (
        check_driver_overlaps(evidence(facts=facts(trip("a", "d1", 0, *WHOLE), again))).verdict
        is Verdict.PASS
    )


def test_declined_driver_is_free_for_another_trip(evidence: Make) -> None:
    declined = trip("a", "d1", 0, "REQUESTED", "OFFERED", "REQUESTED")
    found = check_driver_overlaps(evidence(facts=facts(declined, trip("b", "d1", 5, *WHOLE))))
    assert found.verdict is Verdict.PASS


@pytest.mark.parametrize("where", ["stored", "told"])
def test_second_driver_breaks_i2(where: str, evidence: Make, call: Callable[..., Call]) -> None:
    events = trip("a", "d1", 0, *WHOLE)
    other = {**events[4], "driver_id": "d2"}
    history = told(call, other) if where == "told" else History(())
    stored = [*events[:4], other, *events[5:]] if where == "stored" else events
    found = check_one_driver(evidence(facts=facts(stored), history=history))
    assert found.verdict is Verdict.FAIL
    assert "trip a had d1, d2" in found.why


def test_lost_acknowledged_transition_breaks_i3(evidence: Make, call: Callable[..., Call]) -> None:
    events = trip("a", "d1", 0, *WHOLE)
    found = check_acknowledged(evidence(facts=facts(events[:-1]), history=told(call, *events)))
    assert found.verdict is Verdict.FAIL
    assert "GetTrip said a v6 COMPLETED, stored: None" in found.why


def test_other_state_at_the_same_version_breaks_i3(
    evidence: Make, call: Callable[..., Call]
) -> None:
    events = trip("a", "d1", 0, *WHOLE)
    lie = {**events[2], "state": "CANCELLED"}
    found = check_acknowledged(evidence(facts=facts(events), history=told(call, lie)))
    assert found.verdict is Verdict.FAIL


def test_answers_of_drivers_name_no_version_and_are_no_lost_writes(
    evidence: Make, call: Callable[..., Call]
) -> None:
    events = trip("a", "d1", 0, "REQUESTED", "OFFERED")
    events.append({**trip("a", "d1", 2, "REQUESTED")[0], "version": 3, "move": "DECLINE"})
    answer = {"trip_id": "a", "driver_id": "d1", "key": "DeclineOffer-o1"}
    declined = call(2.0, method="DeclineOffer", **answer)
    late = call(3.0, method="AcceptOffer", code="FAILED_PRECONDITION", **answer)
    seen = evidence(facts=facts(events), history=History((declined, declined, late)))
    found = check_acknowledged(seen)
    assert (found.verdict, found.n) == (Verdict.PASS, 1)
    # Told twice by one driver it is one decline; another offer's would be another.
    other = call(4.0, method="DeclineOffer", **{**answer, "key": "DeclineOffer-o2"})
    lost = check_acknowledged(evidence(facts=facts(events), history=History((declined, other))))
    assert lost.verdict is Verdict.FAIL
    assert "trip a was declined 2 times, stored: 1" in lost.why


def test_failed_and_unknown_calls_acknowledge_nothing(
    evidence: Make, call: Callable[..., Call]
) -> None:
    lost = trip("b", "d1", 0, *WHOLE)
    history = told(call, *lost, outcome="unknown", code="DEADLINE_EXCEEDED")
    stored = facts(trip("a", "d2", 0, *WHOLE))
    assert check_acknowledged(evidence(facts=stored, history=history)).verdict is Verdict.UNKNOWN


def test_offer_that_never_ends_breaks_i4(evidence: Make) -> None:
    stuck = facts(trip("a", "d1", 0, "REQUESTED", "OFFERED"))
    assert check_offers_end(evidence(facts=stuck)).verdict is Verdict.FAIL
    overdue = {**facts(trip("a", "d1", 0, *WHOLE)), "overdue_offers": 2}
    found = check_offers_end(evidence(facts=overdue))
    assert found.verdict is Verdict.FAIL
    assert "2 offers in the store are overdue" in found.why


def test_doubled_move_is_a_doubled_effect(evidence: Make) -> None:
    events = trip("a", "d1", 0, *WHOLE)
    again = {**events[3], "version": 7}
    found = check_doubled_effects(evidence(facts=facts([*events, again])))
    assert found.verdict is Verdict.FAIL
    assert "trip a made APPROACH 2 times" in found.why


def test_second_trip_of_a_request_is_a_doubled_effect(evidence: Make) -> None:
    known = facts(trip("a", "d1", 0, *WHOLE), trip("b", "d2", 0, *WHOLE))
    known["trips"] = [{"trip_id": t, "rider_id": "one"} for t in ("a", "b")]
    found = check_doubled_effects(evidence(facts=known))
    assert found.verdict is Verdict.FAIL
    assert "rider one has 2 trips" in found.why


def test_keys_sent_again_are_counted(evidence: Make, call: Callable[..., Call]) -> None:
    events = trip("a", "d1", 0, *WHOLE)
    history = told(call, *events, events[2], attempts=2)
    figures = check_doubled_effects(evidence(facts=facts(events), history=history)).figures
    assert (figures["keys_sent"], figures["keys_sent_more_than_once"]) == (6, 6)


def test_commits_are_not_compared_with_stamps(evidence: Make) -> None:
    """One event's commit is not known, since a relay has written it again."""
    first = trip("t1", "d", 99.0, "REQUESTED", "OFFERED", "CANCELLED")
    second = trip("t2", "d", 99.99, "REQUESTED", "OFFERED", "CANCELLED")
    # It waited for nearly all the time that it lasted, and was free when the other began.
    first[1]["committed_at"], first[2]["committed_at"] = 100.995, 101.0
    assert check_driver_overlaps(evidence(facts=facts(first, second))).verdict == Verdict.PASS
    second[1]["occurred_at"] = 100.5
    assert check_driver_overlaps(evidence(facts=facts(first, second))).verdict == Verdict.FAIL
