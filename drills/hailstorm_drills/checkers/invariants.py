"""
What must hold whatever breaks, proved from the client's history and Postgres.

I1  a driver has at most one live offer or trip
I2  a trip has at most one accepted driver
I3  no acknowledged request, accept or transition is lost
I4  every offer is answered or expires
    and a key has one effect, however often it was sent
"""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from hailstorm_drills.checkers.base import Finding, Verdict
from hailstorm_drills.evidence import Evidence
from hailstorm_loadtests.history import STREAMS

LIVE: Final = frozenset({"OFFERED", "MATCHED", "ARRIVING", "IN_PROGRESS"})
ACCEPTED: Final = frozenset({"MATCHED", "ARRIVING", "IN_PROGRESS", "COMPLETED"})
# Moves that a trip makes once in its life.
ONCE: Final = frozenset({"REQUEST", "APPROACH", "START", "COMPLETE", "CANCEL", "ABANDON"})
# Two transactions may be stamped in the other order than they committed, by as
# much as the later one waited for the earlier. Longer is an overlap.
STAMP_SECONDS: Final = 0.05
EXAMPLES: Final = 5

Row = Mapping[str, Any]


def no_data(name: str, evidence: Evidence) -> Finding | None:
    """UNKNOWN when there is nothing to prove it from."""
    facts = evidence.facts
    if facts is None:
        return Finding(name, Verdict.UNKNOWN, "Postgres was not read")
    if not facts["events"]:
        return Finding(name, Verdict.UNKNOWN, "Postgres holds no event of this run")
    return None


def conclude(name: str, what: str, violations: Sequence[str], n: int) -> Finding:
    """FAIL with examples, or PASS with n; UNKNOWN of nothing."""
    if violations:
        shown = "; ".join(violations[:EXAMPLES])
        figures = {"violations": len(violations), "examples": list(violations[:EXAMPLES])}
        return Finding(name, Verdict.FAIL, f"{len(violations)} of {n} {what}: {shown}", n, figures)
    if n == 0:
        return Finding(name, Verdict.UNKNOWN, f"0 {what} to look at")
    return Finding(name, Verdict.PASS, f"0 violations in {n} {what}", n, {"violations": 0})


def bindings(events: Iterable[Row]) -> list[tuple[str, str, float, float]]:
    """(driver, trip, from, to) of each time a driver was bound; an open end is infinite."""
    found = []
    open_: dict[str, tuple[str, float]] = {}
    for event in sorted(events, key=lambda e: (e["trip_id"], e["version"])):
        trip, at = event["trip_id"], event["occurred_at"]
        driver = event["driver_id"] if event["state"] in LIVE else None
        if trip in open_ and open_[trip][0] != driver:
            was, since = open_.pop(trip)
            found.append((was, trip, since, at))
        if driver is not None and trip not in open_:
            open_[trip] = (driver, at)
    found += [(driver, trip, since, float("inf")) for trip, (driver, since) in open_.items()]
    return found


def check_driver_overlaps(evidence: Evidence) -> Finding:
    """I1, from the history in Postgres: no driver is bound twice at a time."""
    if (nothing := no_data("I1", evidence)) or evidence.facts is None:
        return nothing or Finding("I1", Verdict.UNKNOWN, "")
    by_driver: dict[str, list[tuple[float, float, str]]] = defaultdict(list)
    for driver, trip, since, until in bindings(evidence.facts["events"]):
        by_driver[driver].append((since, until, trip))
    violations = []
    for driver, times in by_driver.items():
        times.sort()
        for (_, until, first), (since, _, second) in itertools.pairwise(times):
            if since < until - STAMP_SECONDS:
                violations.append(f"driver {driver} had {first} and {second}")
    return conclude("I1", "bindings of drivers", violations, sum(map(len, by_driver.values())))


