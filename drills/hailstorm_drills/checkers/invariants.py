"""
What must hold whatever breaks, proved from the client's history and Postgres.

I1       a driver has at most one live offer or trip
I2       a trip has at most one accepted driver
I3       no acknowledged request, accept or transition is lost (acknowledged.py)
I4       every offer is answered in its time, or expires
effects  a key has one effect, however often it was sent (acknowledged.py)
chain    a trip's history has no gap and no move that there is not (chain.py)
"""

import dataclasses
import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hailstorm_drills.checkers.base import Finding, Verdict
from hailstorm_drills.checkers.proof import (
    Named,
    Proof,
    Row,
    chains,
    conclude,
    no_data,
)

LIVE: Final = frozenset({"OFFERED", "MATCHED", "ARRIVING", "IN_PROGRESS"})
ACCEPTED: Final = frozenset({"MATCHED", "ARRIVING", "IN_PROGRESS", "COMPLETED"})
# Two transactions may be stamped in the other order than they committed, by as
# much as the later one waited for the earlier. Longer is an overlap. Where
# Postgres keeps the times of commits, those are compared, and to the letter.
STAMP_SECONDS: Final = 0.05
FOREVER: Final = float("inf")


@dataclass(frozen=True, slots=True)
class Binding:
    """
    One time that a driver was bound to a trip; the end is infinite while it lasts.

    `since` and `until` are when it was decided; `bound` and `freed` when it was
    committed, None where Postgres does not know.
    """

    driver: Named
    trip: Named
    since: float
    until: float
    bound: float | None
    freed: float | None


def bindings(events: Sequence[Row]) -> list[Binding]:
    """Each time a driver was bound, from the offer to the end."""
    found = []
    for trip, chain in chains(events).items():
        began: Row | None = None
        for event in chain:
            driver = event["driver_id"] if event["state"] in LIVE else None
            if began is not None and began["driver_id"] != driver:
                found.append(_binding(trip, began, event))
                began = None
            if driver is not None and began is None:
                began = event
        if began is not None:
            found.append(_binding(trip, began, None))
    return found


def check_driver_overlaps(proof: Proof) -> Finding:
    """I1, from the history in Postgres: no driver is bound twice at a time."""
    if (nothing := no_data("I1", proof)) or proof.facts is None:
        return nothing or Finding("I1", Verdict.UNKNOWN, "")
    by_driver: dict[Named, list[Binding]] = defaultdict(list)
    for binding in bindings(proof.facts["events"]):
        by_driver[binding.driver].append(binding)
    violations = []
    for (_, driver), times in by_driver.items():
        # Commits have an order of their own. Where one of them is not known (a relay
        # has written the event again), all are put in the order of the stamps: mixed,
        # neighbours would be compared that never were.
        knows_all = all(b.bound is not None and b.freed is not None for b in times)
        if not knows_all:
            times = [dataclasses.replace(b, bound=None, freed=None) for b in times]
        times.sort(key=lambda b: (b.since if b.bound is None else b.bound, b.since))
        violations += [
            f"driver {driver} had {first.trip[1]} and {second.trip[1]}"
            for first, second in itertools.pairwise(times)
            if _overlap(first, second)
        ]
    # The rows themselves, which the history might not tell the truth about.
    held: dict[Named, list[str]] = defaultdict(list)
    for row in proof.facts["trips"]:
        if row.get("state") in LIVE and row.get("driver_id"):
            held[row.get("city_id", ""), row["driver_id"]].append(row["trip_id"])
    violations += [
        f"driver {driver} holds {', '.join(sorted(trips))}"
        for (_, driver), trips in held.items()
        if len(trips) > 1
    ]
    return conclude("I1", "bindings of drivers", violations, sum(map(len, by_driver.values())))


def check_one_driver(proof: Proof) -> Finding:
    """I2, from Postgres and from what riders were told: one accepted driver a trip."""
    if (nothing := no_data("I2", proof)) or proof.facts is None:
        return nothing or Finding("I2", Verdict.UNKNOWN, "")
    drivers: dict[str, set[str]] = defaultdict(set)
    accepts: dict[str, int] = defaultdict(int)
    for event in proof.facts["events"]:
        if event["state"] in ACCEPTED and event["driver_id"]:
            drivers[event["trip_id"]].add(event["driver_id"])
        accepts[event["trip_id"]] += event["move"] == "ACCEPT"
    for call in proof.history.calls if proof.history else ():
        if call.outcome == "ok" and call.state in ACCEPTED and call.trip_id and call.driver_id:
            drivers[call.trip_id].add(call.driver_id)
    violations = [f"trip {t} had {', '.join(sorted(d))}" for t, d in drivers.items() if len(d) > 1]
    violations += [f"trip {t} was accepted {n} times" for t, n in accepts.items() if n > 1]
    return conclude("I2", "trips with a driver", violations, len(drivers))


def check_offers_end(proof: Proof) -> Finding:
    """
    I4: every offer says when it ends, is accepted before that or not at all,
    and is over when its time is. UNKNOWN while one may still be answered.
    """
    if (nothing := no_data("I4", proof)) or proof.facts is None:
        return nothing or Finding("I4", Verdict.UNKNOWN, "")
    violations, offers, open_ = [], 0, 0
    read_at = proof.facts.get("read_at", FOREVER)
    for (_, trip), chain in chains(proof.facts["events"]).items():
        for offer, after in itertools.pairwise([*chain, None]):
            if offer is None or offer["move"] != "OFFER":
                continue
            offers += 1
            ends = offer.get("offer_expires_at")
            if ends is None:
                violations.append(f"trip {trip} has an offer without an end")
            elif after is None and ends > read_at:
                open_ += 1
            elif after is None:
                violations.append(f"trip {trip} still has an offer")
            elif after["move"] == "ACCEPT" and after["occurred_at"] >= ends:
                late = after["occurred_at"] - ends
                violations.append(f"trip {trip} was accepted {late:.3f} s after its offer ended")
            elif after["move"] == "EXPIRE" and after["occurred_at"] < ends:
                violations.append(f"trip {trip} had its offer taken back before its end")
    if proof.facts["overdue_offers"]:
        violations.append(f"{proof.facts['overdue_offers']} offers in the store are overdue")
    if open_ and not violations:
        return Finding("I4", Verdict.UNKNOWN, f"{open_} of {offers} offers are not over yet")
    return conclude("I4", "offers", violations, offers)


def _binding(trip: Named, began: Row, ended: Row | None) -> Binding:
    return Binding(
        driver=(trip[0], began["driver_id"]),
        trip=trip,
        since=began["occurred_at"],
        until=FOREVER if ended is None else ended["occurred_at"],
        bound=began.get("committed_at"),
        freed=FOREVER if ended is None else ended.get("committed_at"),
    )


def _overlap(first: Binding, second: Binding) -> bool:
    if first.bound is not None and first.freed is not None and second.bound is not None:
        return second.bound < first.freed
    return second.since < first.until - STAMP_SECONDS
