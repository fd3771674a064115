"""
A control arm: what would have happened without what the drill is about.

It runs beside the drill, with load of its own, and is judged by nobody: a
control that cannot begin, or breaks, says so, and the drill's own verdict
stands. So none of its methods raises.
"""

from typing import Any, Protocol


class Control(Protocol):
    """Runs from before the baseline until the load is over."""

    def start(self) -> None:
        """Begin; its load runs from here on. Repeatable."""

    def roll(self) -> None:
        """Do to it what the fault does to the release, and do not wait."""

    def finish(self) -> dict[str, Any]:
        """
        End it and say what was seen.

        {offered, ok, failed, codes, rolls, ...}, or {problem} when it says nothing.
        """

    def sweep(self) -> None:
        """Take away what it left in the cluster. Repeatable."""
