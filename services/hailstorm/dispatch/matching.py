"""
Whom to ask for a trip, and in which order: pure decisions.

Nearest first. Seven or eight of ten assignments of a solver over the whole
city end there anyway (DiDi); what Postgres knows better, who is free, is
decided there.
"""

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Candidate:
    """A driver who is near, and how far away in metres."""

    driver_id: str
    distance_m: float


def search_radii(first_m: int, last_m: int, growth: float) -> Iterator[int]:
    """
    Yield radii in metres from `first_m` to `last_m`, each `growth` times the one before.

    The last is always `last_m`, which a `first_m` above it is cut to.
    """
    radius = float(first_m)
    while radius < last_m:
        yield int(radius)
        radius *= growth
    yield last_m


def choose_candidates(
    found: Sequence[Candidate], already_taken: Set[str], at_most: int
) -> list[str]:
    """
    Ids of the drivers to try, best first, without those known to be taken.

    Equal distances are ordered by id, so that a replay decides the same.
    """
    free = (c for c in found if c.driver_id not in already_taken)
    return [c.driver_id for c in sorted(free, key=lambda c: (c.distance_m, c.driver_id))][:at_most]
