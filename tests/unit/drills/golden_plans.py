"""Writes the golden plans anew: `python tests/unit/drills/golden_plans.py`."""

import sys
from pathlib import Path

# As pytest's `pythonpath` has it: the helpers of the tests are named from there.
sys.path.append(str(Path(__file__).parents[2]))

from conftest import make_parameters
from hailstorm_drills.registry import scenarios

FOLDER = Path(__file__).parent


def rendered(name: str, is_twin: bool) -> str:
    """The plan of a drill with the test's own parameters."""
    scenario = scenarios()[name]
    values = {k: v for k, v in scenario.defaults.items() if k != "min_user_calls"}
    plan = scenario.make_plan(make_parameters(drill=name, is_twin=is_twin, **values))
    return plan.render() + "\n"


def path_of(name: str, is_twin: bool) -> Path:
    """Where that golden lies."""
    return FOLDER / f"plan-{name}{'-twin' if is_twin else ''}.txt"


if __name__ == "__main__":
    for name in scenarios():
        for is_twin in (False, True):
            path_of(name, is_twin).write_text(rendered(name, is_twin), encoding="utf-8")
