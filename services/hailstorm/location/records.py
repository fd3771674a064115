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

from hailstorm.location.positions import Availability, Fix, Known

# Digits of 2^64; also the length that the Lua script compares.
ORDER_CHARACTERS: Final = 20
_ORDER_OFFSET: Final = 2**63


def encode_member(fix: Fix) -> str:
    """The index member of a position; seven decimals are a centimetre."""
    return (
        f"{fix.driver_id}|{fix.latitude:.7f}|{fix.longitude:.7f}|{fix.observed_ms}|{fix.sequence}"
    )


def decode_member(member: str, availability: Availability = Availability.AVAILABLE) -> Fix:
    """The position that a member carries. Raises ValueError for anything else."""
    driver_id, latitude, longitude, observed_ms, sequence = member.split("|")
    return Fix(
        driver_id, int(sequence), float(latitude), float(longitude), int(observed_ms), availability
    )


def encode_record(fix: Fix, cell: int) -> str:
    """The record of a position; of an offline driver only the sequence is kept."""
    is_offline = fix.availability is Availability.OFFLINE
    member = "" if is_offline else encode_member(fix)
    order = f"{fix.sequence + _ORDER_OFFSET:0{ORDER_CHARACTERS}d}"
    return f"{order}|{fix.availability:d}|{cell:x}|{member}"


def decode_record(record: bytes) -> Known:
    """What a record says. Raises ValueError for anything else."""
    order, availability, _, member = record.decode().split("|", 3)
    sequence = int(order) - _ORDER_OFFSET
    if not member:
        return Known(sequence, None)
    return Known(sequence, decode_member(member, Availability(int(availability))))


def indexed_member(record: str) -> tuple[int, str] | None:
    """The cell and the member that stand in the index for a record; None when none does."""
    _, availability, cell, member = record.split("|", 3)
    if int(availability) != Availability.AVAILABLE:
        return None
    return int(cell, 16), member