def check_one_driver(evidence: Evidence) -> Finding:
    """I2, from Postgres and from what riders were told: one accepted driver a trip."""
    if (nothing := no_data("I2", evidence)) or evidence.facts is None:
        return nothing or Finding("I2", Verdict.UNKNOWN, "")
    drivers: dict[str, set[str]] = defaultdict(set)
    for event in evidence.facts["events"]:
        if event["state"] in ACCEPTED and event["driver_id"]:
            drivers[event["trip_id"]].add(event["driver_id"])
    for call in evidence.history.calls if evidence.history else ():
        if call.outcome == "ok" and call.state in ACCEPTED and call.trip_id and call.driver_id:
            drivers[call.trip_id].add(call.driver_id)
    violations = [f"trip {t} had {', '.join(sorted(d))}" for t, d in drivers.items() if len(d) > 1]
    return conclude("I2", "trips with a driver", violations, len(drivers))


def check_acknowledged(evidence: Evidence) -> Finding:
    """I3: every (trip, version, state) that was answered with OK is in the history."""
    if (nothing := no_data("I3", evidence)) or evidence.facts is None:
        return nothing or Finding("I3", Verdict.UNKNOWN, "")
    if evidence.history is None:
        return Finding("I3", Verdict.UNKNOWN, "there is no history of what was acknowledged")
    known = {(e["trip_id"], e["version"]): e["state"] for e in evidence.facts["events"]}
    violations, n = [], 0
    for call in evidence.history.calls:
        if call.outcome != "ok" or not call.trip_id or call.version is None:
            continue
        n += 1
        stored = known.get((call.trip_id, call.version))
        if stored != call.state:
            violations.append(
                f"{call.method} said {call.trip_id} v{call.version} {call.state}, stored: {stored}"
            )
    finding = conclude("I3", "acknowledged answers", violations, n)
    writes = sum(
        bool(c.key) and c.outcome == "ok" and c.method not in STREAMS
        for c in evidence.history.calls
    )
    return Finding(
        finding.checker, finding.verdict, finding.why, n, {**finding.figures, "writes": writes}
    )


def check_offers_end(evidence: Evidence) -> Finding:
    """I4: no offer is the last word of its trip, and none in the store is overdue."""
    if (nothing := no_data("I4", evidence)) or evidence.facts is None:
        return nothing or Finding("I4", Verdict.UNKNOWN, "")
    last: dict[str, Row] = {}
    offers = 0
    for event in sorted(evidence.facts["events"], key=lambda e: (e["trip_id"], e["version"])):
        last[event["trip_id"]] = event
        offers += event["move"] == "OFFER"
    violations = [
        f"trip {trip} still has an offer" for trip, e in last.items() if e["move"] == "OFFER"
    ]
    if evidence.facts["overdue_offers"]:
        violations.append(f"{evidence.facts['overdue_offers']} offers in the store are overdue")
    return conclude("I4", "offers", violations, offers)


def check_doubled_effects(evidence: Evidence) -> Finding:
    """A request makes one trip and a tap one move, also when it was sent twice."""
    name = "effects"
    if (nothing := no_data(name, evidence)) or evidence.facts is None:
        return nothing or Finding(name, Verdict.UNKNOWN, "")
    violations = []
    # In the load each rider asks once, so a second trip is a second effect.
    trips: dict[str, set[str]] = defaultdict(set)
    for trip in evidence.facts["trips"]:
        trips[trip["rider_id"]].add(trip["trip_id"])
    violations += [
        f"rider {rider} has {len(own)} trips" for rider, own in trips.items() if len(own) > 1
    ]
    moves: dict[tuple[str, str], int] = defaultdict(int)
    for event in evidence.facts["events"]:
        if event["move"] in ONCE:
            moves[event["trip_id"], event["move"]] += 1
    violations += [
        f"trip {trip} made {move} {count} times"
        for (trip, move), count in moves.items()
        if count > 1
    ]
    finding = conclude(name, "effects of keys", violations, len(moves))
    sent: dict[str, int] = defaultdict(int)
    for call in evidence.history.calls if evidence.history else ():
        if call.key:
            # An attempt of the edge is a sending as well.
            sent[call.key] += call.attempts or 1
    figures = {
        **finding.figures,
        "keys_sent": len(sent),
        "keys_sent_more_than_once": sum(count > 1 for count in sent.values()),
    }
    return Finding(name, finding.verdict, finding.why, finding.n, figures)
