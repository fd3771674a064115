"""Releases that an interrupted run has left behind."""

import io
import json

import pytest

from hailstorm_platform import charts, cluster
from hailstorm_platform.context import Context
from hailstorm_platform.errors import CommandError
from unit.platform.conftest import FakeRunner


def free(context: Context) -> None:
    charts.free_release(context, cluster.DEMO, "hailstorm", "hailstorm")


@pytest.mark.parametrize(
    ("status", "cure"),
    [
        ("pending-install", "uninstall"),
        ("uninstalling", "uninstall"),
        ("pending-upgrade", "rollback"),
        ("pending-rollback", "rollback"),
    ],
)
def test_release_that_is_stuck_is_freed_and_that_is_said(
    context: Context, runner: FakeRunner, output: io.StringIO, status: str, cure: str
) -> None:
    runner.answer("status", with_=json.dumps({"info": {"status": status}}))
    free(context)
    assert runner.called(cure, "hailstorm", "--wait")
    assert f"release hailstorm is {status}" in output.getvalue()
    assert f"helm {cure}" in output.getvalue()


@pytest.mark.parametrize("status", ["deployed", "failed", "superseded"])
def test_release_that_helm_upgrades_is_left_alone(
    context: Context, runner: FakeRunner, output: io.StringIO, status: str
) -> None:
    runner.answer("status", with_=json.dumps({"info": {"status": status}}))
    free(context)
    assert len(runner.calls) == 1
    assert output.getvalue() == ""


def test_release_that_is_not_there_is_left_alone(
    context: Context, runner: FakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(arguments: list[str], **_: object) -> str:
        raise CommandError(arguments, 1, "Error: release: not found")

    monkeypatch.setattr(runner, "run", refuse)
    free(context)


def test_cluster_that_does_not_answer_is_an_error(context: Context, runner: FakeRunner) -> None:
    runner.answer("status", with_=1)
    with pytest.raises(CommandError):
        free(context)


def test_both_releases_are_looked_at_before_they_are_upgraded(
    context: Context, runner: FakeRunner
) -> None:
    runner.answer("status", with_=json.dumps({"info": {"status": "pending-upgrade"}}))
    charts.install(context, cluster.DEMO, context.paths.root / "images.yaml")
    verbs = [(call[1], call[-1]) for call in runner.calls if call[0].endswith("helm")]
    assert [verb for verb, _ in verbs] == ["status", "rollback", "upgrade"] * 2
