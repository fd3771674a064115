"""
The life of a fault, and the promise that it is healed whatever happens.

    NEW -> SET_UP -> INJECTED -> TOOK_HOLD -> RECOVERED -> HEALED -> CLEAN
                                   hold

`guarded` is used with `with`: leaving the block recovers, waits until all is
healed, and cleans up, also when the block failed or was interrupted. A fault
that never took hold is no fault, so the wait for it raises.
"""

import enum
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol

# Between two looks at what watches have brought; looking costs nothing.
LOOK_SECONDS: Final = 0.2


class FaultError(RuntimeError):
    """The fault did not do what it should in time; the message says what was seen last."""


class Fault(Protocol):
    """One fault. Steps act, probes only look."""

    def set_up(self) -> None:
        """Note the state before. May raise FaultError when it is not fit for the fault."""

    def inject(self) -> None:
        """Do it."""

    def took_hold(self) -> str | None:
        """None once the fault is in force; until then, what is missing."""

    def hold(self) -> None:
        """
        Keep it up for as long as the plan says, or repeat it; most end by themselves.

        May raise FaultError; the fault is then healed.
        """

    def recover(self) -> None:
        """Take it back, as far as it does not end by itself. Repeatable."""

    def healed(self) -> str | None:
        """None once everything is as it should be; until then, what is missing."""

    def clean_up(self) -> None:
        """Remove what the fault left behind. Repeatable."""


class State(enum.IntEnum):
    """Where in its life a fault is."""

    NEW = 0
    SET_UP = 1
    INJECTED = 2
    TOOK_HOLD = 3
    RECOVERED = 4
    HEALED = 5
    CLEAN = 6


def wait_for(
    probe: Callable[[], str | None],
    seconds: float,
    what: str,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Look until the probe has nothing to complain of; raises FaultError with its last word."""
    end = clock() + seconds
    while (missing := probe()) is not None:
        if clock() >= end:
            raise FaultError(f"{what}: not within {seconds:.0f} s: {missing}")
        sleep(LOOK_SECONDS)


def slowly(_: float) -> None:
    """A `sleep` for `wait_for` whose every look starts a kubectl."""
    time.sleep(1.0)


class Guard:
    """Keeps a fault's steps in order, and heals exactly once."""

    def __init__(self, fault: Fault, wait: Callable[..., None] = wait_for) -> None:
        self._fault, self._wait = fault, wait
        self.state = State.NEW

    def set_up(self) -> None:
        """Step to SET_UP."""
        self._step(State.NEW)
        self._fault.set_up()
        self.state = State.SET_UP

    def inject(self) -> None:
        """Step to INJECTED; what fails half-way is healed as if it had been done."""
        self._step(State.SET_UP)
        self.state = State.INJECTED
        self._fault.inject()

    def wait_took_hold(self, seconds: float) -> None:
        """Step to TOOK_HOLD; raises FaultError when it does not."""
        self._step(State.INJECTED)
        self._wait(self._fault.took_hold, seconds, "the fault took hold")
        self.state = State.TOOK_HOLD

    def hold(self) -> None:
        """Keep the fault up; only after it took hold."""
        self._step(State.TOOK_HOLD)
        self._fault.hold()

    def heal(self, seconds: float) -> None:
        """Recover and wait until healed, from wherever the fault is. Repeatable."""
        if State.INJECTED <= self.state < State.RECOVERED:
            self._fault.recover()
            self.state = State.RECOVERED
        if self.state == State.RECOVERED:
            self._wait(self._fault.healed, seconds, "everything healed")
            self.state = State.HEALED

    def clean_up(self) -> None:
        """Step to CLEAN. Repeatable."""
        if State.NEW < self.state < State.CLEAN:
            self._fault.clean_up()
            self.state = State.CLEAN

    def _step(self, expected: State) -> None:
        if self.state != expected:
            raise RuntimeError(f"a fault in state {self.state.name} is not {expected.name}")


@contextmanager
def guarded(
    fault: Fault, healed_seconds: float, wait: Callable[..., None] = wait_for
) -> Iterator[Guard]:
    """A guard whose fault is healed and cleaned up when the block is left."""
    guard = Guard(fault, wait)
    try:
        yield guard
    finally:
        try:
            guard.heal(healed_seconds)
        finally:
            guard.clean_up()
