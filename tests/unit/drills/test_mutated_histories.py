"""
Every lie that a checker is there for, told to it in a history that is otherwise true.

The invariants hold for any history that the rules allow; each of the lies
breaks the one that it is about, whatever the history.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from hailstorm.trip import states
from hailstorm_drills.checkers import INVARIANTS
from hailstorm_drills.checkers.base import Verdict, run_checkers
from hailstorm_drills.checkers.chain import MOVES
from hailstorm_drills.checkers.invariants import ACCEPTED, LIVE
from hailstorm_loadtests.history import Call
from unit.drills.true_histories import Run, true_run

SEEDS = range(20)


def verdicts(run: Any) -> dict[str, Verdict]:
    return {found.checker: found.verdict for found in run_checkers(INVARIANTS, run)}


def only(run: Run, move: str, place: int = 0) -> dict[str, Any]:
    """The event that made `move`, the first of all or the one at `place`."""
    event: dict[str, Any] = [e for e in run.facts["events"] if e["move"] == move][place]
    return event


def told(run: Run, move: str) -> Call:
    """The first answer to that move."""
    event = only(run, move)
    return next(
        c
        for c in run.calls
        if (c.outcome, c.trip_id, c.version) == ("ok", event["trip_id"], event["version"])
    )


def row(run: Run, trip_id: str) -> dict[str, Any]:
    found: dict[str, Any] = next(t for t in run.facts["trips"] if t["trip_id"] == trip_id)
    return found


def forget(run: Run, trip_id: str, from_version: int = 1) -> None:
    """The store loses the end of a trip."""
    run.facts["events"] = [
        e for e in run.facts["events"] if e["trip_id"] != trip_id or e["version"] < from_version
    ]


def driver_twice_at_once(run: Run) -> None:
    # Another trip, with the same driver, from within the first binding.
    first = only(run, "ACCEPT")
    second = [
        {**e, "trip_id": "other"} for e in run.facts["events"] if e["trip_id"] == first["trip_id"]
    ]
    run.facts["events"] += second
    run.facts["trips"].append({**row(run, first["trip_id"]), "trip_id": "other", "rider_id": "o"})


def driver_twice_for_a_moment(run: Run) -> None:
    # Of two bindings, the later one begins a microsecond before the earlier ends.
    freed = only(run, "COMPLETE")
    base = {"trip_id": "other", "driver_id": None, "offer_expires_at": None}
    at = freed["committed_at"] - 1e-6
    for version, (move, state) in enumerate(
        (("REQUEST", "REQUESTED"), ("OFFER", "OFFERED"), ("DECLINE", "REQUESTED")), start=1
    ):
        run.facts["events"].append(
            {
                **base,
                "version": version,
                "move": move,
                "state": state,
                "driver_id": freed["driver_id"] if state == "OFFERED" else None,
                "occurred_at": freed["occurred_at"],
                "committed_at": at,
                "offer_expires_at": at + 15 if state == "OFFERED" else None,
            }
        )
    run.facts["trips"].append(
        {"trip_id": "other", "rider_id": "o", "driver_id": None, "state": "REQUESTED", "version": 3}
    )


def rows_share_a_driver(run: Run) -> None:
    for trip in run.facts["trips"][:2]:
        trip["state"], trip["driver_id"] = "IN_PROGRESS", "driver-0"


def second_driver_is_stored(run: Run) -> None:
    only(run, "START")["driver_id"] = "somebody else"


def second_driver_is_told(run: Run) -> None:
    call = told(run, "START")
    run.calls.append(dataclasses.replace(call, driver_id="somebody else"))


def second_yes(run: Run) -> None:
    accept = only(run, "ACCEPT")
    run.facts["events"].append({**accept, "version": accept["version"] + 100})


def accept_is_lost(run: Run) -> None:
    forget(run, only(run, "ACCEPT")["trip_id"], only(run, "ACCEPT")["version"])


def transition_is_lost(run: Run) -> None:
    event = only(run, "COMPLETE")
    forget(run, event["trip_id"], event["version"])


def request_is_lost(run: Run) -> None:
    # Everything of it: row, history and key.
    trip_id = only(run, "REQUEST")["trip_id"]
    forget(run, trip_id)
    for name in ("trips", "keys"):
        run.facts[name] = [r for r in run.facts[name] if r["trip_id"] != trip_id]


def request_is_answered_with_no_trip(run: Run) -> None:
    call = told(run, "REQUEST")
    call.trip_id = call.version = call.state = None


def other_state_is_stored(run: Run) -> None:
    told(run, "CANCEL").state = "COMPLETED"


def other_driver_is_stored(run: Run) -> None:
    told(run, "OFFER").driver_id = "somebody else"


def version_is_invented(run: Run) -> None:
    call = told(run, "START")
    assert call.version is not None
    run.calls.append(dataclasses.replace(call, version=call.version + 100))


def yes_comes_late(run: Run) -> None:
    accept = only(run, "ACCEPT")
    offer = next(
        e
        for e in run.facts["events"]
        if (e["trip_id"], e["version"]) == (accept["trip_id"], accept["version"] - 1)
    )
    offer["offer_expires_at"] = accept["occurred_at"]


def offer_outlives_its_end(run: Run) -> None:
    offer = only(run, "OFFER")
    forget(run, offer["trip_id"], offer["version"] + 1)


def offer_has_no_end(run: Run) -> None:
    only(run, "OFFER")["offer_expires_at"] = None


def offer_is_taken_back_early(run: Run) -> None:
    expired = only(run, "EXPIRE")
    offer = next(
        e
        for e in run.facts["events"]
        if (e["trip_id"], e["version"]) == (expired["trip_id"], expired["version"] - 1)
    )
    offer["offer_expires_at"] = expired["occurred_at"] + 0.001


def offers_are_overdue(run: Run) -> None:
    run.facts["overdue_offers"] = 1


def key_makes_two_trips(run: Run) -> None:
    call = told(run, "REQUEST")
    run.calls.append(dataclasses.replace(call, trip_id="another"))


def rider_has_two_trips(run: Run) -> None:
    run.facts["trips"][0]["rider_id"] = run.facts["trips"][1]["rider_id"]


def tap_is_answered_anew(run: Run) -> None:
    call = told(run, "APPROACH")
    assert call.version is not None
    run.calls.append(dataclasses.replace(call, version=call.version + 1))


def move_is_made_twice(run: Run) -> None:
    event = only(run, "COMPLETE")
    run.facts["events"].append({**event, "version": event["version"] + 1})


def key_is_forgotten(run: Run) -> None:
    trip_id = told(run, "REQUEST").trip_id
    run.facts["keys"] = [k for k in run.facts["keys"] if k["trip_id"] != trip_id]


def version_is_skipped(run: Run) -> None:
    for event in run.facts["events"]:
        if event["trip_id"] == only(run, "ACCEPT")["trip_id"] and event["version"] > 1:
            event["version"] += 1


def first_version_is_gone(run: Run) -> None:
    run.facts["events"].remove(only(run, "REQUEST"))


def move_is_not_in_the_table(run: Run) -> None:
    only(run, "START")["state"] = "COMPLETED"


def row_is_not_its_last_event(run: Run) -> None:
    row(run, only(run, "COMPLETE")["trip_id"])["version"] -= 1


def row_has_no_history(run: Run) -> None:
    forget(run, run.facts["trips"][0]["trip_id"])


def time_goes_back(run: Run) -> None:
    only(run, "START")["occurred_at"] = 0


LIES: dict[str, list[Callable[[Run], None]]] = {
    "I1": [driver_twice_at_once, driver_twice_for_a_moment, rows_share_a_driver],
    "I2": [second_driver_is_stored, second_driver_is_told, second_yes],
    "I3": [
        accept_is_lost,
        transition_is_lost,
        request_is_lost,
        request_is_answered_with_no_trip,
        other_state_is_stored,
        other_driver_is_stored,
        version_is_invented,
    ],
    "I4": [
        yes_comes_late,
        offer_outlives_its_end,
        offer_has_no_end,
        offer_is_taken_back_early,
        offers_are_overdue,
    ],
    "effects": [
        key_makes_two_trips,
        rider_has_two_trips,
        tap_is_answered_anew,
        move_is_made_twice,
        key_is_forgotten,
    ],
    "chain": [
        version_is_skipped,
        first_version_is_gone,
        move_is_not_in_the_table,
        row_is_not_its_last_event,
        row_has_no_history,
        time_goes_back,
    ],
}


@pytest.mark.parametrize("knows_commits", [True, False])
def test_every_true_history_passes(knows_commits: bool) -> None:
    for seed in range(100):
        run = true_run(seed, knows_commits=knows_commits)
        findings = run_checkers(INVARIANTS, run)
        assert {f.verdict for f in findings} == {Verdict.PASS}, (seed, findings)


@pytest.mark.parametrize(
    ("invariant", "lie"),
    [(name, lie) for name, lies in LIES.items() for lie in lies],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_lie_fails_the_checker_that_it_is_about(invariant: str, lie: Callable[[Run], None]) -> None:
    for seed in SEEDS:
        run = true_run(seed)
        lie(run)
        assert verdicts(run)[invariant] is Verdict.FAIL, seed


def test_driver_of_another_city_is_somebody_else() -> None:
    run = true_run(1)
    elsewhere = [{**e, "city_id": "boston"} for e in run.facts["events"]]
    run.facts["events"] += elsewhere
    run.facts["trips"] += [
        {**t, "city_id": "boston", "rider_id": f"{t['rider_id']} there"} for t in run.facts["trips"]
    ]
    assert verdicts(run)["I1"] is Verdict.PASS
    assert verdicts(run)["chain"] is Verdict.PASS


def test_offer_that_is_not_over_when_read_is_unknown() -> None:
    run = true_run(1)
    offer = only(run, "OFFER")
    forget(run, offer["trip_id"], offer["version"] + 1)
    run.facts["read_at"] = offer["offer_expires_at"] - 0.001
    assert verdicts(run)["I4"] is Verdict.UNKNOWN


def test_nothing_is_proved_from_nothing() -> None:
    empty = {"trips": [], "events": [], "keys": [], "overdue_offers": 0, "read_at": 0.0}
    unknown = {name: Verdict.UNKNOWN for name, _ in INVARIANTS}
    assert verdicts(Run(empty)) == unknown
    without_store = dataclasses.replace(true_run(1), facts=None)  # type: ignore[arg-type]
    assert verdicts(without_store) == unknown


def test_damaged_facts_are_unknown_and_not_passed() -> None:
    run = true_run(1)
    for event in run.facts["events"]:
        del event["version"], event["move"]
    assert set(verdicts(run).values()) == {Verdict.UNKNOWN}


def test_table_of_the_checker_is_that_of_the_service() -> None:
    served = {(s.value, m.value): after.value for (s, m), after in states.TABLE.items()}
    assert dict(MOVES) == {("", "REQUEST"): "REQUESTED", **served}
    assert {s.value for s in states.LIVE} == LIVE
    assert {s.value for s in states.ACCEPTED} | {"COMPLETED"} == ACCEPTED
