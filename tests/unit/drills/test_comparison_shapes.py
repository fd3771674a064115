"""The shapes of a comparison: how long, with which spares, and that the load knows them."""

import itertools
import math

import pytest

from hailstorm_drills.comparison.arms import make_arm
from hailstorm_drills.comparison.manifests import load_pod
from hailstorm_drills.comparison.settings import (
    ARMS,
    CPU_HPA,
    IN_FLIGHT_HPA,
    OURS,
    PROFILES,
    SHAPES,
    Settings,
    settings_for,
)
from hailstorm_loadtests import unary
from hailstorm_loadtests.pacing import arrivals, parse_pace, planned_rates
from hailstorm_loadtests.shapes import ShapeError
from hailstorm_operator.specs import (
    DEFAULT_SCALE_DOWN_WINDOW_SECONDS,
    DEFAULT_STABLE_WINDOW_SECONDS,
    parse_scaler_spec,
)

LONGER = [shape for shape in SHAPES if shape != "step"]


def spec_of(name, settings):
    return make_arm(name, settings, "d:1", "Never", knows_spares=True).manifests[-1]["spec"]


def rates_of(settings):
    return planned_rates(parse_pace(settings.pace), settings.base_rate, settings.seconds)


def test_a_share_of_the_load_needs_as_many_pods_at_every_moment():
    whole, less = settings_for("step"), settings_for("step", load_scale=0.6)
    assert less.base_rate == 36
    assert less.cpu_limit_millicores == whole.cpu_limit_millicores
    assert less.full_rate == pytest.approx(0.6 * whole.full_rate, rel=1e-3)
    for rate in range(10, 400, 3):
        assert less.pods_needed(0.6 * rate) == whole.pods_needed(rate)


def test_a_share_of_the_load_is_another_measurement_beside_the_whole():
    whole, less = settings_for("step"), settings_for("step", load_scale=0.6)
    assert (whole.name, less.name) == ("step", "step-load-0.6")
    assert (whole.file_of(OURS), less.file_of(OURS)) == ("ours.json", "ours-load-0.6.json")
    assert whole.of_arm(OURS) != less.of_arm(OURS)
    assert settings_for("step", load_scale=1.0) == whole


@pytest.mark.parametrize("share", [0, -1, 0.2, 1.5])
def test_a_share_that_will_not_do_is_refused(share):
    with pytest.raises(ValueError, match=r"write one from 0\.25 to 1"):
        settings_for("step", load_scale=share)


def test_the_step_leaves_every_arm_at_its_defaults():
    assert settings_for("step") == Settings()
    assert Settings().pace == "step:30:5"
    assert Settings().seconds == 150
    for name in ARMS:
        assert "behavior" not in spec_of(name, Settings())


@pytest.mark.parametrize("shape", LONGER)
def test_every_arm_looks_back_as_long_where_the_way_down_is_seen(shape):
    settings = settings_for(shape)
    window = settings.stabilisation_seconds
    for name in (CPU_HPA, IN_FLIGHT_HPA):
        spec = spec_of(name, settings)
        assert spec["behavior"] == {"scaleDown": {"stabilizationWindowSeconds": window}}
    spec = spec_of(OURS, settings)
    behavior = parse_scaler_spec(spec).behavior
    assert behavior.scale_down_window_seconds == window
    # Its pace is compressed as its look-back is.
    step = DEFAULT_STABLE_WINDOW_SECONDS * window / DEFAULT_SCALE_DOWN_WINDOW_SECONDS
    assert behavior.scale_down_step_seconds == step


@pytest.mark.parametrize("shape", LONGER)
def test_every_longer_shape_lasts_until_its_way_down_is_seen(shape):
    settings = settings_for(shape)
    rates = rates_of(settings)
    calm = itertools.takewhile(lambda rate: rate < 0.3 * max(rates), reversed(rates))
    # As long as every arm looks back, and for ten steps of ours.
    assert len(list(calm)) >= 2 * settings.stabilisation_seconds
    assert settings.pods_needed(0.3 * max(rates)) < settings.pods_needed(max(rates))
    # Three arms and what is between them end within the hour.
    assert 3 * (settings.seconds + 60) < 3600


def test_spares_are_kept_where_the_demand_outruns_a_pods_start():
    # Longer than a pod of 200m takes for its imports on a machine that is not crowded.
    startup_seconds = 8
    for shape, profile in PROFILES.items():
        settings = settings_for(shape)
        rates = rates_of(settings)
        lacking = 0
        for before, after in zip(rates, rates[startup_seconds:], strict=False):
            planned = math.ceil(before / (settings.full_rate * settings.planned_share))
            there = max(planned, settings.min_replicas)
            lacking = max(lacking, settings.pods_needed(after) - there)
        assert profile.spares >= lacking, shape
        assert (profile.spares > 0) == (lacking > 0), shape


@pytest.mark.parametrize("shape", SHAPES)
def test_the_load_understands_the_pace_of_every_shape(shape):
    settings = settings_for(shape)
    words = load_pod(settings, "d:1", "Never")["spec"]["containers"][0]["args"]
    options = unary.make_parser().parse_args(["open", *words])
    assert unary.problems(options) is None
    rates = planned_rates(parse_pace(settings.pace), settings.base_rate, settings.seconds)
    assert len(rates) == settings.seconds
    assert max(rates) == pytest.approx(300, rel=0.05)


def test_the_same_seed_gives_the_same_arrivals():
    shape = parse_pace("step:5:5")
    first, second = (arrivals(shape, 60, 10, seed=3) for _ in range(2))
    assert first == second != arrivals(shape, 60, 10, seed=4)
    assert sum(due < 5 for due in first) == pytest.approx(300, rel=0.3)
    assert sum(due >= 5 for due in first) == pytest.approx(1500, rel=0.3)


def test_a_trapezoid_goes_up_stays_and_comes_down():
    shape = parse_pace("trapezoid:10:20:5:30:40")
    moments = (0, 10, 20, 30, 60, 80, 100, 500)
    assert [shape.multiplier(at) for at in moments] == [1, 1, 3, 5, 5, 3, 1, 1]


def test_pace_refuses_what_it_does_not_know():
    of_none = ("day:ten:5", "day:0:5", "day:9", "sawtooth:10:1:5:0", "hills", "trapezoid:1:2:3:4")
    for words in (*of_none, "trapezoid:1:2:3:4:0", "trapezoid:1:2:3:4:inf"):
        with pytest.raises(ShapeError):
            parse_pace(words)
