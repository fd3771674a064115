"""
What the drill did, and exactly when: one mark for each repetition of a fault.

A drill kills every ten seconds, or deploys ten times. Phases say when that
began and ended; marks say when each of them did, so that checkers can ask of
every single one what users felt, and the page can draw it.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

KILL: Final = "kill"
DEPLOY: Final = "deploy"


@dataclass
class Mark:
    """One thing that the drill did. Times are epoch seconds."""

    kind: str
    what: str
    at: float
    # When it had run its course; None when that was not seen.
    until: float | None = None
    figures: dict[str, Any] = field(default_factory=dict)


@dataclass
class Marks:
    """All of a drill, in order."""

    clock: Callable[[], float] = time.time
    found: list[Mark] = field(default_factory=list)

    def add(self, kind: str, what: str, **figures: Any) -> Mark:
        """A mark of this moment; call it right after the thing was done."""
        mark = Mark(kind, what, self.clock(), figures=figures)
        self.found.append(mark)
        return mark

    def close(self, mark: Mark, **figures: Any) -> None:
        """The thing has run its course."""
        mark.until = self.clock()
        mark.figures.update(figures)

    def as_json(self) -> list[dict[str, Any]]:
        """For marks.json."""
        return [vars(mark) for mark in self.found]


def read_marks(found: Sequence[Mapping[str, Any]]) -> tuple[Mark, ...]:
    """Read back what `as_json` wrote."""
    return tuple(Mark(**mark) for mark in found)


def of_kind(marks: Sequence[Mark], kind: str) -> list[Mark]:
    """The marks of one kind, in order."""
    return [mark for mark in marks if mark.kind == kind]
