"""What a comparison says of what it saw: figures and verdicts, each branch of them."""

import dataclasses
import json
import os
import signal
import subprocess

import pytest

from hailstorm_drills.checkers.base import Verdict
from hailstorm_drills.comparison import __main__ as command
from hailstorm_drills.comparison import recording as recordings
from hailstorm_drills.comparison.figures import first_capacity, flaps, measure, value_at
from hailstorm_drills.comparison.kept import commit_of, find_origin, keep, kept
from hailstorm_drills.comparison.page import render_page
from hailstorm_drills.comparison.recording import (
    LoadSeen,
    Origin,
    Recording,
    RecordingError,
    Sample,
)
from hailstorm_drills.comparison.settings import (
    ARMS,
    CPU_HPA,
    IN_FLIGHT_HPA,
    OURS,
    SHAPES,
    Settings,
    settings_for,
)
from hailstorm_drills.comparison.verdicts import judge, ratios
from hailstorm_drills.images import images_of
from hailstorm_drills.runner import SetupError

START = 1_000.0
WHEN = "1970-01-01T00:16:40Z"
SETTINGS = Settings(hold_seconds=30)
HERE = Origin("cluster-1", "commit-1")
IMAGES = {"drills": "d:a", "envoy": "e:c", "operator": "o:b"}


def make_recording(
    arm=OURS,
    *,
    slow_for=0.0,
    serve_after=0.5,
    settings=SETTINGS,
    code="OK",
    lag=1,
    origin=HERE,
    start=START,
):
    """A step of 30 s at 10/s to 50/s; slow for so long after it, five pods after `serve_after`."""
    rates = tuple(10.0 if second < 30 else 50.0 for second in range(settings.seconds))
    samples = []
    for second, rate in enumerate(rates):
        for number in range(int(rate)):
            due = second + number / rate
            is_slow = 30 <= due < 30 + slow_for
            ok = "OK" if not is_slow else code
            samples.append(Sample(due, lag, 500.0 if is_slow else 60.0, ok))
    return Recording(
        arm=arm,
        settings=settings.of_arm(arm),
        images=IMAGES,
        origin=origin,
        load=LoadSeen(start, rates, tuple(samples), 1.0),
        serving=((start - 20, 2), (start + 30 + serve_after, 5)),
        desired=((start - 20, 2), (start + 31, 5)),
        pods=((start - 20, start + 100), (start + 40, start + 50)),
        spares=0,
    )


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
    assert len(names) == 6


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
    assert "--rival-min-replicas" in told
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


def write(folder, one, settings=SETTINGS):
    folder.mkdir(exist_ok=True)
    keep(folder / settings.file_of(one.arm), one)


def test_kept_passes_over_what_is_another_measurement(tmp_path):
    write(tmp_path, make_recording())
    assert set(kept(tmp_path, SETTINGS, IMAGES, HERE)[0]) == {OURS}
    for settings, images, origin, why in (
        (Settings(hold_seconds=31), IMAGES, HERE, "settings"),
        (SETTINGS, {**IMAGES, "drills": "x:new"}, HERE, "images"),
        (SETTINGS, {**IMAGES, "operator": "x:new"}, HERE, "images"),
        (SETTINGS, IMAGES, Origin("cluster-2", HERE.commit), "cluster"),
        (SETTINGS, IMAGES, Origin(HERE.cluster, "commit-2"), "commit"),
    ):
        found, refused = kept(tmp_path, settings, images, origin)
        assert found == {}
        assert why in refused[OURS]


@pytest.mark.parametrize("without", ["images", "origin"])
def test_kept_passes_over_recordings_of_before(tmp_path, without):
    document = recordings.as_json(make_recording())
    del document[without]
    (tmp_path / f"{OURS}.json").write_text(json.dumps(document))
    assert kept(tmp_path, SETTINGS, IMAGES, HERE)[0] == {}
    assert kept(tmp_path, SETTINGS, IMAGES, None)[0] == {}


def test_kept_judges_the_newest_and_what_was_run_with_it(tmp_path):
    older = Origin("cluster-0", "commit-1")
    write(tmp_path, make_recording(CPU_HPA, origin=older))
    write(tmp_path, make_recording(IN_FLIGHT_HPA, start=START + 300))
    write(tmp_path, make_recording(OURS, start=START + 600))
    found, refused = kept(tmp_path, SETTINGS, IMAGES, None)
    assert set(found) == {IN_FLIGHT_HPA, OURS}
    assert set(refused) == {CPU_HPA}


