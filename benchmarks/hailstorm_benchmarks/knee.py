"""
Where goodput stops following what is offered: pure, over the steps that were offered.

Good is who was told of a driver in time; an answer without one is OK on the wire and
gets nobody anywhere. At the knee that is a wish, from its first tap on. Past it most first
taps have to be refused whatever a server does, and a phone taps again: what a server gets
done there is told by the tap (`Step.goodput`). The knee is the highest rate before the first
at which too little was good. A step in which the generator itself was late, or in which there
were no drivers to be had, says nothing about the server, and ends the search without an
answer.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from hailstorm.trip.states import ACCEPTED, State
from hailstorm_benchmarks.figures import percentile
from hailstorm_loadtests.history import Call

# As benchmarks/overload.py: a driver later than the promise is none.
GOOD_SECONDS: Final = 0.25
# Of what is offered at the knee, this much is good.
KNEE_SHARE: Final = 0.95
# The driver said yes, now or a while ago (a repeated tap gives the trip as it stands).
MATCHED: Final = frozenset({*ACCEPTED, State.COMPLETED})
# Above this share of all answers, those without a driver say that the load had too few
# drivers, or that dispatch leaves the yes to them. A guess: less than half of what the
# knee forgives, so that they alone never make one; some riders stand where nobody is.
MAX_UNMATCHED_SHARE: Final = 0.02
# Above this the generator, not the server, decides when a call arrives. A guess: a
# fifth of the promise.
MAX_LAG_SECONDS: Final = 0.05
# What a call that was not answered counts for: the longest that a rider waits
# (Profile.write_deadline_seconds), however soon the refusal came.
UNANSWERED_SECONDS: Final = 5.0
# Each step over the one before, and the step between the last good and the first bad.
FACTOR: Final = 1.4


@dataclass(frozen=True)
class Step:
    """
    What became of wishes at one rate. Rates are a second, times in milliseconds.

    Attributes:
        good: wishes a second that had a driver in time, from their first tap on.
        goodput: taps a second that brought a driver in time, on wishes of which no tap was
            kept waiting: those before failed at once.
        p99_ms: until a driver was known; of all wishes but those in `unmatched`.
        answered: wishes, of all `wishes`, that were answered with OK.
        unmatched: of these, those that never had a driver, by the state in the answer.
    """

    offered: float
    good: float
    p99_ms: float
    lag_p99_ms: float
    wishes: int
    answered: int = 0
    unmatched: Mapping[str, int] = field(default_factory=dict)
    goodput: float = 0.0

    @property
    def is_good(self) -> bool:
        return self.good >= KNEE_SHARE * self.offered

    @property
    def doubt(self) -> str:
        """Why the step says nothing about the server; empty when it does."""
        if self.lag_p99_ms > MAX_LAG_SECONDS * 1000:
            return f"the generator was {self.lag_p99_ms:.0f} ms late (p99)"
        if sum(self.unmatched.values()) > MAX_UNMATCHED_SHARE * self.answered:
            told = ", ".join(f"{count} {state}" for state, count in sorted(self.unmatched.items()))
            why = (
                "drivers ran out"
                if set(self.unmatched) == {State.UNFULFILLED}
                else "only with dispatch's autoAccept is a driver known at once"
            )
            return f"of {self.answered} answers were {told}: {why}"
        return ""


class NoKneeError(Exception):
    """The knee was not found; the message says why."""


def step_of(calls: Sequence[Call], method: str, began: float, seconds: float) -> Step:
    """
    Judge the wishes, by calls of `method`, that were due within `seconds` after `began`.

    A wish is an idempotency key: whoever was refused and taps again does not wish
    twice, and has waited since the first tap. Raises ValueError without any.
    """
    due: dict[str, float] = {}
    matched: dict[str, float] = {}
    # What the last answer without a driver said.
    state: dict[str, str] = {}
    taps = sorted((call for call in calls if call.method == method), key=lambda c: c.intended)
    for call in taps:
        if call.key is not None:
            due.setdefault(call.key, call.intended)
            if _is_match(call):
                matched[call.key] = min(call.ended, matched.get(call.key, call.ended))
            elif call.outcome == "ok":
                state[call.key] = call.state or "without a state"
    mine = [key for key, intended in due.items() if 0 <= intended - began < seconds]
    if not mine:
        raise ValueError(f"no wishes: {method} was never due")
    unmatched = Counter(state[key] for key in mine if key in state and key not in matched)
    waits = [
        matched[key] - due[key] if key in matched else UNANSWERED_SECONDS
        for key in mine
        if key in matched or key not in state
    ]
    return Step(
        offered=len(mine) / seconds,
        good=sum(wait <= GOOD_SECONDS for wait in waits) / seconds,
        # Where every answer was without a driver, there is none.
        p99_ms=percentile(waits, 0.99) * 1000 if waits else math.nan,
        # All calls: a generator that is late with others is late.
        lag_p99_ms=percentile([call.lag_seconds for call in calls], 0.99) * 1000,
        wishes=len(mine),
        answered=sum(key in matched or key in state for key in mine),
        unmatched=unmatched,
        goodput=_taps_in_time(taps, began, seconds) / seconds,
    )


def _is_match(call: Call) -> bool:
    return call.outcome == "ok" and call.state in MATCHED


def _taps_in_time(taps: Sequence[Call], began: float, seconds: float) -> int:
    """How many taps, in order, brought a driver in time on a wish that was never kept waiting."""
    found = 0
    # Wishes that have a driver, or were kept waiting: nothing more of them counts.
    done: set[str] = set()
    for tap in taps:
        if tap.key is None or tap.key in done:
            continue
        # A slow tap that was given up may have made the trip that the next one is told of.
        is_late = tap.latency_seconds > GOOD_SECONDS
        is_due = 0 <= tap.intended - began < seconds
        found += _is_match(tap) and is_due and not is_late
        # With an answer the wish is served, or the request is there and waits from now on.
        if is_late or tap.outcome == "ok":
            done.add(tap.key)
    return found


def find_knee(offer: Callable[[float], Step], first: float, most: float) -> float:
    """
    The highest rate that is served in time, within a factor of 1.2.

    Raises NoKneeError when the first rate is too much already, the last one is
    not enough, or a step is in doubt.
    """

    def holds(rate: float) -> bool:
        # Once more when it fails: the machine may have had its mind elsewhere.
        for _ in range(2):
            step = offer(rate)
            if step.doubt:
                raise NoKneeError(f"at {rate:.0f}/s {step.doubt}")
            if step.is_good:
                return True
        return False

    if not holds(first):
        raise NoKneeError(f"{first:.0f} calls a second are too many already")
    rate = first
    while rate * FACTOR <= most:
        if not holds(rate * FACTOR):
            middle = rate * FACTOR**0.5
            return middle if holds(middle) else rate
        rate *= FACTOR
    raise NoKneeError(f"{rate:.0f} calls a second are not enough, and no more is offered")
