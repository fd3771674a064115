"""
What invariants are proved from, and how a proof is put into a finding.

Both a drill and a test that runs services in its own processes have the two:
the history of a client that wrote everything down, and the rows of Postgres.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from hailstorm_drills.checkers.base import Finding, Verdict
from hailstorm_loadtests.history import History

EXAMPLES: Final = 5

Row = Mapping[str, Any]
# A trip or a driver; the same name in another city is somebody else.
Named = tuple[str, str]


class Proof(Protocol):
    """Client history and rows; a drill's Evidence is one."""

    @property
    def history(self) -> History | None: ...
    @property
    def facts(self) -> Mapping[str, Any] | None: ...


def trip_of(row: Row) -> Named:
    """Which trip the row is about."""
    return row.get("city_id", ""), row["trip_id"]


def chains(events: Sequence[Row]) -> dict[Named, list[Row]]:
    """The events of each trip in order of version."""
    found: dict[Named, list[Row]] = {}
    for event in sorted(events, key=lambda e: (*trip_of(e), e["version"])):
        found.setdefault(trip_of(event), []).append(event)
    return found


def no_data(name: str, proof: Proof) -> Finding | None:
    """UNKNOWN when there is nothing to prove it from."""
    if proof.facts is None:
        return Finding(name, Verdict.UNKNOWN, "Postgres was not read")
    if not proof.facts["events"]:
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
