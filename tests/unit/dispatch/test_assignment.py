"""The solver against scipy's, which costs too much memory for a service."""

import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from hailstorm.dispatch.assignment import assign

Rows = list[list[tuple[int, float]]]


@st.composite
def problems(draw: st.DrawFn) -> Rows:
    """Up to 12 rows over 10 columns; whole costs, so that ties are many and sums exact."""
    columns = st.dictionaries(st.integers(0, 9), st.integers(0, 20).map(float), max_size=10)
    return [sorted(row.items()) for row in draw(st.lists(columns, max_size=12))]


def judge(rows: Rows) -> tuple[int, float]:
    """How many rows can have a column, and the least sum of costs then, by scipy."""
    width = 1 + max((column for row in rows for column, _ in row), default=0)
    without = 1e6
    matrix = np.full((len(rows), width + len(rows)), without)
    for number, row in enumerate(rows):
        for column, cost in row:
            matrix[number, column] = cost
    chosen = [matrix[pair] for pair in zip(*linear_sum_assignment(matrix), strict=True)]
    costs = [float(cost) for cost in chosen if cost < without]
    return len(costs), sum(costs)


def result(rows: Rows, columns: list[int | None]) -> tuple[int, float]:
    """The same of an answer, which must be one that the rows allow."""
    got = [column for column in columns if column is not None]
    assert len(set(got)) == len(got), "a column was given twice"
    costs = [
        dict(rows[number])[column] for number, column in enumerate(columns) if column is not None
    ]
    return len(costs), sum(costs)


@given(problems())
def test_assignment_is_as_good_as_scipys(rows: Rows) -> None:
    assert result(rows, assign(rows)) == judge(rows)


def test_assignment_is_as_good_as_scipys_at_full_size() -> None:
    rng = random.Random(20140404)
    for riders, drivers in ((64, 640), (64, 64), (64, 20)):
        rows = [
            [
                (column, float(rng.randrange(2000)))
                for column in sorted(rng.sample(range(drivers), 10))
            ]
            for _ in range(riders)
        ]
        assert result(rows, assign(rows)) == judge(rows)


@given(problems())
def test_assignment_is_the_same_each_time(rows: Rows) -> None:
    assert assign(rows) == assign(rows)


def test_nearest_of_one_is_left_to_another_who_has_no_other() -> None:
    # Alone, the first would take column 0 and leave the second without.
    assert assign([[(0, 1.0), (1, 2.0)], [(0, 5.0)]]) == [1, 0]


def test_chain_of_three_moves_on() -> None:
    rows = [[(0, 1.0), (1, 2.0)], [(1, 1.0), (2, 2.0)], [(0, 1.0)]]
    assert assign(rows) == [1, 2, 0]


def test_rows_that_can_have_nothing_get_nothing() -> None:
    assert assign([]) == []
    assert assign([[], [(3, 1.0)]]) == [None, 3]
