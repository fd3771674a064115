"""
Who is in the house: counts calls in flight, and shows surplus ones the door.

A bounded number of calls in flight is what keeps an overloaded server useful:
what cannot be served in time is refused before it costs anything, and told
when to come again. The same counts tell the drain when the house is empty.
"""

import math
import random
from collections.abc import Callable
from typing import Final

from hailstorm.runtime.clock import Clock
from hailstorm.runtime.errors import ResourceExhaustedError
from hailstorm.runtime.limits import FixedLimit, GradientLimit, Limit
from hailstorm.runtime.pace import GROWTH, LEAST, Pace
from hailstorm.runtime.priority import Priority
from hailstorm.runtime.process import LimitKind, ServerSettings

# Part of the limit that a class may fill, others' calls counted. A process at its
# greatest limit keeps a fifth for what was begun, and another for what begins.
SHARES: Final = {Priority.CRITICAL: 1.0, Priority.NORMAL: 0.8, Priority.SHEDDABLE: 0.6}
# While the limit is lowered it is 2 to 6 calls, and fifths of that tell classes
# apart by less than a call: every fifth call of a running trip was refused at
# 1.5 times the knee, with these one in a hundred (the model of the tests).
SHARES_UNDER_PRESSURE: Final = {
    Priority.CRITICAL: 1.0,
    Priority.NORMAL: 0.5,
    Priority.SHEDDABLE: 0.25,
}

# How far the gradient goes below what the highest class keeps. At 3 times the
# knee it served 45 % of that class instead of 34 % (the model of the tests).
LEAST_LIMIT_PART: Final = 0.25

# If all who were refused come back after the same time, they add more to the
# load the more of them there are; 1 / (part that is served) keeps it level.
LEAST_PUSHBACK_SECONDS: Final = 0.1
MOST_PUSHBACK_SECONDS: Final = 3.0
_PUSHBACK_STEP: Final = 1.25
# Weight of the last measurement's arrivals; ten a second, so it forgets in one.
_PUSHBACK_SMOOTHING: Final = 0.2

# Whether it is a stream, and its class: what is refused of one says nothing of the others.
_SORTS: Final = tuple((is_stream, each) for is_stream in (False, True) for each in Priority)

# Of a call that no pace counts.
NO_TICKET: Final = 0


