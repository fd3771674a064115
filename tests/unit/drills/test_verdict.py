"""From evidence to verdict.json, the table, the page; and back from a directory."""

import html.parser
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hailstorm_drills.__main__ import main
from hailstorm_drills.checkers import ALL
from hailstorm_drills.checkers.base import Verdict
from hailstorm_drills.evidence import Directory, Evidence
from hailstorm_drills.images import image_of
from hailstorm_drills.phases import ORDER
from hailstorm_drills.registry import scenarios
from hailstorm_drills.report.page import render_page
from hailstorm_drills.report.postmortem import render_postmortem
from hailstorm_drills.runner import SetupError
from hailstorm_drills.table import render
from hailstorm_drills.verdict import as_json, checkers_of, judge
from hailstorm_loadtests.history import Call, History

Make = Callable[..., Evidence]
# DESIGN, section 6.
CONTRACT = {
    "drill",
    "seed",
    "started_at",
    "machine",
    "versions",
    "offered",
    "ok",
    "failed",
    "unknown",
    "shed",
    "retried_ok",
    "failed_bound95",
    "p50_ms",
    "p99_ms",
    "recovery_seconds",
    "detection_seconds",
    "invariants",
    "attributed_share",
    "generator_lag_p99_ms",
    "verdict",
    "why",
}


def failing(evidence: Make, call: Callable[..., Call], **changes: Any) -> Evidence:
    good = evidence()
    assert good.history is not None
    bad = call(81.0, code="UNAVAILABLE", outcome="fail", detail="<script>alert(1)</script>")
    calls = tuple(sorted((*good.history.calls, bad), key=lambda c: c.intended))
    load = {**(good.load or {}), "lines_received": 2602}
    return evidence(history=History(calls, good.history.generator), load=load, **changes)


def test_verdict_has_the_form_of_the_design(evidence: Make) -> None:
    told = as_json(evidence(), judge(evidence()))
    assert set(told) >= CONTRACT
    json.dumps(told)
    assert told["offered"] == 2600
    assert set(told["p99_ms"]) == {"baseline", "fault", "recovery"}
    assert set(told["invariants"]) == {"I1", "I2", "I3", "I4", "effects", "chain"}
    assert told["attributed_share"] is None


def test_one_failure_decides_whatever_else_is_unknown(
    evidence: Make, call: Callable[..., Call]
) -> None:
    judgement = judge(failing(evidence, call, facts=None))
    assert judgement.verdict is Verdict.FAIL
    assert judgement.why.startswith("availability: 1 of 2601 calls failed")
    (entry,) = judgement.attributed
    assert (entry.pod, entry.pod_phase) == ("trip-old", "draining")
    assert as_json(evidence(), judgement)["attributed_share"] == 1.0


def test_verdict_is_unknown_without_the_database(evidence: Make) -> None:
    judgement = judge(evidence(facts=None))
    assert judgement.verdict is Verdict.UNKNOWN
    assert "Postgres was not read" in judgement.why


def test_what_is_not_known_is_null_and_not_zero(evidence: Make) -> None:
    told = as_json(evidence(), judge(evidence(history=None, load=None, facts=None)))
    for name in ("offered", "failed", "shed", "p99_ms", "recovery_seconds", "failed_bound95"):
        assert told[name] is None


def test_operator_detected_when_its_record_was_made(evidence: Make) -> None:
    record = {"metadata": {"name": "trip-2", "creationTimestamp": "1970-01-01T00:01:03Z"}}
    told = as_json(e := evidence(records=[record]), judge(e))
    assert told["detection_seconds"] == 3.0


def test_table_names_every_check_and_ends_with_the_verdict(
    evidence: Make, call: Callable[..., Call]
) -> None:
    text = render(judge(failing(evidence, call)))
    for name in ("conduct", "generator", "availability", "I1", "I3", "effects"):
        assert re.search(rf"^{name} ", text, re.MULTILINE)
    assert re.search(r"1 +trip +draining +UNAVAILABLE +hold", text)
    assert text.splitlines()[-1].startswith("FAIL")
    assert "\x1b[31;1mFAIL" in render(judge(failing(evidence, call)), colour=True)


