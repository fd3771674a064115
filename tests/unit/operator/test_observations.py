"""Tallies, histograms, and their way through a record."""

import json

import pytest

from hailstorm_operator.observations import (
    Second,
    Tally,
    median_ms,
    seconds_as_json,
    seconds_from_json,
    total,
)

EDGES = (10.0, 20.0, 50.0)


@pytest.mark.parametrize(
    ("histogram", "median"),
    [
        ((), None),
        ((0, 0), None),
        ((10,), 5.0),
        ((0, 10), 15.0),
        ((5, 0, 0, 5), 10.0),
        # Above the last edge nobody knows more than the edge.
        ((1, 0, 0, 9), 50.0),
    ],
)
def test_median_of_a_histogram(histogram: tuple[int, ...], median: float | None) -> None:
    assert median_ms(histogram, EDGES) == median


def test_sum_of_tallies_takes_the_longer_histogram() -> None:
    assert total([Tally(1, 1, 0, (1,)), Tally(2, 0, 1, (0, 0, 2))]) == Tally(3, 1, 1, (1, 0, 2))


def test_seconds_come_back_from_json_as_they_were() -> None:
    seconds = (Second(7, Tally(3, 1, 1, (0, 2, 1)), Tally(9)), Second(8, gap=True))
    assert seconds_from_json(json.loads(json.dumps(seconds_as_json(seconds)))) == seconds


def test_row_of_a_busy_second_is_small() -> None:
    # The record of a hold and a watch of ten minutes each stays below etcd's 1.5 MiB.
    busy = Second(
        1_800_000_000,
        Tally(30, 0, 0, (*[0] * 20, *[3] * 10)),
        Tally(120, 0, 0, (*[0] * 20, *[12] * 10)),
    )
    row = len(json.dumps(seconds_as_json([busy])))
    assert row < 260
    assert row * 1500 * 2 < 1_000_000
