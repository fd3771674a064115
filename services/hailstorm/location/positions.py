"""
Which positions to believe: pure, decided from the ping, the last one and the time.

Phones repeat, delay and invent. What is refused here would otherwise send a
rider a car that is not there; each refusal says why, since a fleet whose
clocks are wrong looks exactly like a fleet that has gone home.
"""

import enum
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from hailstorm.location.geometry import distance_m, moved_at_most_m
from hailstorm.location.settings import PositionSettings
from hailstorm.runtime.violations import are_ids, is_id, is_on_earth


class Availability(enum.IntEnum):
    """Whether a driver can be offered a trip; numbers as on the wire."""

    AVAILABLE = 1
    BUSY = 2
    OFFLINE = 3


class Refusal(enum.IntEnum):
    """Why a position is refused; numbers as on the wire."""

    STALE = 1
    FUTURE = 2
    IMPOSSIBLE = 3
    TELEPORT = 4
    MALFORMED = 5
    TOO_OLD = 6


# By its number on the wire; the enum's own look-up takes five times as long.
_AVAILABILITIES: Final = {each.value: each for each in Availability}
_OFFLINE: Final = Availability.OFFLINE


# Tuples, here and in the index: a frozen dataclass takes three times as long to
# make, and a batch makes hundreds. Where a batch makes one for each position it
# calls `new` for it, since a named tuple's own `__new__` is a Python function: it
# takes three times as long as the tuple itself.
new: Final = tuple.__new__


class Ping(NamedTuple):
    """
    One ping as the phone sent it; None is what it left out.

    An availability that is not one of `Availability` is the phone's mistake too.
    """

    driver_id: str
    sequence: int
    latitude: float | None
    longitude: float | None
    observed_ms: int | None
    availability: int


class Fix(NamedTuple):
    """A position that is believed."""

    driver_id: str
    sequence: int
    latitude: float
    longitude: float
    observed_ms: int
    availability: Availability


class Known(NamedTuple):
    """What is remembered of a driver; `fix` is None once the driver went offline."""

    sequence: int
    fix: Fix | None


@dataclass(slots=True)
class Decisions:
    """
    What becomes of a batch.

    Attributes:
        latest: by driver, the newest accepted position and its place in the batch.
        accepted_count: how many were accepted, those that a newer one replaced included.
        refused: place in the batch and reason, for each that was not.
    """

    latest: dict[str, tuple[int, Fix]] = field(default_factory=dict)
    accepted_count: int = 0
    refused: list[tuple[int, Refusal]] = field(default_factory=list)


class _Bounds(NamedTuple):
    """What one moment allows: the same for all of a batch."""

    latest_ms: float
    oldest_ms: float
    jitter_m: float
    max_speed_mps: float


def drivers_to_look_up(pings: Iterable[Ping]) -> list[str]:
    """The drivers of whom something may be known, each once."""
    driver_ids = list(dict.fromkeys([ping[0] for ping in pings]))
    return driver_ids if are_ids(driver_ids) else [each for each in driver_ids if is_id(each)]


def decide_batch(
    pings: Sequence[Ping], known: Mapping[str, Known], now_ms: int, settings: PositionSettings
) -> Decisions:
    """
    Decide every ping of a batch.

    Pings of one driver are taken in the order of their sequence, whatever
    their order in the batch, each against the one before.
    """
    decisions = Decisions()
    latest, refused = decisions.latest, decisions.refused
    bounds = _bounds(now_ms, settings)
    driver_ids = [ping[0] for ping in pings]
    are_good = are_ids(driver_ids)
    order: Iterable[tuple[int, Ping]] = enumerate(pings)
    memory: dict[str, Known] | None = None
    if len(set(driver_ids)) < len(driver_ids):
        # Sorting is stable: of equal sequences the first in the batch comes first.
        order = sorted(order, key=lambda each: each[1].sequence)
        # Only then does what becomes of one ping matter to another.
        known = memory = dict(known)
    for index, ping in order:
        driver_id = ping[0]
        fix = _decide(ping, known.get(driver_id), bounds, are_good or is_id(driver_id))
        if isinstance(fix, Refusal):
            refused.append((index, fix))
            continue
        latest[driver_id] = (index, fix)
        if memory is not None:
            memory[driver_id] = Known(fix.sequence, None if fix[5] is _OFFLINE else fix)
    decisions.accepted_count = len(pings) - len(refused)
    refused.sort()
    return decisions


def refuse_all_of(driver_ids: Collection[str], pings: Sequence[Ping], decisions: Decisions) -> None:
    """Somebody else was faster with these drivers: all that was accepted of them is stale."""
    if not driver_ids:
        return
    refused = {index for index, _ in decisions.refused}
    stale = [
        (index, Refusal.STALE)
        for index, ping in enumerate(pings)
        if ping[0] in driver_ids and index not in refused
    ]
    decisions.refused = sorted([*decisions.refused, *stale])
    decisions.accepted_count -= len(stale)


def decide_ping(
    ping: Ping, known: Known | None, now_ms: int, settings: PositionSettings
) -> Fix | Refusal:
    """Believe a ping, or say why not: the first reason in the order below."""
    return _decide(ping, known, _bounds(now_ms, settings), is_id(ping.driver_id))


def _bounds(now_ms: int, settings: PositionSettings) -> _Bounds:
    return _Bounds(
        now_ms + settings.future_seconds * 1000,
        now_ms - settings.memory_seconds * 1000,
        settings.jitter_m,
        settings.max_speed_mps,
    )


def _decide(ping: Ping, known: Known | None, bounds: _Bounds, has_id: bool) -> Fix | Refusal:
    driver_id, sequence, latitude, longitude, observed_ms, number = ping
    availability = _AVAILABILITIES.get(number)
    if (
        latitude is None
        or longitude is None
        or observed_ms is None
        or availability is None
        or not has_id
    ):
        return Refusal.MALFORMED
    if not is_on_earth(latitude, longitude):
        return Refusal.IMPOSSIBLE
    if observed_ms > bounds[0]:
        return Refusal.FUTURE
    if observed_ms < bounds[1]:
        return Refusal.TOO_OLD
    fix = new(Fix, (driver_id, sequence, latitude, longitude, observed_ms, availability))
    if known is None:
        return fix
    if sequence <= known[0]:
        return Refusal.STALE
    # Whoever goes offline is believed from anywhere: nobody is sent there.
    before = known[1]
    if before is not None and availability is not _OFFLINE and _is_teleport(before, fix, bounds):
        return Refusal.TELEPORT
    return fix


def _is_teleport(before: Fix, after: Fix, bounds: _Bounds) -> bool:
    # Nearly all of them: for these the way itself need not be worked out.
    at_most_m = moved_at_most_m(before[2], before[3], after[2], after[3])
    if at_most_m <= bounds.jitter_m:
        return False
    moved_m = distance_m(before.latitude, before.longitude, after.latitude, after.longitude)
    # A phone whose clock was set back has moved in no time, not in negative time.
    seconds = max(0, after.observed_ms - before.observed_ms) / 1000
    return moved_m > bounds.jitter_m + bounds.max_speed_mps * seconds
