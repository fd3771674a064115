"""
Whom to ask for a trip, and in which order: pure decisions.

One request alone takes the nearest driver. Several together are an assignment:
the nearest driver of one may be the only one of another. What Postgres knows
better, who is free, is decided there; here candidates are chosen.
"""

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass

from hailstorm.dispatch.assignment import assign


@dataclass(frozen=True, slots=True)
class Candidate:
    """A driver who is near, and how far away in metres."""

    driver_id: str
    distance_m: float


@dataclass(frozen=True, slots=True)
class Choice:
    """
    What one request of a batch may do.

    Attributes:
        driver_ids: whom to try, best first; empty when all are better used for others.
        kept_for_others: drivers of this batch's other requests.
    """

    driver_ids: list[str]
    kept_for_others: frozenset[str]


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


def nearest(found: Sequence[Candidate], already_taken: Set[str], at_most: int) -> list[Candidate]:
    """
    The drivers to try, nearest first, without those known to be taken.

    Equal distances are ordered by id, so that a replay decides the same.
    """
    free = (c for c in found if c.driver_id not in already_taken)
    return sorted(free, key=lambda c: (c.distance_m, c.driver_id))[:at_most]


def choose_candidates(
    found: Sequence[Candidate], already_taken: Set[str], at_most: int
) -> list[str]:
    """Ids of `nearest`."""
    return [c.driver_id for c in nearest(found, already_taken, at_most)]


def choose_together(requests: Sequence[Sequence[Candidate]], at_most: int) -> list[Choice]:
    """
    The choices of requests that are matched together, in their order.

    Each request lists its free drivers, nearest first, as `nearest` gives them.
    As many requests as possible get a driver of their own; the metres driven to
    all of them are as few as can be.
    """
    drivers = sorted({c.driver_id for found in requests for c in found})
    columns = {driver_id: column for column, driver_id in enumerate(drivers)}
    columns_of = assign([[(columns[c.driver_id], c.distance_m) for c in f] for f in requests])
    assigned = {drivers[column] for column in columns_of if column is not None}
    choices = []
    for found, column in zip(requests, columns_of, strict=True):
        own = [] if column is None else [drivers[column]]
        # Somebody else may hold the driver by now: then one whom nobody here needs.
        spare = [c.driver_id for c in found if c.driver_id not in assigned]
        choices.append(Choice((own + spare)[:at_most], frozenset(assigned.difference(own))))
    return choices
