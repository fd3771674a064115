"""`hailstorm scaler explain|replay`, on objects as the API server gives them."""

import io
import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hailstorm_operator import api, console, scaler_console
from hailstorm_operator.explanations import explain, tell
from hailstorm_operator.scaler_status import describe, history_entry
from hailstorm_operator.scaling import decide_scale
from hailstorm_operator.scaling_inputs import Capacity, Demand, Inputs, Memory, Rules
from hailstorm_operator.signals import Reading
from unit.operator.fake_cluster import merge

RULES = Rules(
    min_replicas=2,
    max_replicas=10,
    in_flight_per_pod=5.0,
    tolerance=0.1,
    max_pods_in_creation=4,
    stable_window_seconds=30.0,
    scale_down_window_seconds=300.0,
    startup_seconds=8.0,
)
CALM = Memory(False, 0.0, 900.0, 4)


def scaler(
    fast: float | None = 16.0,
    replicas: int = 4,
    memory: Memory = CALM,
    rules: Rules = RULES,
    reading: Reading | None = None,
    **demand: Any,
) -> dict[str, Any]:
    """An object after one tick, as a merge patch has left it."""
    state = demand.pop("state", "stale" if fast is None else "fresh")
    wanted = Demand(fast, fast, demand.pop("peak", fast), state, **demand)
    inputs = Inputs(1000.0, rules, wanted, Capacity(replicas, replicas, False), memory)
    decision = decide_scale(inputs)
    seen = reading or Reading(fast, state, {"edge-0": fast or 0.0}, ())
    status, conditions = describe(decision, seen, 1, None)
    status["decisions"] = [history_entry(decision)]
    status["conditions"] = [
        {"type": one.type, "status": str(one.status), "reason": one.reason, "message": one.message}
        for one in conditions
    ]
    made: dict[str, Any] = {
        "metadata": {"name": "dispatch"},
        "status": json.loads(json.dumps(merge({}, status))),
    }
    return made


def said(**given: Any) -> str:
    return "\n".join(scaler_console.explain_scaler(scaler(**given)))


def test_explanation_says_what_is_measured_planned_and_would_change_it() -> None:
    text = said(shed=2.0)
    assert "dispatch has 4 replicas, 4 of them ready, and is to have 4." in text
    assert "The edge counts 16.0 calls in flight at present" in text
    assert "2.0 of them stand for calls that were refused" in text
    assert "A pod is planned to hold 5, so 16.0 ask for 4 pods." in text
    assert "It grows when more than 22.0 calls in flight last." in text
    assert "It shrinks by a step when fewer than 10.2 have been planned for over 300 s" in text


def test_explanation_names_the_slope_the_panic_and_the_peak() -> None:
    assert "grows steadily, by 0.50 a second, and a new pod serves after 8 s" in said(slope=0.5)
    panic = replace(CALM, panicking=True, last_crossing=999.0)
    assert "It is in panic" in said(memory=panic)
    assert "It has just started" in said(memory=replace(panic, is_starting=True))
    assert "The highest plan of the last 300 s was 19.0" in said(peak=19.0)


def test_explanation_names_who_is_silent() -> None:
    partial = Reading(16.0, "partial", {"edge-0": 8.0}, ("edge-1 (timed out)",))
    text = said(state="partial", reading=partial)
    assert "edge-1 (timed out) does not answer." in text
    stale = Reading(None, "stale", {}, ("edge-0 (gone)",), kind="pods")
    text = said(fast=None, reading=stale)
    assert "edge-0 (gone) does not answer." in text
    assert "that is not taken for zero" in text
    assert "What decided is staleSignalHolds: a missing signal is not zero." in text


def test_explanation_names_the_bounds() -> None:
    text = said(fast=80.0, replicas=10)
    assert "What decided is maxReplicas: maxReplicas is 10." in text
    assert "It cannot grow: maxReplicas ends it at 10." in text
    assert "It cannot shrink: minReplicas is 2." in said(fast=1.0, replicas=2)
    budget = replace(RULES, connections_per_pod=10, connections=40)
    assert "It cannot grow: connectionBudget ends it at 4." in said(rules=budget)


def test_explanation_says_when_a_step_down_is_due() -> None:
    text = said(fast=1.0, memory=replace(CALM, seen_since=800.0, last_change=990.0))
    assert "in 100 s at the earliest" in text


def test_explanation_of_a_step_down_says_how_often_there_is_one() -> None:
    seen = replace(CALM, seen_since=100.0, last_change=100.0)
    assert "What decided is stepDown: one step down each 30 s." in said(fast=1.0, memory=seen)
    soon = replace(seen, last_change=990.0)
    assert "What decided is stableWindow: one step down each 30 s." in said(fast=1.0, memory=soon)


@pytest.mark.parametrize("clamp", [name for name in vars(api) if name.startswith("CLAMP_")])
def test_every_clamp_can_be_explained(clamp: str) -> None:
    demand = Demand(16.0, 16.0, 16.0, "fresh")
    decision = decide_scale(Inputs(1000.0, RULES, demand, Capacity(4, 4, False), CALM))
    decision = replace(decision, clamp=getattr(api, clamp))
    told = [*tell("dispatch", decision, "edge", []), explain(decision)]
    assert "{" not in " ".join(told)


def test_explanation_of_a_target_at_zero_says_how_to_hand_it_back() -> None:
    text = said(replicas=0)
    assert "dispatch does not scale (ScaledToZero)" in text
    assert "Scale the target to 1 or more" in text


