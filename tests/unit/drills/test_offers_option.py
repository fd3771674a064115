"""`--offers`, `--max-p99-ratio`, `--seconds`: from the command line to what a drill does."""

from typing import Any

import pytest

from hailstorm_drills.__main__ import make_parser
from hailstorm_drills.offers import OFFER_LOAD, OFFER_SETTINGS
from hailstorm_drills.options import parameters_of
from hailstorm_drills.plan import Parameters, parameters_from_json
from hailstorm_drills.registry import scenarios
from hailstorm_loadtests.profile import from_mapping


def asked(drill: str, *words: str) -> Parameters:
    values = ("--values", "v.yaml", "--next-values", "n.yaml", "--seed", "7")
    arguments = make_parser().parse_args(["plan", drill, *values, *words])
    return parameters_of(arguments, scenarios()[drill])


@pytest.mark.parametrize("drill", sorted(scenarios()))
def test_every_drill_can_have_drivers_who_answer(drill: str) -> None:
    scenario = scenarios()[drill]
    on, off = asked(drill, "--offers"), asked(drill, "--no-offers")
    assert (on.offers, off.offers) == (True, False)
    assert set(OFFER_SETTINGS) <= set(scenario.release_settings(on))
    assert not set(OFFER_SETTINGS) & set(scenario.release_settings(off))
    assert set(scenario.release_settings(off)) == set(scenario.settings(off))
    # The load is one that can be asked for.
    profile = from_mapping(on.load)
    assert (profile.answers_offers, profile.silent_share) == (True, 0.0)
    assert "answers_offers" not in off.load
    # Whoever judges later reads the plan.
    assert parameters_from_json(scenario.make_plan(on).as_json()["parameters"]) == on
    assert "autoAccept=false" in scenario.make_plan(on).steps[0].text


@pytest.mark.parametrize(
    ("drill", "offers"),
    [
        ("kill-pod", True),
        ("ten-deploys", True),
        ("scaler-steps-down", True),
        # `make demo`: what the release is given is taken back again, a roll at either end.
        ("rolling-deploy", False),
    ],
)
def test_some_drills_have_them_anyway(drill: str, offers: bool) -> None:
    assert asked(drill).offers is offers


def test_field_of_the_load_that_is_named_wins() -> None:
    assert asked("restart", "--offers", "--load", "silent_share=0.5").load["silent_share"] == 0.5
    assert dict(OFFER_LOAD) == {"answers_offers": True, "silent_share": 0.0}


def test_ratio_is_judged_where_it_is_asked_for() -> None:
    assert asked("ten-deploys").max_p99_ratio == 1.5
    assert asked("ten-deploys", "--max-p99-ratio", "0").max_p99_ratio is None
    assert asked("rolling-deploy").max_p99_ratio is None
    assert asked("rolling-deploy", "--max-p99-ratio", "2").max_p99_ratio == 2.0


def test_operator_is_away_for_five_minutes_or_for_less() -> None:
    whole, short = asked("operator-away"), asked("operator-away", "--seconds", "60")
    assert (whole.fault_seconds, short.fault_seconds) == (300.0, 60.0)
    # The load outlasts it.
    assert whole.load["duration_seconds"] > 300 + 60 + 60


def test_plan_of_a_drill_from_before_is_read_without_them(parameters: Any) -> None:
    told = scenarios()["restart"].make_plan(parameters()).as_json()["parameters"]
    for name in ("offers", "max_p99_ratio"):
        del told[name]
    found = parameters_from_json(told)
    assert (found.offers, found.max_p99_ratio) == (False, None)