class Page(html.parser.HTMLParser):
    """Tags must close in order, and nothing may be fetched."""

    VOID = frozenset({"meta", "rect", "line", "path", "circle", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [v or "" for k, v in attrs if k in ("src", "href", "xlink:href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_page_is_whole_and_fetches_nothing(evidence: Make, call: Callable[..., Call]) -> None:
    text = render_page(e := failing(evidence, call), judge(e))
    page = Page()
    page.feed(text)
    assert page.open == []
    assert page.fetched == []
    assert "url(" not in text
    assert "@import" not in text
    assert page.tags.count("svg") == 4
    assert "trip-old" in text
    assert "draining" in text


def test_page_escapes_what_servers_say(evidence: Make, call: Callable[..., Call]) -> None:
    text = render_page(e := failing(evidence, call), judge(e))
    assert "<script>" not in text
    assert "&lt;script&gt;alert(1)" in text


def test_page_of_nothing_says_so(evidence: Make) -> None:
    nothing = evidence(intervals={}, history=None, lives=[], load=None, facts=None, records=None)
    text = render_page(nothing, judge(nothing))
    assert "There is nothing to draw" in text
    assert "UNKNOWN" in text


def test_postmortem_is_filled_from_the_figures(evidence: Make, call: Callable[..., Call]) -> None:
    text = render_postmortem(e := failing(evidence, call), judge(e))
    assert text.startswith("# rolling-deploy: FAIL\n")
    assert "2,601 offered, 1 failed" in text
    assert "| 1 | trip | draining | UNAVAILABLE | hold |" in text
    assert "00:01:20.000 trip-old is draining" in text
    assert "00:01:21.020 first call not ok" in text
    good = render_postmortem(evidence(), judge(evidence()))
    assert "No call was other than ok." in good


def test_postmortem_of_nothing_says_so(evidence: Make) -> None:
    nothing = evidence(intervals={}, history=None, lives=[], load=None, facts=None, records=None)
    text = render_postmortem(nothing, judge(nothing))
    assert text.count("Not known") == 3


def test_directory_gives_back_what_was_seen(tmp_path: Path, parameters: Any) -> None:
    directory = Directory(tmp_path)
    plan = scenarios()["rolling-deploy"].make_plan(parameters())
    directory.write("plan.json", plan.as_json())
    directory.write("run.json", {"intervals": {"baseline": [1, 2]}, "components": ["trip"]})
    found = directory.load()
    assert found.parameters == parameters()
    assert found.intervals["baseline"].seconds == 1
    assert "cannot be read" in found.problems["history"]
    assert main(["judge", str(tmp_path)]) == 2
    assert json.loads((tmp_path / "verdict.json").read_text())["verdict"] == "UNKNOWN"
    assert (tmp_path / "report.html").exists()


FOLDER = Path(__file__).parent


@pytest.mark.parametrize("is_twin", [False, True])
@pytest.mark.parametrize("name", sorted(scenarios()))
def test_plan_is_the_golden_one(name: str, is_twin: bool, parameters: Any) -> None:
    scenario = scenarios()[name]
    values = {k: v for k, v in scenario.defaults.items() if k != "min_user_calls"}
    plan = scenario.make_plan(parameters(drill=name, is_twin=is_twin, **values))
    golden = FOLDER / f"plan-{name}{'-twin' if is_twin else ''}.txt"
    assert plan.render() + "\n" == golden.read_text()


def test_every_drill_has_a_twin() -> None:
    for scenario in scenarios().values():
        assert scenario.twin_settings
        assert scenario.twin_summary
        assert scenario.components


@pytest.mark.parametrize("name", sorted(scenarios()))
def test_every_plan_begins_and_ends_as_all_do(name: str, parameters: Any) -> None:
    steps = scenarios()[name].make_plan(parameters(drill=name)).steps
    phases = [step.phase for step in steps]
    assert phases == sorted(phases, key=ORDER.index)
    assert steps[0].text.startswith("install release hailstorm from v.yaml")
    assert steps[-1].text.startswith("check availability, latency, recovery")
    assert {"inject", "hold", "recover", "settle", "judge"} <= set(phases)


def test_every_check_of_a_drill_is_judged_by_its_name() -> None:
    for name in scenarios():
        names = [check for check, _ in checkers_of(name)]
        assert len(names) == len(set(names))
        assert set(scenarios()[name].instead) <= set(names)
    assert [check for check, _ in checkers_of("gone")] == [check for check, _ in ALL]


def test_image_comes_from_the_releases_values(tmp_path: Path) -> None:
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text("images: {drills: {repository: h/drills, tag: '1'}, pullPolicy: Never}\n")
    second.write_text("images: {registry: reg.local, drills: {tag: '2'}}\n")
    assert image_of((str(first), str(second))) == ("reg.local/h/drills:2", "Never")
    second.write_text("images: {}\n")
    with pytest.raises(SetupError, match=r"images\.drills"):
        image_of((str(second),))


@pytest.mark.parametrize(
    "arguments",
    [[], ["run"], ["run", "no-such-drill"], ["plan", "rolling-deploy"]],
)
def test_wrong_command_line_is_not_mistaken_for_a_verdict(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 64


def test_broken_set_up_is_not_mistaken_for_a_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = tmp_path / "v.yaml"
    values.write_text("{}\n")
    words = ["--values", str(values), "--next-values", str(values)]
    code = main(
        ["run", "rolling-deploy", *words, "--kubeconfig", "none", "--output", str(tmp_path)]
    )
    assert code == 3
    assert "images.drills" in capsys.readouterr().err
