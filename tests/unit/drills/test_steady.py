"""A drill begins from users who are well served, or it does not begin."""

from pathlib import Path
from typing import Any

import pytest

from hailstorm_drills import runner
from hailstorm_drills.evidence import Directory
from hailstorm_drills.load import LoadError, LoadSpec
from hailstorm_drills.options import load_seconds
from hailstorm_drills.registry import scenarios
from hailstorm_drills.runner import Runner, SetupError
from hailstorm_drills.steady import crowded, uneasy


def state(p99_ms: float | None = 20.0, not_ok: int = 0) -> dict[str, Any]:
    recent = {"seconds": 10.0, "calls_per_second": 100.0, "p99_ms": p99_ms, "not_ok": not_ok}
    return {
        "recent": recent, "calls": 1000, "fail": 0, "unknown": 0,
        "run_id": "run", "demand_at": 0.0, "state": "running",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        (state(), None),
        (state(p99_ms=250.0), None),
        (state(p99_ms=251.0), "p99 was 251 ms in the last 10 s, the limit is 250 ms"),
        (state(not_ok=2), "2 of 1000 calls were not OK in the last 10 s"),
        (state(p99_ms=None), "no call ended in the last 10 s"),
    ],
)
def test_users_are_well_served_or_it_is_said_why_not(
    seen: dict[str, Any], told: str | None
) -> None:
    assert uneasy(seen, 250.0) == told


def test_background_of_failures_is_borne_where_the_drill_makes_it() -> None:
    assert uneasy(state(not_ok=20), 250.0, 0.02) is None
    assert uneasy(state(not_ok=21), 250.0, 0.02) is not None


class FakeLoad:
    """A system that carries as much of the load as `bears`."""

    def __init__(self, bears: float) -> None:
        self.bears = bears
        self.spec = LoadSpec("load", "image", "Never", "target", 2, {}, 60)
        self.share = 0.0
        self.running = False
        self.log: list[str] = []
        self.silences = 0
        # `_fresh_load` asks first, for the moment when demand begins.
        self.asked = False

    def sweep(self) -> None:
        self.running = False

    def scale(self, share: float) -> None:
        self.share = share

    def start(self) -> None:
        assert not self.running, "two loads at the same time"
        self.running = True
        self.log.append(f"start {self.share:g}")

    def waiting_for(self) -> None:
        return None

    def state(self) -> dict[str, Any]:
        if self.share and self.silences and self.asked:
            self.silences -= 1
            raise LoadError("no answer")
        self.asked = True
        return state(p99_ms=20.0 if self.share <= self.bears else 3500.0)


@pytest.fixture
def make_runner(parameters: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.setattr(runner, "PROBE_SECONDS", 0.0)
    monkeypatch.setattr(runner, "EASE_SECONDS", 0.0)
    # Two cores, of which a fifth is at work.
    monkeypatch.setattr(runner, "machine", lambda: {"cores": 2, "memory_gib": 8.0})
    monkeypatch.setattr(runner, "busy_cores", lambda *_: 0.4)

    def make(load: FakeLoad, told: list[str]) -> Runner:
        made = Runner(
            scenarios()["restart"],
            parameters(drill="restart"),
            None,  # type: ignore[arg-type]
            load,  # type: ignore[arg-type]
            "edge",
            Directory(tmp_path),
            told.append,
        )
        monkeypatch.setattr(made, "_health_now", lambda: None)
        return made

    return make


@pytest.mark.parametrize(
    ("bears", "started"),
    [
        (1.0, ["start 1"]),
        (0.7, ["start 1", "start 0.6"]),
        (0.4, ["start 1", "start 0.6", "start 0.36"]),
    ],
)
def test_load_is_the_first_that_the_system_bears(
    bears: float, started: list[str], make_runner: Any
) -> None:
    load, told = FakeLoad(bears), []  # type: ignore[var-annotated]
    with make_runner(load, told)._bearable_load():
        assert load.running
        assert load.log == started
    assert not load.running
    tries = [line for line in told if "no steady state" in line]
    assert len(tries) == len(started) - 1


@pytest.mark.parametrize(("busy", "told"), [(1.32, None), (1.33, "1.33 of 2 cores were at work")])
def test_machine_has_room_or_it_is_said_how_full_it_is(busy: float, told: str | None) -> None:
    why = crowded(busy, 2, 0.66)
    assert why is None if told is None else str(why).startswith(told)


def test_crowded_machine_is_offered_less_and_at_last_taken_as_it_is(
    make_runner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    load, told = FakeLoad(1.0), []  # type: ignore[var-annotated]
    busy = {1.0: 1.9, 0.6: 1.6, 0.36: 1.4}
    monkeypatch.setattr(runner, "busy_cores", lambda *_: busy[load.share])
    with make_runner(load, told)._bearable_load():
        assert load.log == ["start 1", "start 0.6", "start 0.36"]
    assert any("1.40 of 2 cores were at work" in line for line in told)


def test_load_that_nothing_carries_is_no_drill(make_runner: Any) -> None:
    load = FakeLoad(0.1)
    with (
        pytest.raises(SetupError, match=r"p99 was 3500 ms .* at 0\.36 of the load.*--load-scale"),
        make_runner(load, [])._bearable_load(),
    ):
        raise AssertionError("the drill began")
    assert load.log == ["start 1", "start 0.6", "start 0.36"]
    assert not load.running


def test_load_that_is_lost_on_the_way_is_told_and_not_put_on_again(make_runner: Any) -> None:
    load = FakeLoad(1.0)
    made = make_runner(load, [])
    with made._bearable_load():
        with made._phases.phase("baseline"):
            pass
        raise LoadError("the master has gone")
    assert made._problems == {"load": "the master has gone"}
    assert load.log == ["start 1"]
    assert not load.running


def test_master_that_does_not_answer_once_is_asked_again(make_runner: Any) -> None:
    load = FakeLoad(1.0)
    load.silences = 1
    with make_runner(load, [])._bearable_load():
        pass
    assert load.log == ["start 1", "start 0.6"]


def test_release_that_does_not_rest_after_a_load_is_no_drill(
    make_runner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_runner(FakeLoad(0.7), [])
    monkeypatch.setattr(made, "_health_now", lambda: "trip-1 is not ready")
    monkeypatch.setattr(runner, "SETTLED_SECONDS", 0.0)
    with pytest.raises(SetupError, match="trip-1 is not ready"), made._bearable_load():
        raise AssertionError("the drill began")


def test_fault_waits_for_a_steady_state_and_says_that_there_is_none(make_runner: Any) -> None:
    load = FakeLoad(0.5)
    load.share = 1.0
    with pytest.raises(SetupError, match=r"the fault was not injected.*3500 ms"):
        make_runner(load, [])._be_at_ease()
    load.share = 0.5
    make_runner(load, [])._be_at_ease()


def test_load_outlasts_a_drill_that_watches_lighter_load_for_longer() -> None:
    values = {
        "baseline_seconds": 60.0, "recover_seconds": 30.0, "times": 1, "fault_seconds": 0.0,
        "took_hold_seconds": 100.0, "healed_seconds": 200.0, "interval_seconds": 0.0,
    }  # fmt: skip
    assert load_seconds({**values, "load_scales": (1.0,)}) == 90 + 300 + 120
    assert load_seconds({**values, "load_scales": (1.0, 0.5)}) == 180 + 300 + 120
