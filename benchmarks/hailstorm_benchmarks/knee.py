"""
Where goodput stops following what is offered: pure, over the steps that were offered.

Good is what was answered in time. The knee is the highest rate before the first
at which too little of it was; a step in which the generator itself was late says
nothing about the server, and ends the search without an answer.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from hailstorm_benchmarks.figures import percentile
from hailstorm_loadtests.history import Call

# As benchmarks/overload.py: an answer later than the promise is none.
GOOD_SECONDS: Final = 0.25
# Of what is offered at the knee, this much is answered in time.
KNEE_SHARE: Final = 0.95
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
    """What became of wishes at one rate. Rates are a second, times in milliseconds."""

    offered: float
    good: float
    p99_ms: float
    lag_p99_ms: float
    wishes: int

    @property
    def is_good(self) -> bool:
        return self.good >= KNEE_SHARE * self.offered

    @property
    def is_believable(self) -> bool:
        return self.lag_p99_ms <= MAX_LAG_SECONDS * 1000


class NoKneeError(Exception):
    """The knee was not found; the message says why."""


def step_of(calls: Sequence[Call], method: str, began: float, seconds: float) -> Step:
    """
    Judge the wishes, by calls of `method`, that were due within `seconds` after `began`.

    A wish is an idempotency key: whoever was refused and taps again does not wish
    twice, and has waited since the first tap. Raises ValueError without any.
    """
    due: dict[str, float] = {}
    answered: dict[str, float] = {}
    for call in sorted(calls, key=lambda call: call.intended):
        if call.method == method and call.key is not None:
            due.setdefault(call.key, call.intended)
            if call.outcome == "ok":
                answered[call.key] = min(call.ended, answered.get(call.key, call.ended))
    mine = [key for key, intended in due.items() if 0 <= intended - began < seconds]
    waits = [answered[key] - due[key] if key in answered else UNANSWERED_SECONDS for key in mine]
    return Step(
        offered=len(mine) / seconds,
        good=sum(wait <= GOOD_SECONDS for wait in waits) / seconds,
        p99_ms=percentile(waits, 0.99) * 1000,
        # All calls: a generator that is late with others is late.
        lag_p99_ms=percentile([call.lag_seconds for call in calls], 0.99) * 1000,
        wishes=len(mine),
    )


def find_knee(offer: Callable[[float], Step], first: float, most: float) -> float:
    """
    The highest rate that is answered in time, within a factor of 1.2.

    Raises NoKneeError when the first rate is too much already, the last one is
    not enough, or the generator cannot keep up.
    """

    def holds(rate: float) -> bool:
        # Once more when it fails: the machine may have had its mind elsewhere.
        for _ in range(2):
            step = offer(rate)
            if not step.is_believable:
                raise NoKneeError(
                    f"the generator was {step.lag_p99_ms:.0f} ms late (p99) at {rate:.0f}/s"
                )
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
