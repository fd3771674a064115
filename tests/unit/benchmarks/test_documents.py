"""What other benchmarks wrote is judged, and what cannot be read never passes."""

from typing import Any

import pytest

from hailstorm.runtime.process import ServerSettings
from hailstorm_benchmarks.documents import figures_of
from hailstorm_benchmarks.figures import Asked, Figure, Spread, Verdict
from overload import shipped


def matching(batched_wait: float) -> dict[str, Any]:
    def row(load: float, policy: str, wait: float) -> dict[str, Any]:
        runs = [{"mean_wait_s": wait, "abandoned_share": 0.2}]
        return {"riders": "wait", "load": load, "policy": policy, "runs": runs}

    return {
        "rows": [
            # Below overload nothing is asked.
            row(0.5, "batched", 99.0),
            row(0.5, "nearest first", 1.0),
            row(1.2, "batched", batched_wait),
            row(1.2, "nearest first", 50.0),
        ]
    }


@pytest.mark.parametrize(("wait", "verdict"), [(49.0, Verdict.PASS), (51.0, Verdict.FAIL)])
def test_batched_matching_must_be_better_in_overload(wait: float, verdict: Verdict) -> None:
    figures = figures_of("matching", matching(wait), 0)
    assert [figure.verdict for figure in figures] == [verdict, Verdict.PASS]


def overload(fixed: float, gradient: float, **changes: Any) -> dict[str, Any]:
    def kept(goodput: float) -> dict[str, Any]:
        return {
            "1.0": {"goodput_per_second": 100.0, "rounds": 3},
            "3.0": {"goodput_per_second": goodput, "rounds": 3},
        }

    return {
        "settings": {"gradient": kept(gradient), "fixed": kept(fixed)},
        "shipped": "fixed",
        "generator_lag_p99_ms": 25.0,
        "max_generator_lag_ms": 25.0,
        **changes,
    }


@pytest.mark.parametrize(
    ("fixed", "gradient", "verdict"), [(90.0, 0.0, Verdict.PASS), (89.0, 100.0, Verdict.FAIL)]
)
def test_goodput_must_stay_flat_with_the_limit_that_is_shipped(
    fixed: float, gradient: float, verdict: Verdict
) -> None:
    judged, shown = figures_of("overload", overload(fixed, gradient), 0)
    assert (judged.verdict, shown.verdict) == (verdict, None)
    assert judged.name.endswith("limit fixed")
    assert judged.measured == Spread((fixed,))
    assert shown.name.endswith("limit gradient")
    assert shown.measured == Spread((gradient,))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        # A generator that lagged has not offered what it says.
        ({"generator_lag_p99_ms": 26.0}, "26 ms late"),
        ({"shipped": "by weather"}, "nobody measured it"),
    ],
)
def test_overload_that_was_not_measured_is_unknown(changes: dict[str, Any], words: str) -> None:
    (figure,) = figures_of("overload", overload(100.0, 100.0, **changes), 0)
    assert figure.verdict is Verdict.UNKNOWN
    assert words in figure.why


def test_overload_measures_what_the_chart_ships() -> None:
    # The process's own defaults are the chart's, so that both are judged by one run.
    assert shipped() == (ServerSettings().limit.value, ServerSettings().max_pending)


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("positions", None),
        ("overload", {}),
        ("matching", {"rows": []}),
        ("a stranger", {}),
        ("positions", {"figures": [{"name": "no unit"}]}),
    ],
)
def test_what_cannot_be_read_is_unknown(name: str, document: dict[str, Any] | None) -> None:
    (figure,) = figures_of(name, document, 0)
    assert figure.verdict is Verdict.UNKNOWN
    assert figure.why


def test_own_documents_are_judged_anew() -> None:
    stored = Figure("a", "1/s", Spread((1.0,)), Asked(2.0)).to_json()
    (figure,) = figures_of("positions", {"figures": [{**stored, "verdict": "PASS"}]}, 0)
    assert figure.verdict is Verdict.FAIL


@pytest.mark.parametrize(("left", "verdict"), [(1_000, Verdict.PASS), (1_100, Verdict.FAIL)])
def test_one_relay_must_keep_up(left: int, verdict: Verdict) -> None:
    run = {"relays": 1, "left_unpublished": left, "transitions_per_second": 1_000}
    alone = {"relays": 0, "left_unpublished": 9_000, "transitions_per_second": 1_000}
    (figure,) = figures_of("outbox", {"beside_calls": [alone, run]}, 0)
    assert figure.verdict is verdict
    (figure,) = figures_of("outbox", {"beside_calls": [alone]}, 0)
    assert figure.verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(("cached", "verdict"), [(80, Verdict.PASS), (120, Verdict.FAIL)])
def test_caches_must_pay(cached: int, verdict: Verdict) -> None:
    ways = {"create_both_cached": cached, "create_both_read_each_time": 100}
    rounds = [{way: {"store_cpu_us": us, "process_cpu_us": us} for way, us in ways.items()}]
    figures = figures_of("caches", {"rounds": rounds}, 0)
    assert [figure.verdict for figure in figures] == [verdict, verdict]
