"""
A finished trip in one record, made from its versions: pure.

No call reads it: ListTrips and GetTrip tell of finished trips from `trips`. It is for
whoever asks the database what became of many trips, by rider or by driver; the
versions themselves stay the truth.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from hailstorm.trip.states import State


@dataclass(frozen=True, slots=True)
class Step:
    """One version of a trip, as far as its record is about it; words as stored."""

    version: int
    state: str
    driver_id: str | None
    end_reason: str | None
    occurred_at: dt.datetime


@dataclass(frozen=True, slots=True)
class Course:
    """
    How a finished trip went.

    Attributes:
        driver_id: who said yes, if anybody did.
        offers: how many drivers were asked.
        offered_at: as all others, when the trip first came there; None if never.
    """

    state: str
    driver_id: str | None
    end_reason: str | None
    version: int
    offers: int
    offered_at: dt.datetime | None
    matched_at: dt.datetime | None
    arriving_at: dt.datetime | None
    started_at: dt.datetime | None
    ended_at: dt.datetime


def course_of(steps: Sequence[Step]) -> Course:
    """The course of a trip whose versions `steps` are, in order, the last one final."""
    first: dict[str, dt.datetime] = {}
    for step in steps:
        first.setdefault(step.state, step.occurred_at)
    last = steps[-1]
    return Course(
        state=last.state,
        driver_id=last.driver_id,
        end_reason=last.end_reason,
        version=last.version,
        offers=sum(step.state == State.OFFERED for step in steps),
        offered_at=first.get(State.OFFERED),
        matched_at=first.get(State.MATCHED),
        arriving_at=first.get(State.ARRIVING),
        started_at=first.get(State.IN_PROGRESS),
        ended_at=last.occurred_at,
    )
