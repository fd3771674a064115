"""
How a driver is written in Redis: as a record, and as a member of the index.

    member   driver-1|40.7590000|-73.9845000|1760000000000|17
    record   09223372036854775825|1|892a100d2dbffff|<member>

A member carries the whole position, so that a search needs no second look-up;
the record keeps the member that is in the index, so that the next ping can take
exactly that one out. Lua compares the first twenty characters of two records:
sequences are 64 bits wide and Lua's numbers are not, but text of equal length
compares as its number does.
"""

from typing import Final

from hailstorm.location.positions import Availability, Fix, Known, new

# Digits of 2^64; also the length that the Lua script compares.
ORDER_CHARACTERS: Final = 20
_ORDER_OFFSET: Final = 2**63
_DIGITS: Final = {availability: str(availability.value) for availability in Availability}
_BY_DIGIT: Final = {digit: availability for availability, digit in _DIGITS.items()}
_OFFLINE: Final = Availability.OFFLINE
_AVAILABLE: Final = _DIGITS[Availability.AVAILABLE]


def encode_member(fix: Fix) -> str:
    """The index member of a position; seven decimals are a centimetre."""
    driver_id, sequence, latitude, longitude, observed_ms, _ = fix
    return f"{driver_id}|{latitude:.7f}|{longitude:.7f}|{observed_ms}|{sequence}"


def decode_member(member: str, availability: Availability = Availability.AVAILABLE) -> Fix:
    """The position that a member carries. Raises ValueError for anything else."""
    return _fix(member.split("|"), availability)


def encode_record(fix: Fix, cell: int, member: str) -> str:
    """The record of a position, with its member; of an offline driver only the sequence is kept."""
    _, sequence, _, _, _, availability = fix
    kept = "" if availability is _OFFLINE else member
    order = str(sequence + _ORDER_OFFSET).zfill(ORDER_CHARACTERS)
    return f"{order}|{_DIGITS[availability]}|{cell:x}|{kept}"


def decode_record(record: str) -> Known:
    """What a record says. Raises ValueError for anything else."""
    return read_record(record)[0]


def indexed_member(record: str) -> tuple[int, str] | None:
    """The cell and the member that stand in the index for a record; None when none does."""
    _, availability, cell, member = record.split("|", 3)
    if availability != _AVAILABLE:
        return None
    return int(cell, 16), member


def read_record(record: str) -> tuple[Known, tuple[int, str] | None]:
    """Both of the above at once, for the many of a batch. Raises ValueError for anything else."""
    order, digit, cell, member = record.split("|", 3)
    if not member:
        return Known(int(order) - _ORDER_OFFSET, None), None
    fix = _fix(member.split("|"), _BY_DIGIT[digit])
    indexed = (int(cell, 16), member) if digit == _AVAILABLE else None
    return new(Known, (fix[1], fix)), indexed


def _fix(fields: list[str], availability: Availability) -> Fix:
    driver_id, latitude, longitude, observed_ms, sequence = fields
    position = float(latitude), float(longitude), int(observed_ms)
    return new(Fix, (driver_id, int(sequence), *position, availability))
