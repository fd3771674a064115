"""
Whether each trip's history is one that the state machine can have made.

Versions run from 1 without a gap, each by a move that the table has, and the
trip's row is its last event. What two writers tear apart shows here, also when
no caller was told of it.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Final

from hailstorm_drills.checkers.base import Finding, Verdict
from hailstorm_drills.checkers.proof import Proof, Row, chains, conclude, no_data, trip_of

# As DESIGN draws it. Drills do not import services, so that a service with a
# wrong table is not judged by it; a test holds the two together.
MOVES: Final[Mapping[tuple[str, str], str]] = {
    ("", "REQUEST"): "REQUESTED",
    ("REQUESTED", "OFFER"): "OFFERED",
    ("REQUESTED", "CANCEL"): "CANCELLED",
    ("REQUESTED", "ABANDON"): "UNFULFILLED",
    ("OFFERED", "ACCEPT"): "MATCHED",
    ("OFFERED", "DECLINE"): "REQUESTED",
    ("OFFERED", "EXPIRE"): "REQUESTED",
    ("OFFERED", "CANCEL"): "CANCELLED",
    ("OFFERED", "ABANDON"): "UNFULFILLED",
    ("MATCHED", "APPROACH"): "ARRIVING",
    ("MATCHED", "CANCEL"): "CANCELLED",
    ("ARRIVING", "START"): "IN_PROGRESS",
    ("ARRIVING", "CANCEL"): "CANCELLED",
    ("IN_PROGRESS", "COMPLETE"): "COMPLETED",
}


def check_chains(proof: Proof) -> Finding:
    """Every trip of the run has a history that is whole."""
    if (nothing := no_data("chain", proof)) or proof.facts is None:
        return nothing or Finding("chain", Verdict.UNKNOWN, "")
    found = chains(proof.facts["events"])
    violations = [
        f"trip {trip[1]}: {fault}" for trip, chain in found.items() if (fault := fault_of(chain))
    ]
    for row in proof.facts["trips"]:
        chain = found.get(trip_of(row))
        if chain is None:
            violations.append(f"trip {row['trip_id']} has no history")
        elif any(name in row and row[name] != chain[-1][name] for name in ("version", "state")):
            violations.append(
                f"trip {row['trip_id']} is {row['state']} at v{row['version']}, its history ends"
                f" with {chain[-1]['state']} at v{chain[-1]['version']}"
            )
    return conclude("chain", "trips", violations, len(found))


def fault_of(chain: Sequence[Row]) -> str | None:
    """What is wrong with the events of one trip, in order of version; None for nothing."""
    if chain[0]["version"] != 1:
        return f"its history begins with v{chain[0]['version']}"
    state = ""
    for event in chain:
        if MOVES.get((state, event["move"])) != event["state"]:
            return f"v{event['version']} is {event['move']} from {state} to {event['state']}"
        state = event["state"]
    for before, after in itertools.pairwise(chain):
        if after["version"] != before["version"] + 1:
            return f"v{before['version']} is followed by v{after['version']}"
        if after["occurred_at"] < before["occurred_at"]:
            return f"v{after['version']} happened before v{before['version']}"
    return None