def test_kept_looks_only_at_what_an_arm_depends_on(tmp_path):
    for arm in ARMS:
        write(tmp_path, make_recording(arm))
    fewer = dataclasses.replace(SETTINGS, spares=1)
    assert set(kept(tmp_path, fewer, IMAGES, HERE)[0]) == {CPU_HPA, IN_FLIGHT_HPA}
    raised = dataclasses.replace(SETTINGS, rivals_from={CPU_HPA: 5})
    assert set(kept(tmp_path, raised, IMAGES, HERE)[0]) == {IN_FLIGHT_HPA, OURS}
    write(tmp_path, make_recording(CPU_HPA, settings=raised), raised)
    # Each beside the other, so that neither has to be run again.
    for settings, least in ((raised, 5), (SETTINGS, 2)):
        found, _ = kept(tmp_path, settings, IMAGES, HERE)
        assert found[CPU_HPA].settings["min_replicas"] == least


def git(folder, *words):
    author = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    subprocess.run(["git", *author, *words], cwd=folder, check=True, capture_output=True)


def test_the_commit_says_when_files_differ_from_it_and_docs_do_not_count(tmp_path):
    (tmp_path / "docs").mkdir()
    for file in ("code", "docs/scaling.json"):
        (tmp_path / file).write_text("1")
    assert commit_of(tmp_path) == ""
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "first")
    commit = commit_of(tmp_path)
    assert len(commit) == 40
    (tmp_path / "docs" / "scaling.json").write_text("2")
    assert commit_of(tmp_path) == commit
    (tmp_path / "code").write_text("2")
    assert commit_of(tmp_path) == f"{commit}+changes"


def test_the_origin_is_the_clusters_oldest_namespace(tmp_path):
    class Answers:
        def kubectl(self, *words):
            assert words[:3] == ("get", "namespace", "kube-system")
            return "uid-1\n"

    assert find_origin(Answers(), tmp_path) == Origin("uid-1", "")


@pytest.fixture
def ran(monkeypatch):
    """The arms that a command line runs, on this cluster and at this commit."""
    arms = []
    monkeypatch.setattr(command, "find_origin", lambda _: HERE)
    monkeypatch.setattr(command, "_run", lambda _, __, ___, names, ____: arms.extend(names))
    return arms


def test_arms_that_are_kept_are_told_of_and_keep_their_time(tmp_path, ran, capsys):
    for arm in (CPU_HPA, OURS):
        write(tmp_path / "compare-step", make_recording(arm))
    evidence = tmp_path / "scaling.json"
    command.main(
        [*words(tmp_path), "--arms", f"{IN_FLIGHT_HPA},{OURS}", "--evidence", f"{evidence}"]
    )
    assert ran == [IN_FLIGHT_HPA, OURS]
    told = capsys.readouterr().out
    assert f"HPA on CPU 60 % is not run: kept from {WHEN}" in told
    assert "ServiceScaler is not run" not in told
    (shape,) = json.loads(evidence.read_text())["shapes"].values()
    assert shape["measured_at"] == {CPU_HPA: WHEN, OURS: WHEN}
    assert shape["origin"] == {"cluster": "cluster-1", "commit": "commit-1"}
    assert shape["command"] == 'make compare COMPARE="--hold-seconds 30"'


def test_arms_of_another_cluster_are_run_again_and_their_figures_stay_out(tmp_path, ran, capsys):
    for arm in ARMS:
        write(tmp_path / "compare-step", make_recording(arm, origin=Origin("gone", HERE.commit)))
    evidence = tmp_path / "scaling.json"
    command.main([*words(tmp_path), "--evidence", f"{evidence}"])
    assert ran == list(ARMS)
    told = capsys.readouterr().out
    assert "ServiceScaler as it was kept is not used: it is of another cluster" in told
    assert not evidence.exists()


def test_judging_alone_asks_no_cluster(tmp_path, monkeypatch, capsys):
    for arm in ARMS:
        write(tmp_path / "compare-step", make_recording(arm, slow_for=0.5))
    monkeypatch.setattr(command, "find_origin", None)
    assert command.main([*words(tmp_path), "--judge-only"]) == 1
    assert "≤ 1/30" in capsys.readouterr().out


