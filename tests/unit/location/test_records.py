"""What is written to Redis can be read again, and sorts as it must."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hailstorm.location.positions import Availability, Fix, Known
from hailstorm.location.records import (
    ORDER_CHARACTERS,
    decode_member,
    decode_record,
    encode_member,
    encode_record,
    indexed_member,
)

sequences = st.integers(-(2**63), 2**63 - 1)
fixes = st.builds(
    Fix,
    driver_id=st.from_regex(r"[A-Za-z0-9_.:\-]{1,64}", fullmatch=True),
    sequence=sequences,
    # Seven decimals are kept.
    latitude=st.integers(-900_000_000, 900_000_000).map(lambda n: n / 1e7),
    longitude=st.integers(-1_800_000_000, 1_800_000_000).map(lambda n: n / 1e7),
    observed_ms=st.integers(1, 253_402_300_799_999),
    availability=st.sampled_from([Availability.AVAILABLE, Availability.BUSY]),
)


@given(fixes)
def test_record_reads_as_it_was_written(fix: Fix) -> None:
    assert decode_record(encode_record(fix, 1, encode_member(fix))) == Known(fix.sequence, fix)
    assert decode_member(encode_member(fix), fix.availability) == fix


@given(sequences, sequences)
def test_records_sort_like_their_sequences(one: int, other: int) -> None:
    def head(sequence: int) -> str:
        fix = Fix("d", sequence, 0, 0, 1, Availability.AVAILABLE)
        text = encode_record(fix, 1, encode_member(fix))
        assert text[ORDER_CHARACTERS] == "|"
        return text[:ORDER_CHARACTERS]

    assert (head(one) >= head(other)) is (one >= other)


def test_offline_record_keeps_the_sequence_only() -> None:
    fix = Fix("driver-1", 5, 40.75, -73.98, 1, Availability.OFFLINE)
    record = encode_record(fix, 0x892A100D2C3FFFF, encode_member(fix))
    assert decode_record(record) == Known(5, None)
    assert "driver-1" not in record
    assert indexed_member(record) is None


@pytest.mark.parametrize("availability", [Availability.AVAILABLE, Availability.BUSY])
def test_only_available_drivers_stand_in_the_index(availability: Availability) -> None:
    fix = Fix("driver-1", 5, 40.75, -73.98, 1, availability)
    record = encode_record(fix, 0x892A100D2C3FFFF, encode_member(fix))
    expected = (0x892A100D2C3FFFF, encode_member(fix))
    assert indexed_member(record) == (expected if availability is Availability.AVAILABLE else None)
