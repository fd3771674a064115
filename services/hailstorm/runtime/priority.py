"""
How much a call matters: who is refused first when not everybody can be served.

Three classes, because two cannot keep both a running transaction and a new one
in front of somebody who only looks, and more than three nobody can rank (the
four of the SRE book, chapter "Handling Overload", without its batch class).
The class travels with a call: what is done on behalf of an important call is
important, whatever the called method is worth by itself.
"""

import enum
from typing import Final

# Believed as it comes; whoever faces the outside must take it off.
PRIORITY_KEY: Final = "x-hailstorm-priority"


class Priority(enum.IntEnum):
    """
    The greater, the later refused.

    CRITICAL carries on what was begun, and somebody waits for it. NORMAL begins
    something. SHEDDABLE is only looked at, and is asked again in a moment.
    """

    SHEDDABLE = 0
    NORMAL = 1
    CRITICAL = 2

    @property
    def word(self) -> str:
        """The class in metadata and in metrics."""
        return self.name.lower()


PRIORITIES_BY_WORD: Final = {priority.word: priority for priority in Priority}