@pytest.fixture
def signals_as_before():
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_second_interrupt_does_not_cut_the_healing_short(
    tmp_path, monkeypatch, signals_as_before
):
    healed = []

    def told_twice(*_):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            os.kill(os.getpid(), signal.SIGINT)
            healed.append(True)

    monkeypatch.setattr(command, "find_origin", lambda _: HERE)
    monkeypatch.setattr(command, "_run", told_twice)
    assert command.main(words(tmp_path)) == command.EX_INTERRUPTED
    assert healed == [True]


def words(folder):
    """A command line, with values that name every image."""
    values = folder / "values.yaml"
    values.write_text(
        "images: {drills: {repository: d, tag: a}, operator: {repository: o, tag: b}, "
        "envoy: {repository: e, tag: c}}"
    )
    return [
        *("--kubeconfig", str(folder / "k"), "--values", str(values), "--output", str(folder)),
        *("--hold-seconds", "30"),
    ]


def test_choose_arms_runs_what_is_missing():
    have = {CPU_HPA: make_recording(CPU_HPA)}
    assert command.choose_arms(None, have, False) == [IN_FLIGHT_HPA, OURS]
    assert command.choose_arms(None, have, True) == list(ARMS)
    assert command.choose_arms("ours,cpu-hpa", have, False) == [CPU_HPA, OURS]
    with pytest.raises(ValueError, match="there are"):
        command.choose_arms("kpa", have, False)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (None, None),
        ("5", {CPU_HPA: 5, IN_FLIGHT_HPA: 5}),
        ("cpu-hpa=5, in-flight-hpa=3", {CPU_HPA: 5, IN_FLIGHT_HPA: 3}),
    ],
)
def test_rivals_begin_with_what_is_asked(asked, expected):
    assert command.rivals_from(asked) == expected


@pytest.mark.parametrize("asked", ["many", "cpu-hpa=", "ours=3", "9", "cpu-hpa=1"])
def test_rivals_that_cannot_be_are_a_wrong_command_line(tmp_path, asked, capsys):
    assert command.main([*words(tmp_path), "--rival-min-replicas", asked]) == command.EX_USAGE
    assert "compare:" in capsys.readouterr().err


def test_rivals_that_begin_with_more_pods_have_figures_of_their_own(tmp_path):
    settings = settings_for("ramp", rivals_from={CPU_HPA: 5, IN_FLIGHT_HPA: 2})
    evidence = tmp_path / "scaling.json"
    for one in (settings_for("ramp"), settings):
        command.report({OURS: make_recording(settings=one)}, one, tmp_path, evidence)
    shapes = json.loads(evidence.read_text())["shapes"]
    assert set(shapes) == {"ramp", "ramp-cpu-hpa-from-5"}
    told = "--shape ramp --rival-min-replicas cpu-hpa=5,in-flight-hpa=2"
    assert shapes["ramp-cpu-hpa-from-5"]["command"] == f'make compare COMPARE="{told}"'
    assert {path.name for path in tmp_path.glob("*.html")} == {
        "report.html",
        "report-cpu-hpa-from-5.html",
    }


def test_report_draws_writes_and_keeps_other_shapes(tmp_path, capsys):
    evidence = tmp_path / "scaling.json"
    evidence.write_text(json.dumps({"command": "make compare", "shapes": {"ramp": {}}}))
    found = {arm: make_recording(arm, slow_for=20.0) for arm in (CPU_HPA, IN_FLIGHT_HPA)}
    found[OURS] = make_recording(OURS, slow_for=0.5)
    code = command.report(found, SETTINGS, tmp_path, evidence)
    assert code == 0
    document = json.loads(evidence.read_text())
    assert set(document["shapes"]) == {"ramp", "step"}
    assert document["shapes"]["step"]["arms"][OURS]["over_slo"] == 25
    assert "PASS" in capsys.readouterr().out
    assert "<svg" in (tmp_path / "report.html").read_text()


def test_page_is_whole_without_an_arm():
    page = render_page({}, {}, [], Verdict.UNKNOWN, SETTINGS)
    assert "nothing to draw" in page


def test_images_of_merges_values(tmp_path):
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text('images: {drills: {repository: d, tag: "1"}, envoy: {repository: e, tag: x}}')
    second.write_text('images: {registry: r.example, drills: {tag: "2"}}')
    images, policy = images_of([str(first), str(second)], ("drills", "envoy"))
    assert images == {"drills": "r.example/d:2", "envoy": "r.example/e:x"}
    assert policy == "IfNotPresent"
    with pytest.raises(SetupError, match=r"images\.drills"):
        images_of([str(second)], ("drills",))
