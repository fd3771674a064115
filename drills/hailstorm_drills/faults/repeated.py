"""
A fault that comes several times in a row, each healed before the next.

The first is injected as any fault; the others come in the hold, so that a
drill of ten deploys has one baseline, one recovery, and the phases of any
other. Each has its mark. What goes wrong in one of them heals that one, and
the rest does not come.
"""

from collections.abc import Callable

from hailstorm_drills.faults.base import Fault
from hailstorm_drills.faults.stage import Stage
from hailstorm_drills.marks import Mark


class Repeated:
    """`make(n)` gives the n-th fault, counted from 1; `times` of them come."""

    def __init__(
        self,
        stage: Stage,
        make: Callable[[int], Fault],
        kind: str,
        name: Callable[[int], str],
        alongside: Callable[[int], None] = lambda _: None,
    ) -> None:
        """`alongside(n)` is done right after the n-th injection; it must not raise."""
        self._stage, self._make, self._kind, self._name = stage, make, kind, name
        self._alongside = alongside
        self._number = 1
        self._fault = make(1)
        self._mark: Mark | None = None

    def set_up(self) -> None:
        """Note the state before the first."""
        self._fault.set_up()

    def inject(self) -> None:
        """Do the one whose turn it is."""
        self._mark = self._stage.marks.add(self._kind, self._name(self._number))
        self._fault.inject()
        self._alongside(self._number)

    def took_hold(self) -> str | None:
        """Whether the one whose turn it is took hold."""
        return self._fault.took_hold()

    def hold(self) -> None:
        """The others, one after another; raises FaultError at the first that does not go."""
        p = self._stage.parameters
        self._fault.hold()
        while self._number < p.times:
            self._end()
            self._stage.watch_load(p.interval_seconds)
            self._number += 1
            self._fault = self._make(self._number)
            self._fault.set_up()
            self._stage.say(f"   {self._name(self._number)} ({self._number} of {p.times})")
            self.inject()
            self._stage.wait(
                self._fault.took_hold, p.took_hold_seconds, f"{self._name(self._number)} took hold"
            )
            self._fault.hold()

    def _end(self) -> None:
        """Heal the one under way."""
        self._fault.recover()
        self._stage.wait(
            self._fault.healed,
            self._stage.parameters.healed_seconds,
            f"{self._name(self._number)} is over",
        )
        self._fault.clean_up()
        self._close()

    def _close(self) -> None:
        if self._mark is not None and self._mark.until is None:
            self._stage.marks.close(self._mark)

    def recover(self) -> None:
        """Take the last one back, as far as it does not end by itself."""
        self._fault.recover()

    def healed(self) -> str | None:
        """Whether the last one has run its course."""
        missing = self._fault.healed()
        if missing is None:
            self._close()
        return missing

    def clean_up(self) -> None:
        """Remove what the last one left."""
        self._fault.clean_up()
