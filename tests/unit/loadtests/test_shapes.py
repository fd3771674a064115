"""Shapes warp time without losing or moving demand."""

import math

import pytest

from hailstorm_loadtests.shapes import STEADY, ShapeError, parse_shape

SHAPES = ["steady", "ramp:60:0:2", "ramp:30:3:1", "step:20:4", "spike:10:4:15", "ramp:10:2:2"]


@pytest.mark.parametrize("words", SHAPES)
def test_due_is_the_inverse_of_area(words: str) -> None:
    shape = parse_shape(words)
    for second in (0.5, 7.0, 10.0, 19.9, 20.1, 25.0, 61.0, 300.0):
        assert shape.due(shape.area(second)) == pytest.approx(second, abs=1e-6)


@pytest.mark.parametrize("words", SHAPES)
def test_area_grows_by_the_multiplier(words: str) -> None:
    shape = parse_shape(words)
    for second in (1.0, 12.0, 33.0, 90.0):
        slope = (shape.area(second + 1e-4) - shape.area(second - 1e-4)) / 2e-4
        assert slope == pytest.approx(shape.multiplier(second), rel=1e-3)


def test_steady_leaves_time_alone() -> None:
    assert [STEADY.due(u) for u in (0.0, 1.5, 99.0)] == [0.0, 1.5, 99.0]


def test_step_quadruples_arrivals_after_its_moment() -> None:
    shape = parse_shape("step:20:4")
    dues = [shape.due(u) for u in range(100)]
    assert sum(due < 20 for due in dues) == 20
    assert sum(20 <= due < 30 for due in dues) == 40


def test_due_is_never_when_demand_has_ended() -> None:
    shape = parse_shape("ramp:10:1:0")
    assert shape.due(4.9) < 10
    assert shape.due(5.1) == math.inf


@pytest.mark.parametrize(
    "words",
    ["", "wave", "ramp", "ramp:0:1:2", "step:20", "step:a:4", "spike:1:2:-3", "ramp:nan:1:2"],
)
def test_parse_shape_names_the_forms_when_words_are_wrong(words: str) -> None:
    with pytest.raises(ShapeError, match="shape"):
        parse_shape(words)
