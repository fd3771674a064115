"""
Checks of request fields that collect every problem before they refuse.

A caller who is told one field at a time needs as many deploys as it has
mistakes. Checks return the value or None and go on; `raise_if_any` comes last,
so a handler reads as a list of its fields and then as work on good values.
"""

import math
import re
from collections.abc import Sequence, Sized
from typing import Any, Final, Protocol

from hailstorm.runtime.errors import FieldViolation, InvalidArgumentError

# Ids end up in keys, logs and URLs: nothing in them may need quoting.
ID_PATTERN: Final = re.compile(r"[A-Za-z0-9_.:\-]{1,64}")
_ID_LENGTH: Final = 64
_ID_BYTES: Final = bytes(byte for byte in range(128) if ID_PATTERN.fullmatch(chr(byte)))
IDEMPOTENCY_KEY_PATTERN: Final = re.compile(r"[A-Za-z0-9_.:\-]{8,64}")


class Point(Protocol):
    """Anything that is a place on earth, for instance a LatLng."""

    @property
    def latitude(self) -> float: ...
    @property
    def longitude(self) -> float: ...


def is_id(text: str) -> bool:
    """Whether `text` is 1 to 64 characters of letters, digits and `_ . : -`."""
    return ID_PATTERN.fullmatch(text) is not None


def are_ids(texts: Sequence[str]) -> bool:
    """
    Whether all of `texts` are ids; as `is_id` of each, at a third of the price.

    For batches, whose callers look at each only when this says that one is wrong.
    """
    joined = "".join(texts)
    return (
        joined.isascii()
        and not joined.encode().translate(None, _ID_BYTES)
        and all(texts)
        and max(map(len, texts), default=0) <= _ID_LENGTH
    )


def is_on_earth(latitude: float, longitude: float) -> bool:
    """Whether the degrees are numbers within -90..90 and -180..180; NaN is not."""
    return -90.0 <= latitude <= 90.0 and -180.0 <= longitude <= 180.0


class Violations:
    """
    The wrong fields of one request.

    `field` is always the path of the field in the request message, as in
    `pickup.latitude` or `positions[3].driver_id`.
    """

    def __init__(self) -> None:
        self._found: list[FieldViolation] = []

    def add(self, field: str, description: str) -> None:
        """Note that `field` is wrong; `description` says what is right."""
        self._found.append(FieldViolation(field, description))

    def raise_if_any(self) -> None:
        """Raise InvalidArgumentError naming all that was found, if anything was."""
        if self._found:
            raise InvalidArgumentError(self._found)

    def identifier(self, field: str, text: str) -> str:
        """Check an id: 1 to 64 characters of letters, digits and `_ . : -`."""
        if not text:
            self.add(field, "is required")
        elif not is_id(text):
            self.add(field, "must be 1 to 64 characters of A-Z a-z 0-9 _ . : -")
        return text

    def idempotency_key(self, field: str, text: str) -> str:
        """Check an idempotency key: as an id, with at least 8 characters."""
        if not text:
            self.add(field, "is required; make it once per user action, outside any retry loop")
        elif IDEMPOTENCY_KEY_PATTERN.fullmatch(text) is None:
            self.add(field, "must be 8 to 64 characters of A-Z a-z 0-9 _ . : -")
        return text

    def point(self, field: str, message: Any) -> None:
        """Check the LatLng field `field` of `message`: present, finite and on earth."""
        if not message.HasField(field):
            self.add(field, "is required")
            return
        point: Point = getattr(message, field)
        for name, degrees, limit in (
            ("latitude", point.latitude, 90.0),
            ("longitude", point.longitude, 180.0),
        ):
            if not math.isfinite(degrees):
                self.add(f"{field}.{name}", "must be a finite number")
            elif abs(degrees) > limit:
                self.add(f"{field}.{name}", f"must be between -{limit:.0f} and {limit:.0f} degrees")

    def enumeration(self, field: str, value: int, kind: Any) -> int:
        """Check a value of the proto enum wrapper `kind`: known, and not UNSPECIFIED (0)."""
        if value == 0:
            self.add(field, "is required")
        elif value not in kind.values():
            self.add(field, f"{value} is not a {kind.DESCRIPTOR.name}")
        return value

    def size(self, field: str, items: Sized, low: int, high: int) -> None:
        """Check that a repeated field holds `low` to `high` items."""
        if not low <= len(items) <= high:
            self.add(field, f"must hold {low} to {high} items; it holds {len(items)}")

    def between(self, field: str, value: float, low: float, high: float) -> float:
        """Check a number, both bounds included; NaN is refused."""
        if not low <= value <= high:
            self.add(field, f"must be between {low:,} and {high:,}")
        return value
