"""Lines of /proc/<pid>/stat, with the names that people give to programs."""

import os

from hailstorm_benchmarks.cpu import cpu_seconds, times_of


def test_times_are_found_behind_any_name() -> None:
    ticks = os.sysconf("SC_CLK_TCK")
    middle = "S 1 1 1 0 -1 4194560 1 2 3 4"
    line = f"7 (a) b (c) {middle} {2 * ticks} {ticks} {5 * ticks} 0 20 0 1 0 9"
    assert times_of(line) == (2.0, 1.0, 5.0, 0.0)


def test_own_time_grows_with_work() -> None:
    before = cpu_seconds(os.getpid())
    while cpu_seconds(os.getpid()) == before:
        sum(range(10_000))
