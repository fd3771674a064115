"""Every figure of the capacity plan follows from its own formula."""

import ast
import math
import operator
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

PLAN = yaml.safe_load(
    (Path(__file__).parents[3] / "docs" / "capacity-plan.yaml").read_text(encoding="utf-8")
)
# The plan prints four significant digits.
RELATIVE_TOLERANCE = 1e-3

OPERATORS: dict[type[ast.operator], Any] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
FUNCTIONS: dict[str, Any] = {"ceil": math.ceil, "max": max}


def compute(formula: str, names: Mapping[str, float]) -> float:
    """Arithmetic over names and numbers, and nothing else."""

    def walk(node: ast.expr) -> float:
        match node:
            case ast.Constant(value=int() | float() as number):
                return number
            case ast.Name(id=name):
                return names[name]
            case ast.BinOp(left=left, op=op, right=right):
                return float(OPERATORS[type(op)](walk(left), walk(right)))
            case ast.Call(func=ast.Name(id=name), args=args):
                return float(FUNCTIONS[name](*map(walk, args)))
        raise ValueError(f"{ast.unparse(node)!r} is not plain arithmetic")

    return walk(ast.parse(formula, mode="eval").body)


def names_at(scale_index: int) -> dict[str, float]:
    names = {name: row["value"] for name, row in PLAN["assumptions"].items()}
    names["users"] = PLAN["scales"][scale_index]
    return names


@pytest.mark.parametrize("scale_index", range(len(PLAN["scales"])))
def test_quantities_follow_from_their_formulas(scale_index: int) -> None:
    names = names_at(scale_index)
    wrong = {}
    for name, quantity in PLAN["quantities"].items():
        names[name] = compute(quantity["formula"], names)
        if quantity["values"][scale_index] != pytest.approx(names[name], rel=RELATIVE_TOLERANCE):
            wrong[name] = (quantity["values"][scale_index], names[name])
    assert wrong == {}
    assert len(names) > len(PLAN["assumptions"]) + 10


def test_knee_follows_from_its_formula() -> None:
    machine = PLAN["reference_machine"]
    predictions = machine["predictions"]
    names = {name: row["value"] for name, row in predictions.items()}
    names["cores"] = machine["cores"]
    knee = predictions["knee_calls_per_s"]
    assert knee["value"] == pytest.approx(compute(knee["formula"], names), rel=RELATIVE_TOLERANCE)


def test_every_assumption_names_its_source() -> None:
    without = [name for name, row in PLAN["assumptions"].items() if not row["source"].strip()]
    assert without == []
