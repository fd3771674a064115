"""`kubectl hailstorm rollout`: which record is shown, and what is said when there is none."""

import json
import subprocess
from typing import Any

import pytest

from hailstorm_operator import plugin, rollout_show
from unit.operator.test_drawing import just_created, promoted

NO_KIND = 'error: the server doesn\'t have a resource type "rolloutrecords"'
NOT_FOUND = 'Error from server (NotFound): deployments.apps "cart" not found'


class FakeKubectl:
    """Answers `kubectl get`, as kubectl does."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []
        self.records: list[dict[str, Any]] = [promoted()]
        self.labels: dict[str, str] | None = {}
        self.error = ""

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        self.calls.append(arguments)
        if self.error:
            return subprocess.CompletedProcess(arguments, 1, "", self.error)
        if arguments[1] != "deployment":
            text = json.dumps({"items": self.records})
        elif self.labels is None:
            return subprocess.CompletedProcess(arguments, 1, "", NOT_FOUND)
        else:
            text = json.dumps({"metadata": {"labels": self.labels}})
        return subprocess.CompletedProcess(arguments, 0, text, "")


@pytest.fixture
def kubectl() -> FakeKubectl:
    return FakeKubectl()


def shown(
    kubectl: FakeKubectl, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, str, str]:
    code = rollout_show.show_rollout(arguments, kubectl)
    said = capsys.readouterr()
    return code, said.out, said.err.strip()


def older() -> dict[str, Any]:
    record = just_created()
    record["metadata"]["name"] = "cart-6-000000g8"
    record["spec"] |= {"generation": 8, "revision": 6}
    return record


def test_newest_record_is_drawn(kubectl: FakeKubectl, capsys: pytest.CaptureFixture[str]) -> None:
    kubectl.records = [older(), promoted(), older()]
    code, out, _ = shown(kubectl, capsys, "deployment/cart", "-n", "shop", "--context", "here")
    assert code == 0
    assert out.startswith("cart-7-1a2b3cg9\n")
    assert "\033" not in out
    assert kubectl.calls == [
        ("get", "rolloutrecords.hailstorm.dev", "-l", "hailstorm.dev/target=cart", "-o", "json",
         "--namespace", "shop", "--context", "here"),
    ]  # fmt: skip


def test_deployment_made_anew_counts_from_one_again(
    kubectl: FakeKubectl, capsys: pytest.CaptureFixture[str]
) -> None:
    reborn = older()
    reborn["metadata"]["creationTimestamp"] = "2026-11-26T00:00:00Z"
    reborn["spec"]["targetRef"]["uid"] = "uid-2"
    kubectl.records = [reborn, promoted()]
    assert shown(kubectl, capsys, "cart")[1].startswith("cart-6-000000g8\n")


def test_record_is_chosen_by_its_name(
    kubectl: FakeKubectl, capsys: pytest.CaptureFixture[str]
) -> None:
    kubectl.records = [older(), promoted()]
    code, out, _ = shown(kubectl, capsys, "cart", "--record", "cart-6-000000g8")
    assert (code, out.splitlines()[0]) == (0, "cart-6-000000g8")
    code, _, said = shown(kubectl, capsys, "cart", "--record", "other")
    assert code == 1
    assert said == "cart has no record other; there are: cart-6-000000g8, cart-7-1a2b3cg9"


def test_json_is_the_record_itself(
    kubectl: FakeKubectl, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = shown(kubectl, capsys, "cart", "-o", "json")
    assert (code, json.loads(out)) == (0, promoted())


def test_other_target_with_the_same_cut_label_is_not_shown(
    kubectl: FakeKubectl, capsys: pytest.CaptureFixture[str]
) -> None:
    kubectl.records[0]["spec"]["targetRef"]["name"] = "cart-2"
    assert shown(kubectl, capsys, "cart")[0] == 1


@pytest.mark.parametrize(
    ("labels", "error", "said"),
    [
        (None, "", "no Deployment cart, and no record of one, in this namespace"),
        ({}, "", "cart is not recorded; kubectl label deployment cart hailstorm.dev/record=true"),
        ({"hailstorm.dev/record": "true"}, "", "cart has no record yet; does the operator run?"),
        ({}, NO_KIND, "this cluster has no RolloutRecords: install charts/hailstorm-operator"),
        ({}, "Unable to connect to the server", "Unable to connect to the server"),
    ],
)
def test_what_is_missing_is_said(
    kubectl: FakeKubectl,
    capsys: pytest.CaptureFixture[str],
    labels: dict[str, str] | None,
    error: str,
    said: str,
) -> None:
    kubectl.records, kubectl.labels, kubectl.error = [], labels, error
    assert shown(kubectl, capsys, "cart") == (1, "", said)


def test_watching_ends_when_the_traffic_is_written(
    kubectl: FakeKubectl,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kubectl.records[0]["metadata"]["labels"]["hailstorm.dev/traffic"] = "pending"

    def pass_time(seconds: float) -> None:
        if len(kubectl.calls) == 3:
            del kubectl.records[0]["metadata"]["labels"]["hailstorm.dev/traffic"]

    monkeypatch.setattr("hailstorm_operator.rollout_show.time.sleep", pass_time)
    code, out, _ = shown(kubectl, capsys, "cart", "--watch")
    assert (code, len(kubectl.calls), out.count("cart-7-1a2b3cg9\n")) == (0, 4, 4)


def test_missing_kubectl_is_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert rollout_show.show_rollout(["cart"]) == 1
    assert "no kubectl in the PATH" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        (["rollout", "cart", "-n", "shop"], ["cart", "-n", "shop"]),
        (["rollout", "show", "cart"], ["cart"]),
    ],
)
def test_plugin_takes_a_name_where_the_console_has_a_verb(
    monkeypatch: pytest.MonkeyPatch, words: list[str], arguments: list[str]
) -> None:
    seen = []

    def note(given: list[str]) -> int:
        seen.append(list(given))
        return 7

    monkeypatch.setitem(plugin.console.COMMANDS, ("rollout", "show"), note)
    monkeypatch.setattr("sys.argv", ["kubectl-hailstorm", *words])
    assert plugin.main() == 7
    assert seen == [arguments]


def test_plugin_passes_other_words_to_the_console(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["kubectl-hailstorm", "rollout", "replay", "/nowhere"])
    assert plugin.main() == 2
    monkeypatch.setattr("sys.argv", ["kubectl-hailstorm", "rollout"])
    assert plugin.main() == 64
    assert "hailstorm rollout show" in capsys.readouterr().err
