"""Releases that an interrupted run has left behind."""

import datetime as dt
import io
import json

import pytest

from hailstorm_platform import charts, cluster
from hailstorm_platform.context import Context
from hailstorm_platform.errors import CommandError, PlatformError
from unit.platform.conftest import FakeRunner


def told(status: str, *, age: float = charts.BUSY_SECONDS + 1, field: str = "last_deployed") -> str:
    """What `helm status` says of a release whose operation began `age` seconds ago."""
    long_ago = "2026-01-01T00:00:00.123456789+02:00"
    begun = (dt.datetime.now(dt.UTC) - dt.timedelta(seconds=age)).isoformat()
    info = {"status": status, "last_deployed": long_ago, "deleted": "", field: begun}
    return json.dumps({"info": info})


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
    runner.answer("status", with_=told(status))
    free(context)
    assert runner.called(cure, "hailstorm")
    # What a rollback brings back may be what never gets ready.
    assert runner.called(cure, "--wait") == (cure == "uninstall")
    assert f"release hailstorm is {status}" in output.getvalue()
    assert f"helm {cure}" in output.getvalue()


@pytest.mark.parametrize(
    ("status", "field", "cure"),
    [
        ("pending-install", "last_deployed", "uninstall"),
        ("uninstalling", "deleted", "uninstall"),
        ("pending-upgrade", "last_deployed", "rollback"),
    ],
)
def test_release_that_another_helm_may_be_at_work_on_is_left_to_it(
    context: Context, runner: FakeRunner, status: str, field: str, cure: str
) -> None:
    runner.answer("status", with_=told(status, age=42, field=field))
    with pytest.raises(PlatformError, match=rf"{status} since \d+ s.*`.*helm {cure} hailstorm"):
        free(context)
    assert len(runner.calls) == 1


def test_the_time_that_helm_writes_is_understood(context: Context, runner: FakeRunner) -> None:
    info = {"status": "pending-upgrade", "last_deployed": "2026-01-01T00:00:00.123456789+02:00"}
    runner.answer("status", with_=json.dumps({"info": info}))
    free(context)
    assert runner.called("rollback")


@pytest.mark.parametrize("status", ["deployed", "failed", "superseded"])
def test_release_that_helm_upgrades_is_left_alone(
    context: Context, runner: FakeRunner, output: io.StringIO, status: str
) -> None:
    runner.answer("status", with_=told(status))
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


def deployment(name: str, replicas: int) -> dict[str, object]:
    return {"kind": "Deployment", "metadata": {"name": name}, "spec": {"replicas": replicas}}


def scaler(target: str) -> dict[str, object]:
    spec = {"targetRef": {"name": target}, "minReplicas": 3}
    return {"kind": "ServiceScaler", "metadata": {"name": f"for-{target}"}, "spec": spec}


def test_what_is_at_zero_by_hand_is_woken_and_that_is_said(
    context: Context, runner: FakeRunner, output: io.StringIO
) -> None:
    # The pool of spares is a Deployment without a scaler, and may be empty.
    there = [deployment("dispatch", 0), deployment("trip", 2), deployment("trip-spare", 0)]
    items = [*there, scaler("dispatch"), scaler("trip"), scaler("gone")]
    runner.answer("get", with_=json.dumps({"items": items}))
    charts.wake(context, cluster.DEMO)
    scaled = [call[call.index("scale") :] for call in runner.calls if "scale" in call]
    where = ("--namespace", "hailstorm", "--replicas", "3")
    assert scaled == [("scale", "deployment", "dispatch", *where)]
    assert "dispatch was at 0 replicas by hand: back to 3" in output.getvalue()


def test_both_releases_are_looked_at_before_they_are_upgraded(
    context: Context, runner: FakeRunner
) -> None:
    runner.answer("status", with_=told("pending-upgrade"))
    asleep = json.dumps({"items": [deployment("dispatch", 0), scaler("dispatch")]})
    runner.answer("get", with_=asleep)
    charts.install(context, cluster.DEMO, context.paths.root / "images.yaml")
    verbs = [
        call[1] if call[0].endswith("helm") else "scale"
        for call in runner.calls
        if call[0].endswith("helm") or "scale" in call
    ]
    operator = ["status", "rollback", "upgrade"]
    # What sleeps is woken when nobody else is at work on it, and before helm waits for it.
    services = ["status", "rollback", "scale", "upgrade"]
    assert verbs == operator + services
