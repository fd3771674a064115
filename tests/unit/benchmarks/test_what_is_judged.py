"""Benchmarks that judge by themselves: what did not happen is no good figure."""

from typing import Any

import pytest

from explain import judge
from gate import promises
from hailstorm_benchmarks.figures import Spread, Verdict
from hailstorm_benchmarks.plans import Plan
from scaler_fleet import answered


def test_steps_that_were_never_answered_are_not_left_out() -> None:
    assert answered([1.0, 2.0]) == Spread((1.0, 2.0))
    assert answered([1.0, None]) is None
    assert answered([]) is None


def simulated(**changes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    calm = {"abortedShare": 0.004}
    return {
        "AA 0 %": calm,
        "AA 0.5 %": calm,
        "AA 2 %": calm,
        "5 % over 0": {"abortedShare": 1.0, "secondsSinceFirstFailure": {"p50": 2.2}},
        "2 % over 0.5 %": {"abortedShare": 0.9, "within20s": 0.8},
        "+200 ms": {"abortedShare": 1.0, "within30s": 1.0},
        **changes,
    }


@pytest.mark.parametrize(
    ("arm", "figures", "verdict"),
    [
        ("2 % over 0.5 %", {"abortedShare": 0.1, "within20s": 0.1}, Verdict.FAIL),
        # Nobody was undone, so there is no time to speak of.
        ("2 % over 0.5 %", {"abortedShare": 0.0}, Verdict.FAIL),
        ("+200 ms", {"abortedShare": 0.5, "within30s": 0.5}, Verdict.FAIL),
        ("5 % over 0", {"abortedShare": 0.0}, Verdict.UNKNOWN),
    ],
)
def test_releases_that_nobody_undid_count(
    arm: str, figures: dict[str, Any], verdict: Verdict
) -> None:
    assert {figure.verdict for figure in promises(simulated())} == {Verdict.PASS}
    assert verdict in {figure.verdict for figure in promises(simulated(**{arm: figures}))}


def plan(name: str, rows: int = 1, whole: tuple[str, ...] = ()) -> Plan:
    return Plan(name, 1.0, rows, 3, ("trips_pkey",), whole, 0)


@pytest.mark.parametrize(
    ("plans", "verdict", "words"),
    [
        ([plan("a"), plan("b")], Verdict.PASS, "of 2"),
        ([plan("a"), plan("b", whole=("trips",))], Verdict.FAIL, "of 2"),
        # Over nothing, a whole table is as fast as any index.
        ([plan("a"), plan("b", rows=0)], Verdict.UNKNOWN, "over nothing: b"),
        ([plan("a", whole=("trips",)), plan("b", rows=0)], Verdict.FAIL, "over nothing: b"),
    ],
)
def test_statement_that_found_nothing_was_not_explained(
    plans: list[Plan], verdict: Verdict, words: str
) -> None:
    # Once is enough, whatever the other runs saw.
    judged, _ = judge([[plan("a"), plan("b")], plans, plans])
    assert judged.verdict is verdict
    assert words in judged.why
