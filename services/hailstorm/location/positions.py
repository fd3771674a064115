"""
Which positions to believe: pure, decided from the ping, the last one and the time.

Phones repeat, delay and invent. What is refused here would otherwise send a
rider a car that is not there; each refusal says why, since a fleet whose
clocks are wrong looks exactly like a fleet that has gone home.
"""

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from hailstorm.location.geometry import distance_m, moved_at_most_m
from hailstorm.location.settings import PositionSettings
from hailstorm.runtime.violations import is_id, is_on_earth


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
# make, and a batch makes hundreds.
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


def drivers_to_look_up(pings: Iterable[Ping]) -> list[str]:
    """The drivers of whom something may be known, each once."""
    return list(dict.fromkeys(ping.driver_id for ping in pings if is_id(ping.driver_id)))


def decide_batch(
    pings: Sequence[Ping], known: Mapping[str, Known], now_ms: int, settings: PositionSettings
) -> Decisions:
    """
    Decide every ping of a batch.

    Pings of one driver are taken in the order of their sequence, whatever
    their order in the batch, each against the one before.
    """
    decisions = Decisions()
    memory = dict(known)
    # Sorting is stable: of equal sequences the first in the batch comes first.
    for index, ping in sorted(enumerate(pings), key=lambda each: each[1].sequence):
        fix = decide_ping(ping, memory.get(ping.driver_id), now_ms, settings)
        if isinstance(fix, Refusal):
            decisions.refused.append((index, fix))
            continue
        is_offline = fix.availability is _OFFLINE
        memory[fix.driver_id] = Known(fix.sequence, None if is_offline else fix)
        decisions.latest[fix.driver_id] = (index, fix)
        decisions.accepted_count += 1
    decisions.refused.sort()
    return decisions


def decide_ping(
    ping: Ping, known: Known | None, now_ms: int, settings: PositionSettings
) -> Fix | Refusal:
    """Believe a ping, or say why not: the first reason in the order below."""
    driver_id, sequence, latitude, longitude, observed_ms, number = ping
    availability = _AVAILABILITIES.get(number)
    if (
        latitude is None
        or longitude is None
        or observed_ms is None
        or availability is None
        or not is_id(driver_id)
    ):
        return Refusal.MALFORMED
    if not is_on_earth(latitude, longitude):
        return Refusal.IMPOSSIBLE
    if observed_ms > now_ms + settings.future_seconds * 1000:
        return Refusal.FUTURE
    if observed_ms < now_ms - settings.memory_seconds * 1000:
        return Refusal.TOO_OLD
    fix = Fix(driver_id, sequence, latitude, longitude, observed_ms, availability)
    if known is None:
        return fix
    if sequence <= known.sequence:
        return Refusal.STALE
    # Whoever goes offline is believed from anywhere: nobody is sent there.
    is_offline = availability is _OFFLINE
    if known.fix is not None and not is_offline and _is_teleport(known.fix, fix, settings):
        return Refusal.TELEPORT
    return fix


def _is_teleport(before: Fix, after: Fix, settings: PositionSettings) -> bool:
    # Nearly all of them: for these the way itself need not be worked out.
    if moved_at_most_m(before.latitude, before.longitude, after.latitude, after.longitude) <= (
        settings.jitter_m
    ):
        return False
    moved_m = distance_m(before.latitude, before.longitude, after.latitude, after.longitude)
    # A phone whose clock was set back has moved in no time, not in negative time.
    seconds = max(0, after.observed_ms - before.observed_ms) / 1000
    return moved_m > settings.jitter_m + settings.max_speed_mps * seconds
