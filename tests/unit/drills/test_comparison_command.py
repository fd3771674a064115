"""Which arms a comparison runs, which it keeps, and what it writes down."""

import dataclasses
import json
import os
import signal
import subprocess
from xml.etree import ElementTree

import pytest

from hailstorm_drills.checkers.base import Verdict
from hailstorm_drills.comparison import __main__ as command
from hailstorm_drills.comparison import recording as recordings
from hailstorm_drills.comparison.figures import measure
from hailstorm_drills.comparison.kept import commit_of, find_origin, keep, kept
from hailstorm_drills.comparison.page import render_page
from hailstorm_drills.comparison.recording import Origin
from hailstorm_drills.comparison.rivals import raised
from hailstorm_drills.comparison.settings import (
    ARMS,
    CPU_HPA,
    IN_FLIGHT_HPA,
    OURS,
    Settings,
    settings_for,
)
from hailstorm_drills.images import images_of
from hailstorm_drills.runner import SetupError
from unit.drills.recorded_arms import HERE, IMAGES, SETTINGS, START, WHEN, make_recording


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


@pytest.mark.parametrize("asked", ["many", "cpu-hpa=", "ours=3", "9", "cpu-hpa=0"])
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


def test_arms_that_begin_otherwise_have_figures_of_their_own(tmp_path):
    evidence = tmp_path / "scaling.json"
    raised = settings_for("spike", min_replicas=4, spares=1, rivals_from={CPU_HPA: 5})
    for one in (settings_for("spike"), raised):
        command.report({OURS: make_recording(settings=one)}, one, tmp_path, evidence)
    shapes = json.loads(evidence.read_text())["shapes"]
    name = "spike-cpu-hpa-from-5-in-flight-hpa-from-4-ours-from-4-with-1-spares"
    assert set(shapes) == {"spike", name}
    told = "--shape spike --min-replicas 4 --spares 1 --rival-min-replicas cpu-hpa=5"
    assert shapes[name]["command"] == f'make compare COMPARE="{told}"'
    files = {settings.file_of(OURS) for settings in (settings_for("spike"), raised)}
    assert files == {"ours.json", "ours-from-4-with-1-spares.json"}


def test_a_rival_may_begin_with_fewer_pods_than_ours():
    settings = settings_for("day", min_replicas=3, rivals_from={CPU_HPA: 2, IN_FLIGHT_HPA: 2})
    assert settings.least_of(CPU_HPA) == 2
    assert settings.least_of(OURS) == 3
    assert settings.name == "day-ours-from-3"
    # The plain rivals: what was run of them for other settings of ours need not run again.
    assert settings.of_arm(CPU_HPA) == settings_for("day").of_arm(CPU_HPA)


@pytest.mark.parametrize("asked", ["0", "9"])
def test_min_replicas_that_cannot_be_are_a_wrong_command_line(tmp_path, asked, capsys):
    assert command.main([*words(tmp_path), "--min-replicas", asked]) == command.EX_USAGE
    assert f"minReplicas {asked} will not do; write one from 1 to 8" in capsys.readouterr().err


def figures_of(settings=SETTINGS, **slow):
    """Figures by arm, slow for so many seconds of thirty."""
    return {
        arm: measure(make_recording(arm, slow_for=seconds, settings=settings), settings)
        for arm, seconds in slow.items()
    }


def test_a_rival_is_raised_by_one_pod_where_it_did_not_hold_the_slo():
    found = {CPU_HPA: 9.0, IN_FLIGHT_HPA: 0.1, OURS: 9.0}
    more = raised(figures_of(**found), SETTINGS)
    assert more.rivals_from == {CPU_HPA: 3}
    more = raised(figures_of(**{**found, IN_FLIGHT_HPA: 9.0}), more)
    assert more.rivals_from == {CPU_HPA: 4, IN_FLIGHT_HPA: 3}


def test_nothing_is_raised_where_more_pods_are_no_answer():
    held = {CPU_HPA: 0.1, IN_FLIGHT_HPA: 0.1, OURS: 9.0}
    assert raised(figures_of(**held), SETTINGS) is None
    assert raised({}, SETTINGS) is None
    # All that there are.
    most = dataclasses.replace(SETTINGS, rivals_from={CPU_HPA: SETTINGS.max_replicas})
    assert raised(figures_of(**{CPU_HPA: 9.0}), most) is None
    # Whose calls were late, nobody knows.
    late = measure(make_recording(OURS, lag=51), SETTINGS)
    assert raised({**figures_of(**{CPU_HPA: 9.0}), OURS: late}, SETTINGS) is None


