"""
The assignment problem: who gets what, so that the sum of costs is least.

Shortest augmenting paths (Jonker and Volgenant, 1987) over the few pairs that
are possible at all: for n rows and m pairs, O(n m log m). Written here, in pure
Python, because scipy's solver costs a service 66 MiB and 0.3 s of start-up; it
judges this one in the tests.
"""

import heapq
from collections.abc import Sequence
from math import inf


def assign(rows: Sequence[Sequence[tuple[int, float]]]) -> list[int | None]:
    """
    The column of each row, or None for a row that has to go without.

    A row lists the columns it can have, from 0, each with its cost >= 0. As many
    rows as possible get one, and among all such choices the sum of costs is
    least. The same rows give the same answer.
    """
    # A row may go without, at a cost that no re-shuffling of all rows could save:
    # so it does only when one row has to.
    without = 1.0 + (len(rows) + 1) * max((cost for row in rows for _, cost in row), default=0.0)
    solver = _Solver(rows, without)
    for row in range(len(rows)):
        solver.augment(row)
    return [column if column is not None and column >= 0 else None for column in solver.columns]


class _Solver:
    """
    A matching of the rows so far that is optimal for them, and the prices that prove it.

    Of every possible pair, cost >= row price + column price; of matched pairs,
    they are equal. The column -1 - row stands for that row's going without.
    """

    def __init__(self, rows: Sequence[Sequence[tuple[int, float]]], without: float) -> None:
        self._pairs = [[*row, (-1 - number, without)] for number, row in enumerate(rows)]
        self._row_prices = [0.0] * len(rows)
        self._column_prices: dict[int, float] = {}
        self._owners: dict[int, int] = {}
        self.columns: list[int | None] = [None] * len(rows)

    def augment(self, new_row: int) -> None:
        """Match one more row, by the cheapest chain of rows that each move on."""
        prices, owners = self._column_prices, self._owners
        distances: dict[int, float] = {}
        reached_from: dict[int, int] = {}
        settled: list[int] = []
        done: set[int] = set()
        heap: list[tuple[float, int]] = []
        row, walked = new_row, 0.0
        while True:
            base = walked - self._row_prices[row]
            for column, cost in self._pairs[row]:
                if column in done:
                    continue
                distance = base + cost - prices.get(column, 0.0)
                if distance < distances.get(column, inf):
                    distances[column] = distance
                    reached_from[column] = row
                    # Ties go to the lower column: a replay decides the same.
                    heapq.heappush(heap, (distance, column))
            walked, end = heapq.heappop(heap)
            while end in done:
                walked, end = heapq.heappop(heap)
            done.add(end)
            if end not in owners:
                break
            settled.append(end)
            row = owners[end]

        self._row_prices[new_row] += walked
        for column in settled:
            saved = walked - distances[column]
            self._row_prices[owners[column]] += saved
            prices[column] = prices.get(column, 0.0) - saved
        while True:
            row = reached_from[end]
            owners[end] = row
            self.columns[row], before = end, self.columns[row]
            if before is None:
                return
            end = before
