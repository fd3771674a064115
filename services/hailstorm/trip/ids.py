"""
Names for new trips: UUIDs of version 7, made here and never by a caller.

Their first 48 bits are the time, so that new trips lie side by side in the
primary key's index instead of touching a page each.
"""

import secrets
import uuid
from typing import Final

_RANDOM_BITS: Final = 74


def new_trip_id(now: float) -> str:
    """A new name; `now` is in seconds since 1970 (RFC 9562, section 5.7)."""
    random = secrets.randbits(_RANDOM_BITS)
    high, low = random >> 62, random & ((1 << 62) - 1)
    milliseconds = int(now * 1000) & ((1 << 48) - 1)
    return str(uuid.UUID(int=milliseconds << 80 | 7 << 76 | high << 64 | 2 << 62 | low))
