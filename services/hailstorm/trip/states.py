"""
The states of a trip, and every move between them, as one table.

    REQUESTED ──offer──► OFFERED ──accept──► MATCHED ──approach──► ARRIVING ──start──► IN_PROGRESS
        ▲                  │  │                 │                     │                    │
        └──decline, expire─┘  │                 │                     │                 complete
                              │                 │                     │                    ▼
    REQUESTED, OFFERED ──abandon──► UNFULFILLED │                     │                COMPLETED
    REQUESTED, OFFERED, MATCHED, ARRIVING ──────┴──cancel─────────────┴──► CANCELLED

What is not in the table cannot happen. The sets below are what the partial
indexes of the schema are built on; a test holds the two together.
"""

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final


class State(enum.StrEnum):
    """Where a trip stands; the value is the word that the store keeps."""

    REQUESTED = "REQUESTED"
    OFFERED = "OFFERED"
    MATCHED = "MATCHED"
    ARRIVING = "ARRIVING"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    CANCELLED = "CANCELLED"
    UNFULFILLED = "UNFULFILLED"


class Move(enum.StrEnum):
    """What takes a trip from one state to the next; kept in its history."""

    REQUEST = "REQUEST"
    OFFER = "OFFER"
    ACCEPT = "ACCEPT"
    DECLINE = "DECLINE"
    EXPIRE = "EXPIRE"
    APPROACH = "APPROACH"
    START = "START"
    COMPLETE = "COMPLETE"
    CANCEL = "CANCEL"
    ABANDON = "ABANDON"


# REQUEST makes a trip out of nothing, so it starts from no state.
TABLE: Final[Mapping[tuple[State, Move], State]] = MappingProxyType(
    {
        (State.REQUESTED, Move.OFFER): State.OFFERED,
        (State.REQUESTED, Move.CANCEL): State.CANCELLED,
        (State.REQUESTED, Move.ABANDON): State.UNFULFILLED,
        (State.OFFERED, Move.ACCEPT): State.MATCHED,
        (State.OFFERED, Move.DECLINE): State.REQUESTED,
        (State.OFFERED, Move.EXPIRE): State.REQUESTED,
        (State.OFFERED, Move.CANCEL): State.CANCELLED,
        (State.OFFERED, Move.ABANDON): State.UNFULFILLED,
        (State.MATCHED, Move.APPROACH): State.ARRIVING,
        (State.MATCHED, Move.CANCEL): State.CANCELLED,
        (State.ARRIVING, Move.START): State.IN_PROGRESS,
        (State.ARRIVING, Move.CANCEL): State.CANCELLED,
        (State.IN_PROGRESS, Move.COMPLETE): State.COMPLETED,
    }
)

# A driver has at most one trip in one of these (invariant I1).
LIVE: Final = frozenset({State.OFFERED, State.MATCHED, State.ARRIVING, State.IN_PROGRESS})
# The driver said yes (invariant I2 counts these).
ACCEPTED: Final = frozenset({State.MATCHED, State.ARRIVING, State.IN_PROGRESS})
FINAL: Final = frozenset({State.COMPLETED, State.CANCELLED, State.UNFULFILLED})
# No driver is bound in these.
UNBOUND: Final = frozenset({State.REQUESTED, State.UNFULFILLED})


def next_state(state: State, move: Move) -> State | None:
    """The state that `move` leads to, or None where the table has no such move."""
    return TABLE.get((state, move))