class Admission:
    """
    Counts unary calls and streams, each against its own bound.

    They are apart because a stream may stay for an hour: counted together, the
    watchers of trips would keep out the riders.
    """

    def __init__(
        self,
        clock: Clock,
        max_concurrent: int,
        max_streams: int,
        limit: Limit | None = None,
        min_concurrent: int = 1,
        draw: Callable[[], float] = random.random,
        pace: Pace | None = None,
    ) -> None:
        """
        `limit` is at most `max_concurrent`, and that when left out.

        `min_concurrent` calls of the highest class are let in whatever it says. `pace` has
        a say in those that begin something.
        """
        self._clock = clock
        self._max_streams = max_streams
        self._limit = FixedLimit(max_concurrent) if limit is None else limit
        self._max_concurrent = max_concurrent
        self._min_concurrent = min_concurrent
        self._draw = draw
        self._pace = pace
        self.unary_in_flight = 0
        self.streams_open = 0
        self._most_in_flight = 0
        # By whether they are streams, and their class.
        self._arrived = dict.fromkeys(_SORTS, 0)
        self._refused = dict.fromkeys(_SORTS, 0)
        self._refused_part = dict.fromkeys(_SORTS, 0.0)
        self._last_arrival = clock.monotonic()

    @property
    def limit(self) -> float:
        """Unary calls that may be in flight now."""
        return self._limit.value

    @property
    def begin_limit(self) -> float:
        """Calls that begin something that may be in flight now, by how long they take."""
        return math.inf if self._pace is None else self._pace.limit

    @property
    def is_idle(self) -> bool:
        return self.unary_in_flight == 0 and self.streams_open == 0

    def quiet_seconds(self) -> float:
        """How long nobody has come, served or shed; 0 while somebody is in the house."""
        return self._clock.monotonic() - self._last_arrival if self.is_idle else 0.0

    def check(self, is_stream: bool, priority: Priority = Priority.CRITICAL) -> None:
        """
        Raise ResourceExhaustedError for a call that had better not come in.

        It is for the door, before anything is read of the call; whoever passes
        is not counted before `enter`.
        """
        self._last_arrival = self._clock.monotonic()
        self._arrived[is_stream, priority] += 1
        if is_stream:
            self._check_streams(priority)
            return
        room = self._room_of(priority) - self.unary_in_flight
        if self._pace is not None and priority is Priority.NORMAL:
            room = min(room, self._pace.limit - self._pace.in_flight)
        if room < 1 and (room <= 0 or self._draw() >= room):
            self._refuse_unary(priority)

    def enter(self, is_stream: bool, priority: Priority = Priority.CRITICAL) -> int:
        """
        Let a call in, or raise ResourceExhaustedError: the house may have filled meanwhile.

        Every `enter` that returns is followed by one `leave` with the ticket that it gave,
        whatever happens.
        """
        self._last_arrival = self._clock.monotonic()
        if is_stream:
            self._check_streams(priority)
            self.streams_open += 1
            return NO_TICKET
        # Without the chance for a fraction: that was drawn at the door.
        if self.unary_in_flight >= math.ceil(self._room_of(priority)):
            self._refuse_unary(priority)
        pace = self._pace if priority is Priority.NORMAL else None
        if pace is not None and pace.in_flight >= math.ceil(pace.limit):
            self._refuse_unary(priority)
        self.unary_in_flight += 1
        self._most_in_flight = max(self._most_in_flight, self.unary_in_flight)
        return NO_TICKET if pace is None else pace.begin()

    def leave(self, is_stream: bool, ticket: int = NO_TICKET, *, answered: bool = True) -> None:
        """Take note that a call that was let in has ended; `answered`: with OK."""
        if is_stream:
            self.streams_open -= 1
            return
        self.unary_in_flight -= 1
        if self._pace is not None and ticket != NO_TICKET:
            self._pace.end(ticket, answered=answered)

    def observe(self, wait_seconds: float) -> None:
        """Take in how long a call waits at the door now; ten times a second."""
        self._limit.observe(wait_seconds, self._most_in_flight)
        if self._pace is not None:
            self._pace.observe(wait_seconds)
        self._most_in_flight = self.unary_in_flight
        for sort in _SORTS:
            if arrived := self._arrived[sort]:
                part = min(1.0, self._refused[sort] / arrived)
                before = self._refused_part[sort]
                self._refused_part[sort] = before + _PUSHBACK_SMOOTHING * (part - before)
            else:
                self._refused_part[sort] *= 1 - _PUSHBACK_SMOOTHING
            self._arrived[sort] = self._refused[sort] = 0

    def pushback_seconds(self, priority: Priority, *, is_stream: bool = False) -> float:
        """When to come again: later, the more of the same class and kind are refused."""
        served = max(1 - self._refused_part[is_stream, priority], 1e-3)
        # In steps of a quarter, so that refusals are alike and need not be built anew.
        step = round(math.log(1 / served) / math.log(_PUSHBACK_STEP))
        return min(MOST_PUSHBACK_SECONDS, LEAST_PUSHBACK_SECONDS * _PUSHBACK_STEP**step)

    def _room_of(self, priority: Priority) -> float:
        limit = self._limit.value
        if priority is Priority.CRITICAL:
            return max(limit, self._min_concurrent)
        shares = SHARES if limit >= self._max_concurrent else SHARES_UNDER_PRESSURE
        return limit * shares[priority]

    def _check_streams(self, priority: Priority) -> None:
        if self.streams_open >= self._max_streams:
            self._refused[True, priority] += 1
            raise ResourceExhaustedError(
                f"{self._max_streams} streams are open; try again",
                reason="TOO_MANY_STREAMS",
                retry_after_seconds=self.pushback_seconds(priority, is_stream=True),
            )

    def _refuse_unary(self, priority: Priority) -> None:
        self._refused[False, priority] += 1
        raise ResourceExhaustedError(
            f"{self.unary_in_flight} calls are in flight; try again",
            reason="TOO_MANY_CALLS",
            retry_after_seconds=self.pushback_seconds(priority),
        )


def build_admission(settings: ServerSettings, clock: Clock) -> Admission:
    """The admission that the settings ask for."""
    limit: Limit
    if settings.limit is LimitKind.GRADIENT:
        limit = GradientLimit(
            # Further down than the highest class ever goes: what it may have is not
            # served while every place is taken by callers who only look.
            settings.min_concurrent * LEAST_LIMIT_PART,
            settings.max_concurrent,
            settings.max_wait_milliseconds / 1000,
        )
    else:
        limit = FixedLimit(settings.max_concurrent)
    pace = None
    if settings.begin_milliseconds:
        tolerated = settings.begin_milliseconds / 1000
        begun = GradientLimit(LEAST, settings.max_concurrent, tolerated, GROWTH)
        pace = Pace(clock, begun, tolerated)
    return Admission(
        clock,
        settings.max_concurrent,
        settings.max_streams,
        limit,
        # A fixed limit may be set below it.
        min(settings.min_concurrent, settings.max_concurrent),
        pace=pace,
    )
