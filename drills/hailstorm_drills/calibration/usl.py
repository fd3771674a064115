"""
The Universal Scalability Law, fitted to levels of concurrency: pure.

    X(N) = g·N / (1 + s·(N-1) + k·N·(N-1))

g is what one caller gets, s the share that is done one at a time, k what the
callers cost each other. Divided by X and multiplied by N it is linear in 1/g, s/g
and k/g, so least squares need no search; each row is weighted so that what is
made small is the relative error of X. s and k are never negative: where the best
plane has them so, it is fitted anew without them.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, Final

# Three parameters; half as many points again would fit nearly anything.
LEAST_LEVELS: Final = 6


class FitError(ValueError):
    """The levels cannot be fitted; the message says what is missing."""


@dataclass(frozen=True)
class Fit:
    """
    gamma in calls/s; sigma and kappa without a unit.

    `peak` is the concurrency of most throughput, None when it grows for ever;
    `r2` is the share of the throughputs' variance that the curve explains.
    """

    gamma: float
    sigma: float
    kappa: float
    peak: float | None
    r2: float

    def throughput(self, concurrency: float) -> float:
        """Calls a second at that concurrency."""
        n = concurrency
        return self.gamma * n / (1 + self.sigma * (n - 1) + self.kappa * n * (n - 1))

    def as_json(self) -> dict[str, Any]:
        """Plain values, four digits behind the point."""
        return {
            key: None if value is None else round(value, 4) for key, value in asdict(self).items()
        }


def fit_usl(points: Sequence[tuple[float, float]]) -> Fit:
    """
    Fit (concurrency, calls a second) points. Raises FitError.

    At least `LEAST_LEVELS` different concurrencies, each with throughput.
    """
    distinct = {n for n, x in points if n >= 1 and x > 0}
    if len(distinct) < LEAST_LEVELS or len(distinct) < len(points):
        raise FitError(
            f"a fit needs {LEAST_LEVELS} different levels with answers in each, "
            f"{len(distinct)} of {len(points)} will do"
        )
    best: tuple[float, list[float]] | None = None
    for size in (2, 1, 0):
        for active in combinations((1, 2), size):
            solved = _solve(points, (0, *active))
            if solved is None or solved[0] <= 0 or min(solved) < 0:
                continue
            error = _error(points, solved)
            if best is None or error < best[0]:
                best = (error, solved)
    if best is None:
        raise FitError("no curve with a positive rate fits these levels")
    a, b, c = best[1]
    gamma, sigma, kappa = 1 / a, b / a, c / a
    peak = math.sqrt((1 - sigma) / kappa) if kappa > 0 and sigma < 1 else None
    fit = Fit(gamma, sigma, kappa, peak, 0.0)
    return Fit(gamma, sigma, kappa, peak, _r2(points, fit))


def _row(n: float) -> tuple[float, float, float]:
    return (1.0, n - 1, n * (n - 1))


def _error(points: Sequence[tuple[float, float]], solved: Sequence[float]) -> float:
    # Relative to N/X: the same as relative to X, to the first order.
    total = 0.0
    for n, x in points:
        wanted = n / x
        got = sum(value * part for value, part in zip(solved, _row(n), strict=True))
        total += ((got - wanted) / wanted) ** 2
    return total


def _solve(points: Sequence[tuple[float, float]], columns: tuple[int, ...]) -> list[float] | None:
    """Least squares over some of the columns; the others are 0. None when singular."""
    size = len(columns)
    matrix = [[0.0] * (size + 1) for _ in range(size)]
    for n, x in points:
        wanted = n / x
        row = [_row(n)[column] / wanted for column in columns]
        for i in range(size):
            for j in range(size):
                matrix[i][j] += row[i] * row[j]
            matrix[i][size] += row[i]
    for i in range(size):
        pivot = max(range(i, size), key=lambda r: abs(matrix[r][i]))
        if abs(matrix[pivot][i]) < 1e-12:
            return None
        matrix[i], matrix[pivot] = matrix[pivot], matrix[i]
        for r in range(size):
            if r != i:
                factor = matrix[r][i] / matrix[i][i]
                matrix[r] = [a - factor * b for a, b in zip(matrix[r], matrix[i], strict=True)]
    solved = [0.0, 0.0, 0.0]
    for i, column in enumerate(columns):
        solved[column] = matrix[i][size] / matrix[i][i]
    return solved


def _r2(points: Sequence[tuple[float, float]], fit: Fit) -> float:
    mean = sum(x for _, x in points) / len(points)
    spread = sum((x - mean) ** 2 for _, x in points)
    left = sum((x - fit.throughput(n)) ** 2 for n, x in points)
    return 1 - left / spread if spread > 0 else 0.0
