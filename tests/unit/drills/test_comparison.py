"""What a comparison says of what it saw: figures and verdicts, each branch of them."""

import dataclasses
import json

import pytest

from hailstorm_drills.checkers.base import Verdict
from hailstorm_drills.comparison import recording as recordings
from hailstorm_drills.comparison.figures import first_capacity, flaps, measure, value_at
from hailstorm_drills.comparison.recording import RecordingError
from hailstorm_drills.comparison.settings import (
    ARM_TITLES,
    ARMS,
    CPU_HPA,
    IN_FLIGHT_HPA,
    OURS,
    SHAPES,
    Settings,
    settings_for,
)
from hailstorm_drills.comparison.verdicts import judge, ratios
from unit.drills.recorded_arms import SETTINGS, START, make_recording


def test_measure_counts_from_the_schedule():
    figures = measure(make_recording(slow_for=2.0), SETTINGS)
    assert (figures.offered, figures.over_slo, figures.failed) == (30 * 10 + 30 * 50, 100, 0)
    assert figures.first_capacity_seconds == 0.5
    assert figures.p99_back_seconds == 2.0
    # 60 s of the one pod, 10 s of the other, cut to the load's time.
    assert figures.pod_seconds == 70.0
    assert figures.generator_lag_p99_ms == 1


def test_measure_counts_seconds_with_too_few_pods():
    settings = dataclasses.replace(SETTINGS, cpu_ms_per_call=13.0)
    # 200m / 13 ms * 0.8 = 12.3 calls/s a pod: 50/s need five pods.
    assert settings.pods_needed(50) == 5
    # By the rate alone: with one pod less than ours begin with, a rival may have enough.
    assert settings.pods_needed(1) == 1
    figures = measure(make_recording(serve_after=4.0, settings=settings), settings)
    assert figures.under_provisioned_seconds == pytest.approx(4.0, abs=0.11)


def test_measure_tells_failed_from_unknown():
    failed = measure(make_recording(slow_for=1.0, code="UNAVAILABLE"), SETTINGS)
    unknown = measure(make_recording(slow_for=1.0, code="DEADLINE_EXCEEDED"), SETTINGS)
    assert (failed.failed, failed.unknown, failed.over_slo) == (50, 0, 50)
    assert (unknown.failed, unknown.unknown, unknown.over_slo) == (0, 50, 50)


def test_p99_is_back_only_when_it_stays():
    never = measure(make_recording(slow_for=28.0), SETTINGS)
    assert never.p99_back_seconds is None


@pytest.mark.parametrize(
    ("values", "expected"), [((2, 5), 0), ((2, 5, 4), 1), ((2, 5, 4, 6, 3), 3), ((2,), 0)]
)
def test_flaps_counts_turns(values, expected):
    steps = tuple((START + number, value) for number, value in enumerate(values))
    assert flaps(steps, START, START + 100) == expected


def test_first_capacity_needs_more_than_there_was():
    steps = ((0.0, 2), (10.0, 1), (12.0, 2), (13.0, 3))
    assert first_capacity(steps, 5.0, 99.0) == 8.0
    assert first_capacity(steps[:3], 5.0, 99.0) is None
    # What comes after the last call helped nobody.
    assert first_capacity(steps, 5.0, 13.0) is None
    assert value_at(steps, 11.0) == 1


def figures_of(ours=None, cpu=30.0, in_flight=20.0, settings=SETTINGS, **changes):
    found = {
        CPU_HPA: measure(make_recording(CPU_HPA, slow_for=cpu, settings=settings), settings),
        IN_FLIGHT_HPA: measure(
            make_recording(IN_FLIGHT_HPA, slow_for=in_flight, settings=settings), settings
        ),
        OURS: measure(make_recording(OURS, slow_for=ours or 0.5, settings=settings), settings),
    }
    return {**found, **changes}


def verdicts_of(figures, settings=SETTINGS):
    lines, verdict = judge(figures, settings)
    return {line.name: line.verdict for line in lines}, verdict