@pytest.fixture
def finding(tmp_path, monkeypatch):
    """What `--find-rivals` ran, in rounds; the HPA on CPU holds from four pods on."""
    rounds = []

    def run(_, __, settings, arms, folder):
        rounds.append({arm: settings.least_of(arm) for arm in arms})
        for arm in arms:
            slow = 9.0 if arm == CPU_HPA and settings.least_of(arm) < 4 else 0.1
            write(folder, make_recording(arm, slow_for=slow, settings=settings), settings)

    monkeypatch.setattr(command, "find_origin", lambda _: HERE)
    monkeypatch.setattr(command, "_run", run)
    return rounds


@pytest.mark.parametrize("fresh", [(), ("--fresh",)])
def test_find_rivals_runs_only_the_arm_that_did_not_hold_and_stops_when_it_does(
    tmp_path, finding, fresh, capsys
):
    evidence = tmp_path / "scaling.json"
    asked = [*words(tmp_path), "--shape", "ramp", "--find-rivals", "--evidence", f"{evidence}"]
    code = command.main([*asked, *fresh])
    assert finding == [dict.fromkeys(ARMS, 2), {CPU_HPA: 3}, {CPU_HPA: 4}]
    assert "next HPA on CPU 60 % from 4 pods on" in capsys.readouterr().out
    shapes = json.loads(evidence.read_text())["shapes"]
    assert list(shapes) == ["ramp", "ramp-cpu-hpa-from-3", "ramp-cpu-hpa-from-4"]
    assert shapes["ramp-cpu-hpa-from-4"]["verdict"] == "PASS"
    assert code == 0
    # What was found is kept; begun anew, it is found anew.
    finding.clear()
    command.main([*asked, *fresh])
    assert len(finding) == (3 if fresh else 0)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (("--find-rivals",), "the step asks for no pod-seconds"),
        (("--values", "none.yaml"), "the values of --values none.yaml cannot be read"),
    ],
)
def test_what_cannot_be_begun_is_a_wrong_command_line(tmp_path, finding, asked, told, capsys):
    assert command.main([*words(tmp_path), *asked]) == command.EX_USAGE
    assert told in capsys.readouterr().err
    assert finding == []


def test_a_share_of_the_load_has_figures_of_its_own(tmp_path):
    evidence = tmp_path / "scaling.json"
    for one in (settings_for("step"), settings_for("step", load_scale=0.6)):
        command.report({OURS: make_recording(settings=one)}, one, tmp_path, evidence)
    shapes = json.loads(evidence.read_text())["shapes"]
    assert set(shapes) == {"step", "step-load-0.6"}
    assert shapes["step-load-0.6"]["command"] == 'make compare COMPARE="--load-scale 0.6"'
    assert (tmp_path / "report-load-0.6.html").exists()


@pytest.mark.parametrize("share", ["0.1", "2"])
def test_a_share_that_cannot_be_is_a_wrong_command_line(tmp_path, share, capsys):
    assert command.main([*words(tmp_path), "--load-scale", share]) == command.EX_USAGE
    assert "write one from 0.25 to 1" in capsys.readouterr().err


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


def test_picture_stands_alone_with_every_panel(tmp_path):
    recorded = {arm: make_recording(arm) for arm in ARMS}
    assert command.report(recorded, SETTINGS, tmp_path, None) in (0, 1, 2)
    (picture,) = tmp_path.glob("report*.svg")
    root = ElementTree.parse(picture).getroot()
    space = "{http://www.w3.org/2000/svg}"
    panels = root.findall(f"{space}svg")
    assert [one.get("aria-label") for one in panels] == [
        *("Demand", "Serving pods", "p99", "Calls over the SLO"),
    ]
    # Below each other, and none beyond the paper.
    ends = [float(one.get("y")) + float(one.get("height")) for one in panels]
    starts = [float(one.get("y")) for one in panels]
    assert all(end <= start for end, start in zip(ends, starts[1:], strict=False))
    assert ends[-1] <= float(root.get("height"))
    assert "--paper" in root.findtext(f"{space}style")


def test_nothing_that_was_measured_has_no_picture(tmp_path):
    assert command.report({}, SETTINGS, tmp_path, None) == 2
    assert not list(tmp_path.glob("*.svg"))
