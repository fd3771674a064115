"""What only some drills show: each kill, each deploy, streams, attempts, a control."""

from collections.abc import Callable
from typing import Any

import pytest

from hailstorm_drills.evidence import Evidence
from hailstorm_drills.faults.operator_away import OPERATOR_AWAY
from hailstorm_drills.marks import DEPLOY, KILL, Mark, Marks, read_marks
from hailstorm_drills.replicas import Count
from hailstorm_drills.report.own import each_section, own_tiles
from hailstorm_drills.report.page import render_page
from hailstorm_drills.report.postmortem import render_postmortem
from hailstorm_drills.scalers import SCALER
from hailstorm_drills.verdict import as_json, judge

Make = Callable[..., Evidence]


def drilled(evidence: Make, parameters: Any, drill: str, *marks: Mark, **more: Any) -> Evidence:
    recorder = {
        "attempts": 9000,
        "total": 0,
        "omitted": 0,
        "unsampled": [],
        "complete": True,
        "gaps": [],
        "failures": [],
    }
    return evidence(parameters=parameters(drill=drill), marks=marks, recorder=recorder, **more)


def test_page_marks_every_deploy_and_tells_of_the_naive_arm(
    evidence: Make, parameters: Any
) -> None:
    arm = {"offered": 1000, "ok": 990, "failed": 10, "rolls": 1}
    seen = drilled(
        evidence,
        parameters,
        "ten-deploys",
        Mark(DEPLOY, "deploy <1>", 61.0, 99.0),
        control=arm,
    )
    judgement = judge(seen)
    text = render_page(seen, judgement)
    # Once in each of the three panels that share their time, and escaped.
    assert text.count('class="mark each"') == 3
    assert "deploy &lt;1&gt; (deploy 1, 38.0 s)" in text
    assert "deploy <1>" not in text
    assert "<h2>Each deploy</h2>" in text
    tiles = {name: value for name, value, _ in own_tiles(as_json(seen, judgement))}
    assert tiles["deploys"] == "1 of 1"
    assert tiles["the naive arm fails"] == "at least 8.7 times"
    assert tiles["failed attempts"] == "0 of 0"
    told = as_json(seen, judgement)
    assert told["control"]["offered"] == 1000
    assert told["marks"][0]["kind"] == DEPLOY


def test_page_tells_of_p99_against_that_before(evidence: Make, parameters: Any) -> None:
    seen = evidence(parameters=parameters(drill="restart", max_p99_ratio=1.5))
    judgement = judge(seen)
    told = as_json(seen, judgement)
    assert (told["p99_ratio"], told["max_p99_ratio"]) == (1.0, 1.5)
    assert "20 ms before, 20 ms after; 1 times, at most 1.5 asked" in render_page(seen, judgement)
    assert "1 times during the fault; at most 1.5 times was asked" in render_postmortem(
        seen, judgement
    )
    free = evidence()
    assert "20 ms after; 1 times<" in render_page(free, judge(free))


def test_page_tells_of_the_operators_own_drills(evidence: Make, parameters: Any) -> None:
    counts = {"trip": (Count(-9.0, 3), Count(99.5, 2))}
    figures = {"writes": [{"from": 3, "to": 2}], "spare_moves": []}
    stepped = evidence(
        parameters=parameters(drill="scaler-steps-down", replicas=3, to_replicas=2),
        replicas=counts,
        marks=[Mark(SCALER, "trip", 60.0, 99.0, figures)],
    )
    tiles = {name: value for name, value, _ in own_tiles(as_json(stepped, judge(stepped)))}
    assert tiles["steps down of trip"] == "1"
    away = evidence(
        parameters=parameters(drill="operator-away", replicas=3, to_replicas=2),
        replicas=counts,
        marks=[Mark(OPERATOR_AWAY, "operator", 61.0, 90.0)],
    )
    tiles = {name: value for name, value, _ in own_tiles(as_json(away, judge(away)))}
    assert tiles["after the operator's return"] == "9.5 s"


def test_page_has_every_kill_with_its_recovery(evidence: Make, parameters: Any) -> None:
    seen = drilled(evidence, parameters, "kill-pod", Mark(KILL, "trip-old", 80.0, 99.0))
    judgement = judge(seen)
    assert "<h2>Each kill</h2>" in each_section(judgement)
    tiles = {name: value for name, value, _ in own_tiles(as_json(seen, judgement))}
    # 20 calls a second are too few for a p99 of two seconds.
    assert tiles["recovery p95 of kills"] == "unknown"


@pytest.mark.parametrize("drill", ["rolling-deploy", "drain-node"])
def test_page_of_a_drill_without_repetitions_has_no_such_part(
    drill: str, evidence: Make, parameters: Any
) -> None:
    judgement = judge(drilled(evidence, parameters, drill))
    assert each_section(judgement) == ""


def test_marks_come_back_as_they_were() -> None:
    marks = Marks(clock=iter([5.0, 7.5]).__next__)
    mark = marks.add(KILL, "trip-1", component="trip")
    marks.close(mark, recovery=1)
    assert read_marks(marks.as_json()) == (
        Mark(KILL, "trip-1", 5.0, 7.5, {"component": "trip", "recovery": 1}),
    )
