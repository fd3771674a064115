"""What can be alerted on, and that it ends with its scaler."""

from collections.abc import Iterator

import pytest
from prometheus_client import REGISTRY

from hailstorm_operator import metrics, scaler_metrics
from hailstorm_operator.scaling import decide_scale
from hailstorm_operator.scaling_inputs import Capacity, Demand, Inputs, Rules, first_memory
from hailstorm_operator.signals import Reading

PLACE = ("metrics-test", "app")


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    yield
    scaler_metrics.forget(*PLACE)
    scaler_metrics.forget(PLACE[0], "other")


def state(name: str) -> float | None:
    labels = {"namespace": PLACE[0], "name": PLACE[1], "state": name}
    return REGISTRY.get_sample_value("hailstorm_scaler_signal_state", labels)


def series(name: str) -> list[str]:
    return [
        sample.name
        for family in REGISTRY.collect()
        for sample in family.samples
        if (sample.labels.get("namespace"), sample.labels.get("name")) == (PLACE[0], name)
    ]


def show(name: str) -> None:
    """All that a scaler with spares ever says."""
    inputs = Inputs(
        1000.0,
        Rules(1, 5, 10.0, 0.1, 4, 30.0, 300.0),
        Demand(12.0, 12.0, 12.0, "fresh"),
        Capacity(2, 2, rollout_in_progress=False),
        first_memory(1000.0),
    )
    scaler_metrics.show_reading(PLACE[0], name, Reading(12.0, "fresh", {"edge-0": 12.0}, ()))
    scaler_metrics.show_decision(PLACE[0], name, decide_scale(inputs))
    metrics.SPARES.labels(PLACE[0], name, "pool").set(2)
    metrics.SPARE_MOVES.labels(PLACE[0], name, "service").inc()


def test_signal_without_any_source_is_told_from_a_fresh_one() -> None:
    nobody_to_ask = Reading(None, "stale", {}, ())
    scaler_metrics.show_reading(*PLACE, nobody_to_ask)
    assert (state("fresh"), state("partial"), state("stale")) == (0, 0, 1)
    scaler_metrics.show_reading(*PLACE, Reading(1.0, "fresh", {"edge-0": 1.0}, ()))
    assert (state("fresh"), state("partial"), state("stale")) == (1, 0, 0)


def test_every_series_ends_with_its_scaler_and_only_those() -> None:
    show("app")
    show("other")
    told = series("other")
    assert {one for one in told if one.startswith("hailstorm_scaler_")} >= {
        "hailstorm_scaler_in_flight",
        "hailstorm_scaler_signal_state",
        "hailstorm_scaler_spares",
        "hailstorm_scaler_spare_moves_total",
        "hailstorm_scaler_decisions_total",
    }
    scaler_metrics.forget(*PLACE)
    assert series("app") == []
    assert series("other") == told
    scaler_metrics.forget(PLACE[0], "never-was")


def test_metric_that_is_kept_by_scaler_is_among_those_that_end() -> None:
    kept = {
        one
        for one in vars(metrics).values()
        if getattr(one, "_labelnames", ())[:2] == metrics.SCALER
    }
    assert kept == {metric for metric, _ in scaler_metrics._SERIES}
