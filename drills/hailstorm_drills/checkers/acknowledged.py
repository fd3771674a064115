"""
What callers were told, held against what Postgres kept: I3 and the keys' effects.

A call that ended OK is a promise. One that failed, or that nobody knows the end
of, promised nothing, whatever it did; nor did a driver's answer that came too late
for its offer, which is no failure either.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Final

from hailstorm_drills.checkers.base import Finding, Verdict
from hailstorm_drills.checkers.proof import Named, Proof, Row, conclude, no_data, trip_of
from hailstorm_loadtests.history import STREAMS, Call

# Methods that put a rider's wish on record; their key stays the rider's own.
REQUESTS: Final = frozenset({"RequestTrip", "CreateTrip"})
# Their key belongs to one transition: whoever sends it again gets the same answer.
TAPS: Final = frozenset({"ApproachPickup", "StartTrip", "CompleteTrip", "CancelTrip"})
# What is answered without a trip, as are lists.
WITHOUT_TRIP: Final = frozenset({"ReportPositions", "NearbyDrivers", "GetQuote", "DeclineOffer"})
# Moves that a trip makes once in its life.
ONCE: Final = frozenset({"REQUEST", "APPROACH", "START", "COMPLETE", "CANCEL", "ABANDON"})
# In these an answer names the driver that the row has.
BOUND: Final = frozenset({"OFFERED", "MATCHED", "ARRIVING", "IN_PROGRESS", "COMPLETED"})


def check_acknowledged(proof: Proof) -> Finding:
    """
    I3: every (trip, version, state, driver) that was answered with OK is in the
    history, every write that was answered with OK named a trip, and every offer
    that was declined with OK is declined there.
    """
    if (nothing := no_data("I3", proof)) or proof.facts is None:
        return nothing or Finding("I3", Verdict.UNKNOWN, "")
    if proof.history is None:
        return Finding("I3", Verdict.UNKNOWN, "there is no history of what was acknowledged")
    known = {(e["trip_id"], e["version"]): e for e in proof.facts["events"]}
    violations, n, writes = [], 0, 0
    for call in proof.history.calls:
        if call.outcome != "ok":
            continue
        is_promise = bool(call.key) and call.code == "OK"
        is_write = is_promise and call.method not in STREAMS | WITHOUT_TRIP
        writes += is_write
        if not call.trip_id or call.version is None:
            if is_write:
                n += 1
                violations.append(f"{call.method} with key {call.key} was told of no trip")
            continue
        n += 1
        stored = known.get((call.trip_id, call.version))
        said = f"{call.method} said {call.trip_id} v{call.version} {call.state}"
        if stored is None or stored["state"] != call.state:
            violations.append(f"{said}, stored: {stored and stored['state']}")
        elif call.state in BOUND and call.driver_id and call.driver_id != stored["driver_id"]:
            violations.append(f"{said} of {call.driver_id}, stored: {stored['driver_id']}")
    declined, lost = _declines(proof.facts["events"], proof.history.calls)
    n, violations = n + declined, violations + lost
    finding = conclude("I3", "acknowledged answers", violations, n)
    figures = {**finding.figures, "writes": writes}
    return Finding(finding.checker, finding.verdict, finding.why, n, figures)


def _declines(events: Sequence[Row], calls: Sequence[Call]) -> tuple[int, list[str]]:
    """How many offers were declined with OK, and the trips that have fewer declines than that."""
    # The answer says nothing of the trip; the key stands for one offer to one driver.
    told: dict[str, set[str]] = defaultdict(set)
    for call in calls:
        if call.method == "DeclineOffer" and call.code == "OK" and call.trip_id and call.key:
            told[call.trip_id].add(call.key)
    stored = Counter(event["trip_id"] for event in events if event["move"] == "DECLINE")
    lost = [
        f"trip {trip} was declined {len(keys)} times, stored: {stored[trip]}"
        for trip, keys in told.items()
        if stored[trip] < len(keys)
    ]
    return sum(map(len, told.values())), lost


def check_doubled_effects(proof: Proof) -> Finding:
    """A request makes one trip and a tap one move, also when it was sent twice."""
    name = "effects"
    if (nothing := no_data(name, proof)) or proof.facts is None:
        return nothing or Finding(name, Verdict.UNKNOWN, "")
    calls: Sequence[Call] = proof.history.calls if proof.history else ()
    violations = [
        *_surplus_trips(proof, calls),
        *_keys_answered_twice(calls),
        *_keys_forgotten(proof, calls),
    ]
    moves: dict[tuple[Named, str], int] = defaultdict(int)
    for event in proof.facts["events"]:
        if event["move"] in ONCE:
            moves[trip_of(event), event["move"]] += 1
    violations += [
        f"trip {trip[1]} made {move} {count} times"
        for (trip, move), count in moves.items()
        if count > 1
    ]
    finding = conclude(name, "effects of keys", violations, len(moves))
    sent: dict[str, int] = defaultdict(int)
    for call in calls:
        if call.key:
            # An attempt of the edge is a sending as well.
            sent[call.key] += call.attempts or 1
    figures = {
        **finding.figures,
        "keys_sent": len(sent),
        "keys_sent_more_than_once": sum(count > 1 for count in sent.values()),
    }
    return Finding(name, finding.verdict, finding.why, finding.n, figures)


def _surplus_trips(proof: Proof, calls: Sequence[Call]) -> list[str]:
    """Riders with more trips than keys. Without a history each rider asked once."""
    assert proof.facts is not None, "callers have looked"
    trips: dict[str, set[str]] = defaultdict(set)
    for trip in proof.facts["trips"]:
        trips[trip["rider_id"]].add(trip["trip_id"])
    asked: dict[str, set[str]] = defaultdict(set)
    for call in calls:
        if call.method in REQUESTS and call.rider_id and call.key:
            asked[call.rider_id].add(call.key)
    return [
        f"rider {rider} has {len(own)} trips"
        + (f" of {len(asked[rider])} requests" if asked[rider] else "")
        for rider, own in trips.items()
        if len(own) > max(1, len(asked[rider]))
    ]


def _keys_answered_twice(calls: Sequence[Call]) -> list[str]:
    """Keys that stood for two trips, or for two versions where the answer is kept."""
    answers: dict[tuple[str, str, str], set[tuple[str | None, int | None]]] = defaultdict(set)
    for call in calls:
        if call.outcome != "ok" or not call.key or not call.trip_id:
            continue
        if call.method in REQUESTS:
            # A request is answered with the trip as it stands now.
            answers[call.method, call.rider_id or "", call.key].add((call.trip_id, None))
        elif call.method in TAPS:
            answers[call.method, call.trip_id, call.key].add((call.trip_id, call.version))
    return [
        f"{method} with key {key} was answered with " + ", ".join(_shown(a) for a in sorted(found))
        for (method, _, key), found in answers.items()
        if len(found) > 1
    ]


def _keys_forgotten(proof: Proof, calls: Sequence[Call]) -> list[str]:
    """Requests that were answered with a trip, but whose key would make another one."""
    assert proof.facts is not None, "callers have looked"
    kept: dict[str, set[str]] = defaultdict(set)
    for row in proof.facts["keys"]:
        if row["scope"].startswith("CreateTrip"):
            kept[row["key"]].add(row["trip_id"])
    told = {
        (call.key, call.trip_id)
        for call in calls
        if call.method in REQUESTS and call.outcome == "ok" and call.key and call.trip_id
    }
    return [
        f"key {key} was answered with {trip_id}, and stands for {sorted(kept[key]) or 'nothing'}"
        for key, trip_id in sorted(told)
        if kept[key] != {trip_id}
    ]


def _shown(answer: tuple[str | None, int | None]) -> str:
    trip_id, version = answer
    return f"{trip_id}" if version is None else f"{trip_id} v{version}"
