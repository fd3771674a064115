"""Each kill: how long until users felt nothing, and whether it bit."""

from collections.abc import Callable
from typing import Any

from hailstorm_drills.checkers.base import Verdict
from hailstorm_drills.checkers.kills import check_kills, check_kills_took_hold, recovery_of
from hailstorm_drills.evidence import Evidence
from hailstorm_drills.marks import KILL, Mark
from hailstorm_loadtests.history import Call, History

Make = Callable[..., Evidence]
BAND_MS = 100.0


def busy(call: Any, start: float, end: float, slow: Callable[[float], bool]) -> list[Call]:
    """50 calls a second; those that are due while `slow` take 300 ms."""
    moments = [start + n / 50 for n in range(int((end - start) * 50))]
    return [call(at, 0.3 if slow(at) else 0.02) for at in moments]


def test_recovery_is_the_first_stretch_in_the_band(call: Any) -> None:
    calls = busy(call, 0, 20, lambda at: 10 <= at < 11.2)
    assert recovery_of(calls, 10.0, 20.0, BAND_MS) == 1.2
    assert recovery_of(busy(call, 0, 20, lambda _: False), 10.0, 20.0, BAND_MS) == 0.0


def test_one_late_slow_call_is_not_a_late_recovery(call: Any) -> None:
    calls = busy(call, 0, 20, lambda at: 18.0 <= at < 18.01)
    assert recovery_of(calls, 10.0, 20.0, BAND_MS) == 0.0


def test_failure_is_outside_of_the_band_however_fast(call: Any) -> None:
    calls = busy(call, 0, 20, lambda _: False)
    calls[int(11.0 * 50)] = call(11.0, 0.001, code="UNAVAILABLE", outcome="fail")
    found = recovery_of(calls, 10.0, 20.0, BAND_MS)
    assert found is not None
    assert 1.0 < found <= 1.2


def test_kill_that_is_not_recovered_from_lasts_until_the_next(call: Any) -> None:
    calls = busy(call, 0, 20, lambda at: at >= 10)
    assert recovery_of(calls, 10.0, 20.0, BAND_MS) == 10.0
    assert recovery_of([], 10.0, 20.0, BAND_MS) is None


def killed(evidence: Make, call: Any, life: Any, slow_seconds: float, **changes: Any) -> Evidence:
    """Two kills, at 62 and at 80, each felt for some seconds; one call was retried."""
    kills = [
        Mark(KILL, "trip-a", 62.0, 80.0, {"component": "trip"}),
        Mark(KILL, "trip-b", 80.0, 100.0, {"component": "trip"}),
    ]
    calls = busy(call, 0, 130, lambda at: any(k.at <= at < k.at + slow_seconds for k in kills))
    calls.append(call(62.1, attempts=2))
    calls.sort(key=lambda c: c.intended)
    lives = [
        life("trip-a", "trip", "10.0.0.1", (-9.0, "ready"), (62.2, "unready"), (70.0, "ready")),
        life("trip-b", "trip", "10.0.0.2", (-9.0, "ready"), (80.1, "unready"), (90.0, "ready")),
    ]
    values = {"history": History(tuple(calls)), "lives": lives, "marks": kills, **changes}
    return evidence(**values)


def test_kills_pass_within_the_limit_and_fail_above_it(
    evidence: Make, call: Any, life: Any
) -> None:
    good = check_kills(killed(evidence, call, life, 1.0))
    assert (good.verdict, good.n) == (Verdict.PASS, 2)
    assert good.figures["recovery_p95_seconds"] == 1.0
    assert [each["pod"] for each in good.figures["each"]] == ["trip-a", "trip-b"]
    assert check_kills(killed(evidence, call, life, 4.0)).verdict is Verdict.FAIL


def test_kills_that_nobody_retried_did_not_bite(evidence: Make, call: Any, life: Any) -> None:
    seen = killed(evidence, call, life, 1.0)
    assert seen.history is not None
    calls = tuple(c for c in seen.history.calls if c.attempts == 1)
    found = check_kills(killed(evidence, call, life, 1.0, history=History(calls)))
    assert found.verdict is Verdict.UNKNOWN
    assert "did not bite" in found.why


def test_no_kill_and_no_calls_after_one_are_unknown(evidence: Make, call: Any, life: Any) -> None:
    assert check_kills(killed(evidence, call, life, 1.0, marks=())).verdict is Verdict.UNKNOWN
    assert check_kills(killed(evidence, call, life, 1.0, history=None)).verdict is Verdict.UNKNOWN
    calls = [*busy(call, 0, 79, lambda _: False), call(62.1, attempts=2)]
    calls.sort(key=lambda c: c.intended)
    found = check_kills(killed(evidence, call, life, 1.0, history=History(tuple(calls))))
    assert found.verdict is Verdict.UNKNOWN
    assert "too few calls" in found.why


def test_kill_took_hold_when_the_pod_was_seen_to_be_down(
    evidence: Make, call: Any, life: Any
) -> None:
    assert check_kills_took_hold(killed(evidence, call, life, 1.0)).verdict is Verdict.PASS
    lives = [life("trip-a", "trip", "10.0.0.1", (-9.0, "ready"))]
    found = check_kills_took_hold(killed(evidence, call, life, 1.0, lives=lives))
    assert found.verdict is Verdict.UNKNOWN
    assert "2 of 2 stayed ready" in found.why
    none = check_kills_took_hold(killed(evidence, call, life, 1.0, marks=()))
    assert none.verdict is Verdict.UNKNOWN
