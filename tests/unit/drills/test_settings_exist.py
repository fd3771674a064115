"""What drills set in a release must be there to be set; Helm would not say so of all of it."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from hailstorm_drills.registry import scenarios

CHART = Path(__file__).parents[3] / "charts" / "hailstorm"


@pytest.mark.parametrize("name", sorted(scenarios()))
def test_settings_of_drill_and_twin_are_values_of_the_chart(name: str, parameters: Any) -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    schema = (CHART / "values.schema.json").read_text(encoding="utf-8")
    scenario = scenarios()[name]
    ours = scenario.release_settings(parameters(drill=name, offers=True))
    settings = (*ours, *scenario.twin_settings)
    for setting in settings:
        path, _, value = setting.partition("=")
        found = values
        for step in path.split("."):
            # A bracket chooses an entry of a list.
            step, _, index = step.partition("[")
            if step not in found:
                # Left out of values.yaml, which has no default for it.
                assert f'"{step}"' in schema, setting
                break
            found = found[step][int(index[:-1])] if index else found[step]
        else:
            given = yaml.safe_load(value)
            assert isinstance(found, bool) is isinstance(given, bool), setting
            assert isinstance(found, int | float) is isinstance(given, int | float), setting


def test_drill_that_needs_no_next_version_leaves_the_one_that_it_began_with(
    parameters: Any,
) -> None:
    p = parameters(times=10)
    left = {name: scenario.left_with(p) for name, scenario in scenarios().items()}
    assert left["kill-pod"] == left["scale-down"] == p.values
    assert left["rolling-deploy"] == left["operator-kill"] == p.next_values
    # To and fro: ten deploys end where they began, nine do not.
    assert left["ten-deploys"] == p.values
    assert scenarios()["ten-deploys"].left_with(parameters(times=9)) == p.next_values
