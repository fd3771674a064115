"""
A grpc.aio server on one core, in simulated time, under calls that come when they come.

It has what decides an overload there. Calls wait in gRPC's core, in a line for
each method, first come first served; each turn of the event loop takes one of
each line and lets every call in progress do one step; a refusal costs a fifth
of a small call. The figures are those of the location service on the machine of
docs/decisions/overload-shows-at-the-door.md.
"""

import collections
import random
from dataclasses import dataclass, field

from hailstorm.runtime.admission import Admission
from hailstorm.runtime.door import PERIOD_SECONDS, TIMEOUT_SECONDS
from hailstorm.runtime.errors import ResourceExhaustedError
from hailstorm.runtime.priority import Priority

ACCEPT_SECONDS = 0.00006
REFUSE_SECONDS = 0.00006
STEP_SECONDS = 0.00012
STEPS = 4
DEADLINE_SECONDS = 0.25
# As long as the scheduler lets somebody else run at a time, and some more.
STOLEN_SECONDS = 0.02
# What one core serves when nothing is refused, in calls a second.
KNEE = 1 / (ACCEPT_SECONDS + STEPS * STEP_SECONDS)
# A call that takes ten times as long: a request for a trip, which asks two others.
LONG_STEP_SECONDS = 10 * STEP_SECONDS
LONG_KNEE = 1 / (ACCEPT_SECONDS + STEPS * LONG_STEP_SECONDS)


class SimulatedClock:
    """Time that the model moves."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("a simulation does not sleep")


@dataclass
class Call:
    """One call."""

    came_at: float
    method: str
    priority: Priority
    steps_left: int = STEPS
    asleep_until: float = 0.0


@dataclass
class Knock:
    """The process's own call, answered at the door."""

    came_at: float
    answered_at: float | None = None


@dataclass
class Outcome:
    """What became of the calls, by class, and how the limit went."""

    offered: collections.Counter[Priority] = field(default_factory=collections.Counter)
    good: collections.Counter[Priority] = field(default_factory=collections.Counter)
    refused: collections.Counter[Priority] = field(default_factory=collections.Counter)
    limits: list[float] = field(default_factory=list)

    def goodput(self, seconds: float) -> float:
        """Calls a second that were answered in time."""
        return self.good.total() / seconds

    def part(self, priority: Priority) -> float:
        """Part of a class that was answered in time."""
        return self.good[priority] / self.offered[priority]


class AioServer:
    """The server; `admission` is the real one, on the model's clock."""

    def __init__(
        self,
        admission: Admission,
        clock: SimulatedClock,
        seed: int,
        step_seconds: float = STEP_SECONDS,
    ) -> None:
        self._step_seconds = step_seconds
        self._admission = admission
        self._clock = clock
        self._random = random.Random(seed)
        self._lines: dict[str, collections.deque[Call | Knock]] = {}
        self._inside: list[Call] = []
        self._knocks: dict[str, Knock] = {}
        self._called: set[str] = set()
        self._next_look = PERIOD_SECONDS

    def run(
        self,
        seconds: float,
        rate: float,
        mix: dict[tuple[str, Priority], float],
        *,
        store_seconds: float = 0.0005,
        stolen: float = 0.0,
    ) -> Outcome:
        """
        Offer `rate` calls a second for a while; what became of them.

        `mix` has the share of each method and class.
        Each call waits for a store once. `stolen` is the part of the time in
        which somebody else has the core, for STOLEN_SECONDS each time.
        """
        outcome = Outcome()
        clock = self._clock
        between = STOLEN_SECONDS * (1 - stolen) / stolen if stolen else seconds
        theft = clock.time + between
        end = clock.time + seconds
        classes, weights = list(mix), list(mix.values())
        due = clock.time + self._random.expovariate(rate)
        while clock.time < end:
            while due <= clock.time:
                method, priority = self._random.choices(classes, weights)[0]
                outcome.offered[priority] += 1
                self._line(method).append(Call(due, method, priority))
                due += self._random.expovariate(rate)
            if clock.time >= self._next_look:
                self._look(outcome)
                self._next_look = clock.time + PERIOD_SECONDS
            if clock.time >= theft:
                clock.time += STOLEN_SECONDS
                theft = clock.time + self._random.expovariate(1 / between)
            before = clock.time
            self._accept(outcome)
            self._advance(outcome, store_seconds)
            if clock.time == before:
                sleepers = [call.asleep_until for call in self._inside]
                clock.time = max(before + 1e-6, min([due, self._next_look, end, *sleepers]))
        return outcome

    def _line(self, method: str) -> "collections.deque[Call | Knock]":
        return self._lines.setdefault(method, collections.deque())

    def _accept(self, outcome: Outcome) -> None:
        for line in self._lines.values():
            while line:
                call = line.popleft()
                if isinstance(call, Knock):
                    self._clock.time += ACCEPT_SECONDS + REFUSE_SECONDS
                    call.answered_at = self._clock.time
                    break
                if self._clock.time - call.came_at > DEADLINE_SECONDS:
                    # The core drops what is out of time; the loop never hears of it.
                    continue
                self._clock.time += ACCEPT_SECONDS
                self._called.add(call.method)
                try:
                    self._admission.check(False, call.priority)
                    self._admission.enter(False, call.priority)
                    self._inside.append(call)
                except ResourceExhaustedError:
                    self._clock.time += REFUSE_SECONDS
                    outcome.refused[call.priority] += 1
                break

    def _advance(self, outcome: Outcome, store_seconds: float) -> None:
        for call in [c for c in self._inside if c.asleep_until <= self._clock.time]:
            self._clock.time += self._step_seconds
            call.steps_left -= 1
            if call.steps_left == STEPS // 2:
                call.asleep_until = self._clock.time + store_seconds
            if call.steps_left > 0:
                continue
            self._inside.remove(call)
            self._admission.leave(False)
            if self._clock.time - call.came_at <= DEADLINE_SECONDS:
                outcome.good[call.priority] += 1

    def _look(self, outcome: Outcome) -> None:
        wait = 0.0
        for method, knock in list(self._knocks.items()):
            if knock.answered_at is not None:
                del self._knocks[method]
            wait = max(wait, (knock.answered_at or self._clock.time) - knock.came_at)
        self._admission.observe(min(wait, TIMEOUT_SECONDS))
        outcome.limits.append(self._admission.limit)
        for method in sorted(self._called - self._knocks.keys()):
            knock = self._knocks[method] = Knock(self._clock.time)
            self._line(method).append(knock)
        self._called.clear()