def test_explanation_ends_with_the_last_step_taken_apart() -> None:
    stepped = scaler()
    event = {
        "at": "2026-11-26T05:00:00.200Z",
        "from": 4,
        "to": 4,
        "signalMilliseconds": 300.0,
        "decisionMilliseconds": 20.0,
        "writeMilliseconds": 12.0,
        "seconds": {"spareInService": 0.4},
    }
    stepped["status"]["scaleEvents"] = [event]
    text = "\n".join(scaler_console.explain_scaler(stepped))
    assert (
        "The last step (spares beside 4, 2026-11-26T05:00:00.200Z): the signal was 300 ms old, "
        "the decision took 20 ms and its write 12 ms; its spares were in the Service after 0.4 s."
    ) in text
    event |= {"to": 6, "seconds": {"created": 0.3, "ready": 9.5}}
    text = "\n".join(scaler_console.explain_scaler(stepped))
    assert "The last step (4 → 6, " in text
    assert "; its pods were created after 0.3 s, ready after 9.5 s." in text


def test_object_without_a_decision_says_so() -> None:
    fresh: dict[str, Any] = {"metadata": {"name": "dispatch"}}
    assert scaler_console.explain_scaler(fresh) == ["dispatch has not decided anything yet."]


def test_decision_by_other_rules_is_told_in_their_words() -> None:
    made = scaler(fast=40.0)
    made["status"]["latest"]["decider"] = 5
    made["status"]["latest"]["explanation"] = "4 → 5: as it was then"
    said_ = scaler_console.explain_scaler(made)
    assert said_[0].startswith("dispatch was decided by rules 5, and these are ")
    assert "4 → 5: as it was then." in said_[0]
    assert len(said_) == 2


def test_decision_of_another_operator_is_no_traceback() -> None:
    strange = scaler()
    strange["status"]["latest"]["inputs"]["rules"]["unheard"] = 1
    assert "another version" in scaler_console.explain_scaler(strange)[-1]


def feed(monkeypatch: pytest.MonkeyPatch, document: Any) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(document)))


@pytest.mark.parametrize("fast", [None, 1.0, 16.0, 500.0])
def test_kept_decisions_come_out_the_same(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], fast: float | None
) -> None:
    feed(monkeypatch, {"items": [scaler(fast=fast), scaler(fast=fast, replicas=9)]})
    assert scaler_console.replay_main(["-"]) == scaler_console.SAME
    assert capsys.readouterr().out.count("same") == 4


def test_changed_decision_is_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = scaler()
    changed["status"]["decisions"][0]["desired"] = 9
    feed(monkeypatch, changed)
    assert scaler_console.replay_main(["-"]) == scaler_console.DIFFERENT
    assert "desired was 9 and comes out as 4" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        ({"decider": 1}, "decided by rules 1"),
        ({"inputs": {}}, "cannot be read"),
        ({"explanation": "because"}, "the explanation comes out as"),
        ({"memory": {}}, "memory was"),
    ],
)
def test_what_cannot_be_replayed_is_named(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    damage: dict[str, Any],
    problem: str,
) -> None:
    damaged = scaler()
    damaged["status"]["decisions"][0] |= damage
    feed(monkeypatch, damaged)
    assert scaler_console.replay_main(["-"]) == scaler_console.DIFFERENT
    assert problem in capsys.readouterr().out


def test_nothing_to_replay_is_no_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    feed(monkeypatch, {"metadata": {"name": "dispatch"}})
    assert scaler_console.replay_main(["-"]) == scaler_console.NOTHING
    feed(monkeypatch, [])
    assert scaler_console.replay_main(["-"]) == scaler_console.NOTHING
    assert scaler_console.explain_main(["missing.json"]) == scaler_console.NOTHING


def test_name_is_read_by_kubectl(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    asked = tmp_path / "asked"
    (tmp_path / "object.json").write_text(json.dumps(scaler()))
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(f'#!/bin/sh\necho "$@" > {asked}\ncat {tmp_path}/object.json\n')
    kubectl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert scaler_console.explain_main(["dispatch", "-n", "rides"]) == 0
    assert "dispatch has 4 replicas" in capsys.readouterr().out
    assert asked.read_text().split()[:2] == ["get", "servicescalers.hailstorm.dev"]
    assert "--namespace rides" in asked.read_text()


def test_kubectl_that_fails_or_is_missing_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for raised, text in (
        (FileNotFoundError(), "kubectl is not on the PATH"),
        (subprocess.CalledProcessError(1, "kubectl", stderr="not found\n"), "not found"),
        (subprocess.TimeoutExpired("kubectl", 30), "has not answered within"),
    ):

        def fail(*_: Any, raised: Exception = raised, **__: Any) -> None:
            raise raised

        monkeypatch.setattr("subprocess.run", fail)
        assert scaler_console.explain_main(["dispatch"]) == scaler_console.NOTHING
        assert text in capsys.readouterr().err


def test_console_finds_the_commands_and_names_them_otherwise(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["hailstorm", "scaler", "sleep"])
    assert console.main() == console.USAGE_EXIT
    assert "hailstorm scaler explain" in capsys.readouterr().err
    feed(monkeypatch, scaler())
    monkeypatch.setattr("sys.argv", ["hailstorm", "scaler", "explain", "-"])
    assert console.main() == 0
    assert "dispatch has 4 replicas" in capsys.readouterr().out