def test_judge_passes_what_is_within_every_limit():
    names, verdict = verdicts_of(figures_of())
    assert verdict == Verdict.PASS
    assert len(names) == 7


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"over_slo": 60}, "calls over the SLO, against HPA on CPU 60 %"),
        ({"over_slo": 110}, "calls over the SLO, against HPA on the edge's in-flight"),
        ({"failed": 1}, "failed calls"),
        ({"unknown": 1}, "failed calls"),
        ({"first_capacity_seconds": 1.2}, "first new capacity in the EndpointSlice"),
        ({"first_capacity_seconds": None}, "first new capacity in the EndpointSlice"),
        ({"p99_back_seconds": 4.0}, "p99 back under the SLO"),
    ],
)
def test_judge_fails_each_line(changed, line):
    figures = figures_of()
    figures[OURS] = dataclasses.replace(figures[OURS], **changed)
    names, verdict = verdicts_of(figures)
    assert names[line] == Verdict.FAIL
    assert verdict == Verdict.FAIL


def test_judge_is_unknown_without_an_arm_and_without_anything():
    figures = figures_of()
    del figures[CPU_HPA]
    names, verdict = verdicts_of(figures)
    assert verdict == Verdict.UNKNOWN
    assert names["calls over the SLO, against HPA on CPU 60 %"] == Verdict.UNKNOWN
    assert judge({}, SETTINGS)[1] == Verdict.UNKNOWN


def test_judge_is_unknown_when_a_rival_has_nothing_over_the_slo():
    names, _ = verdicts_of(figures_of(cpu=0.0))
    assert names["calls over the SLO, against HPA on CPU 60 %"] == Verdict.UNKNOWN


def test_judge_takes_back_every_line_when_the_load_lagged():
    figures = figures_of()
    figures[CPU_HPA] = dataclasses.replace(figures[CPU_HPA], generator_lag_p99_ms=80.0)
    names, verdict = verdicts_of(figures)
    assert verdict == Verdict.UNKNOWN
    # Whether all began alike is seen all the same.
    assert names.pop("pods serving before the change") == Verdict.PASS
    assert set(names.values()) == {Verdict.UNKNOWN}


