"""Spread, ratio and verdict, each with the case that must not pass."""

import json
import math

import pytest

from hailstorm_benchmarks.figures import (
    Asked,
    Figure,
    Spread,
    Verdict,
    percentile,
    table,
    verdict_lines,
    worst,
)
from hailstorm_benchmarks.report import command_of

FLOOR = Asked(10.0)
CEILING = Asked(10.0, is_floor=False)


@pytest.mark.parametrize(
    ("asked", "values", "verdict"),
    [
        (FLOOR, (9.0, 10.0, 30.0), Verdict.PASS),
        # The mean would pass.
        (FLOOR, (9.0, 9.9, 30.0), Verdict.FAIL),
        (CEILING, (1.0, 10.0, 30.0), Verdict.PASS),
        (CEILING, (1.0, 10.1, 10.2), Verdict.FAIL),
        (FLOOR, (), Verdict.UNKNOWN),
        (FLOOR, (11.0, math.nan), Verdict.UNKNOWN),
        (CEILING, (1.0, math.inf), Verdict.UNKNOWN),
    ],
)
def test_median_is_judged(asked: Asked, values: tuple[float, ...], verdict: Verdict) -> None:
    assert asked.judge(Spread(values)) is verdict


def test_nothing_measured_is_unknown_and_nothing_asked_is_not_judged() -> None:
    assert Figure("a", "s", None, FLOOR).verdict is Verdict.UNKNOWN
    assert Figure("a", "s", Spread((1.0,))).verdict is None


def test_ratio_is_made_turn_by_turn() -> None:
    # The machine was slow in the first turn, for both.
    figure = Figure(
        "a", "1/s", Spread((1.0, 60.0)), Asked(0.5), True, "rival", Spread((2.0, 100.0))
    )
    assert figure.ratio == Spread((0.5, 0.6))
    assert figure.verdict is Verdict.PASS


def test_rival_that_did_nothing_makes_it_unknown() -> None:
    figure = Figure("a", "1/s", Spread((1.0,)), Asked(0.5), True, "rival", Spread((0.0,)))
    assert (figure.ratio, figure.verdict) == (None, Verdict.UNKNOWN)


def test_failed_is_worse_than_unknown_and_nothing_judged_is_unknown() -> None:
    assert worst([Verdict.PASS, None]) is Verdict.PASS
    assert worst([Verdict.PASS, Verdict.UNKNOWN]) is Verdict.UNKNOWN
    assert worst([Verdict.UNKNOWN, Verdict.FAIL]) is Verdict.FAIL
    assert worst([None]) is Verdict.UNKNOWN


def test_percentile_is_a_value_that_was_seen() -> None:
    assert percentile([3, 1, 2, 4], 0.5) == 2
    assert percentile(range(1, 101), 0.99) == 99
    assert percentile([7], 0.99) == 7
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_figure_is_read_as_it_was_written() -> None:
    figure = Figure(
        "a", "1/s", Spread((1.0, 3.0)), Asked(0.5), True, "rival", Spread((2.0, 4.0)), "because"
    )
    assert Figure.from_json(json.loads(json.dumps(figure.to_json()))) == figure
    bare = Figure("b", "s", None)
    assert Figure.from_json(bare.to_json()) == bare


def test_table_shows_median_spread_and_verdict() -> None:
    text = table([Figure("latency", "ms", Spread((1.0, 2.0, 900.0)), CEILING, why="busy")])
    assert "<= 10 ms" in text
    assert "2 [1..900] ms" in text
    assert "PASS (busy)" in text


def test_verdict_lines_tell_what_was_asked_measured_and_the_limit() -> None:
    good = Figure("a", "1/s", Spread((12.0,)), FLOOR, rival_name="empty", rival=Spread((24.0,)))
    bad = Figure("b", "ms", Spread((11.0,)), CEILING)
    shown = Figure("c", "ms", Spread((1.0,)))
    lines = verdict_lines([good, bad, shown, Figure("d", "s", None, FLOOR, why="no cluster")])
    assert lines.splitlines() == [
        "PASS    a: asked >= 10 1/s, measured 12 [12..12] 1/s, limit empty 24 [24..24],"
        " ratio 0.5 [0.5..0.5]",
        "FAIL    b: asked <= 10 ms, measured 11 [11..11] ms",
        "UNKNOWN d: asked >= 10 s, measured nothing s (no cluster)",
        "verdict FAIL (1 PASS, 1 FAIL, 1 UNKNOWN; exit code 1)",
    ]


def test_last_line_tells_unknown_from_fail_and_never_passes_nothing() -> None:
    unknown = Figure("d", "s", None, FLOOR)
    assert verdict_lines([unknown]).splitlines()[-1].startswith("verdict UNKNOWN (0 PASS")
    assert verdict_lines([]) == "verdict UNKNOWN (0 PASS, 0 FAIL, 0 UNKNOWN; exit code 2)"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "python benchmarks/matching.py"),
        (["--output", "/tmp/x.json", "--seed", "5"], "python benchmarks/matching.py --seed 5"),
    ],
)
def test_command_names_no_place_of_this_machine(words: list[str], expected: str) -> None:
    assert command_of("matching", words) == expected
