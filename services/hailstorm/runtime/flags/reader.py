"""
What a decision sees of flags.

A reader asks each time it decides, and gives the value that holds when nobody
has said anything: a flag that cannot be read must not stop a trip.
"""

from collections.abc import Mapping
from typing import Protocol


class Flags(Protocol):
    """
    What a decision asks. Never raises and never waits.

    `context` narrows a flag down, for instance `cell="8a2a1072b59ffff"`; a flag
    without a rule for that context has its general value.
    """

    def boolean(self, name: str, default: bool, **context: str) -> bool:
        """The flag's value, or `default` where nothing is said of it."""
        ...

    def string(self, name: str, default: str, **context: str) -> str:
        """The same for a flag with more than two values."""
        ...


class FixedFlags:
    """Values that stay as they are: for tests, and for tools without a source of flags."""

    def __init__(self, values: Mapping[str, bool | str] | None = None) -> None:
        self.values = dict(values or {})

    def boolean(self, name: str, default: bool, **_context: str) -> bool:
        value = self.values.get(name, default)
        return value if isinstance(value, bool) else default

    def string(self, name: str, default: str, **_context: str) -> str:
        value = self.values.get(name, default)
        return value if isinstance(value, str) else default