def test_judge_of_a_spike_compares_cost_with_rivals_that_held_the_slo():
    settings = Settings(shape="spike", hold_seconds=30)
    figures = figures_of(0.0, 0.0, 5.0, settings=settings)
    figures[OURS] = dataclasses.replace(figures[OURS], over_slo=0)
    names, _ = verdicts_of(figures, settings)
    assert names["pod-seconds, against HPA on CPU 60 %"] == Verdict.PASS
    assert names["pod-seconds, against HPA on the edge's in-flight"] == Verdict.UNKNOWN
    figures[OURS] = dataclasses.replace(figures[OURS], pod_seconds=90.0, flaps=3)
    names, verdict = verdicts_of(figures, settings)
    assert names["pod-seconds, against HPA on CPU 60 %"] == Verdict.FAIL
    assert names["flaps, against HPA on CPU 60 %"] == Verdict.FAIL
    assert verdict == Verdict.FAIL


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape != "step"])
def test_judge_asks_whether_ours_held_the_slo(shape):
    settings = settings_for(shape)
    figures = figures_of(0.5, 0.0, 0.0)
    names, verdict = verdicts_of(figures, settings)
    # Every rival held it, and ours was no dearer: nothing else fails.
    assert {name for name, one in names.items() if one != Verdict.PASS} == {"ours held the SLO"}
    assert names["ours held the SLO"] == verdict == Verdict.FAIL
    # A line that cannot fail says nothing: there is a change in the spike alone.
    assert ("pods serving before the change" in names) == (shape == "spike")
    figures[OURS] = dataclasses.replace(figures[OURS], over_slo=figures[OURS].offered // 100)
    names, verdict = verdicts_of(figures, settings)
    assert names["ours held the SLO"] == verdict == Verdict.PASS
    del figures[OURS]
    assert verdicts_of(figures, settings)[0]["ours held the SLO"] == Verdict.UNKNOWN


def test_pod_seconds_name_the_flag_that_finds_what_a_rival_needs():
    settings = settings_for("ramp", rivals_from={IN_FLIGHT_HPA: 3})
    lines, _ = judge(figures_of(0.5, 5.0, 0.0), settings)
    why = {line.name: (line.verdict, line.why) for line in lines}
    verdict, told = why["pod-seconds, against HPA on CPU 60 %"]
    assert verdict == Verdict.UNKNOWN
    assert told.startswith("from 2 pods on it left")
    assert "--find-rivals" in told
    verdict, told = why["pod-seconds, against HPA on the edge's in-flight"]
    assert verdict == Verdict.PASS
    assert "from 3 pods on" in told


def test_ratios_say_nothing_of_a_zero():
    found = ratios(figures_of(cpu=0.0))
    assert found[CPU_HPA]["over_slo"] is None
    assert found[IN_FLIGHT_HPA]["over_slo"] == pytest.approx(25 / 1000)


def load_text(calls=3, declared=3, ended=True):
    lines = [
        {"kind": "plan", "start_at": 5.0, "rates": [3.0], "calls": declared},
        {"kind": "calls", "calls": [[i / 10, 0.1, 50.0, "OK"] for i in range(calls)]},
    ]
    if ended:
        lines.append({"kind": "end", "calls": declared, "cpu_seconds": 0.2})
    return "\n".join(json.dumps(line) for line in lines)


def test_read_load_refuses_a_log_that_is_cut():
    assert len(recordings.read_load(load_text()).samples) == 3
    for text, why in (
        (load_text(ended=False), "cut"),
        (load_text(calls=2), "3 calls were planned"),
        ("", "never began"),
        ("connection refused", "no JSON"),
    ):
        with pytest.raises(RecordingError, match=why):
            recordings.read_load(text)


def slice_event(at, *addresses, ready=True, kind="MODIFIED", name="target-x"):
    return {
        "at": at,
        "type": kind,
        "object": {
            "metadata": {"name": name, "labels": {"kubernetes.io/service-name": "target"}},
            "endpoints": [{"addresses": [a], "conditions": {"ready": ready}} for a in addresses],
        },
    }


def test_serving_steps_count_ready_addresses_once():
    events = [
        slice_event(1.0, "a", "b"),
        slice_event(2.0, "b", "c", name="target-y"),
        slice_event(3.0, "d", ready=False, name="target-y"),
        slice_event(4.0, kind="DELETED"),
        {"at": 5.0, "type": "GAP"},
    ]
    assert recordings.serving_steps(events) == ((1.0, 2), (2.0, 3), (3.0, 2), (4.0, 0))


def test_pod_spans_hold_spares_and_nobody_elses():
    def event(at, kind, name):
        meta = {"name": name, "uid": name}
        return {"at": at, "type": kind, "object": {"metadata": meta, "status": {}}}

    events = [
        event(1.0, "ADDED", "target-1"),
        event(1.0, "ADDED", "target-spare-1"),
        event(1.0, "ADDED", "edge-1"),
        event(4.0, "DELETED", "target-1"),
    ]
    assert recordings.pod_spans(events, 9.0) == ((1.0, 4.0), (1.0, 9.0))


def test_recording_survives_a_file():
    before = make_recording(slow_for=1.0)
    found = json.loads(json.dumps(recordings.as_json(before)))
    after = recordings.from_json(found)
    assert measure(after, SETTINGS) == measure(before, SETTINGS)


@pytest.mark.parametrize("arm", ARMS)
def test_an_arm_with_more_pods_before_the_step_makes_the_comparison_unknown(arm):
    figures = dict.fromkeys(ARMS, measure(make_recording(), SETTINGS))
    lines, _ = judge(figures, SETTINGS)
    assert lines[-1].verdict is Verdict.PASS
    figures[arm] = dataclasses.replace(figures[arm], serving_before=4)
    lines, verdict = judge(figures, SETTINGS)
    assert verdict is Verdict.UNKNOWN
    assert {line.why for line in lines[:-2]} == {"not all began alike"}
    assert f"{ARM_TITLES[arm]} 4" in lines[-1].measured


def test_a_shape_without_a_moment_of_change_needs_no_equal_beginning():
    settings = settings_for("ramp")
    figures = dict.fromkeys(ARMS, measure(make_recording(settings=settings), settings))
    assert figures[OURS].serving_before is None
    lines, _ = judge(figures, settings)
    assert lines[-1].verdict is Verdict.PASS
