"""What Postgres reads arrays from, and what it could not read."""

import datetime as dt

import pytest

from hailstorm.trip.repository.arrays import texts


def test_values_are_the_text_that_postgres_reads() -> None:
    moment = dt.datetime(2026, 11, 27, 12, 30, 0, 123456, tzinfo=dt.UTC)
    given = ["it's, a \\ {word}", -7, 2**62, moment, b"\x00\xff", b"", None]
    assert texts(given) == [
        "it's, a \\ {word}",
        "-7",
        "4611686018427387904",
        "2026-11-27T12:30:00.123456+00:00",
        "\\x00ff",
        "\\x",
        None,
    ]


def test_nothing_is_written_as_its_repr() -> None:
    with pytest.raises(TypeError, match="bytearray has no text"):
        texts([bytearray(b"answer")])  # type: ignore[list-item]
