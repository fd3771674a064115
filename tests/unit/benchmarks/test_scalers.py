"""ServiceScalers are held where they are, and get their bounds back."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from hailstorm_benchmarks.scalers import ScalersError, held, kubectl_of


class FakeKubectl:
    """Objects as the API server lists them; patches of ServiceScalers by name."""

    def __init__(self) -> None:
        self.bounds = {
            name: {"minReplicas": 2, "maxReplicas": 4} for name in ("dispatch", "trip", "asleep")
        }
        self.refuses = ""

    def __call__(self, words: Sequence[str]) -> str:
        if words[0] == "get":
            replicas = {"dispatch": 3, "trip": 2, "asleep": 0, "dispatch-spare": 1}
            pods = [
                self._item("Deployment", n, {"replicas": count}) for n, count in replicas.items()
            ]
            scalers = [
                self._item("ServiceScaler", n, {"targetRef": {"name": n}, **bounds})
                for n, bounds in self.bounds.items()
            ]
            return json.dumps({"items": [*scalers, *pods]})
        name = words[2]
        if name == self.refuses:
            raise ScalersError("refused")
        self.bounds[name] = json.loads(words[-1])["spec"]
        return ""

    @staticmethod
    def _item(kind: str, name: str, spec: dict[str, object]) -> dict[str, object]:
        return {"kind": kind, "metadata": {"name": name}, "spec": spec}


def test_bounds_are_the_replicas_of_now_and_are_given_back() -> None:
    kubectl = FakeKubectl()
    before = dict(kubectl.bounds)

    def measure() -> None:
        with held(kubectl):
            assert kubectl.bounds["dispatch"] == {"minReplicas": 3, "maxReplicas": 3}
            assert kubectl.bounds["trip"] == {"minReplicas": 2, "maxReplicas": 2}
            # What is at 0 has no pods to hold, and 0 is no bound.
            assert kubectl.bounds["asleep"] == before["asleep"]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure()
    assert kubectl.bounds == before


def test_one_that_is_refused_leaves_none_held() -> None:
    kubectl = FakeKubectl()
    before = dict(kubectl.bounds)
    kubectl.refuses = "trip"
    with pytest.raises(ScalersError), held(kubectl):
        pytest.fail("held without its scalers")
    assert kubectl.bounds == before


def test_one_that_cannot_be_given_back_is_told_and_keeps_none_of_the_others(
    capsys: pytest.CaptureFixture[str],
) -> None:
    kubectl = FakeKubectl()
    before = dict(kubectl.bounds)
    with held(kubectl):
        kubectl.refuses = "trip"
    assert kubectl.bounds["dispatch"] == before["dispatch"]
    assert "ServiceScaler trip is still held" in capsys.readouterr().err


def test_cluster_that_cannot_be_asked_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ScalersError, match="kubectl"):
        kubectl_of(tmp_path / "none", tmp_path / "kubeconfig")(["get", "pods"])
    program = tmp_path / "kubectl"
    program.write_text("#!/bin/sh\necho no such cluster >&2\nexit 1\n")
    program.chmod(0o755)
    with pytest.raises(ScalersError, match="no such cluster"):
        kubectl_of(program, tmp_path / "kubeconfig")(["get", "pods"])
