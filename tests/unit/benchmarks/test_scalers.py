"""ServiceScalers are held where they are, and get their bounds back."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hailstorm_benchmarks import scalers
from hailstorm_benchmarks.scalers import ScalersError, held
from hailstorm_drills.cluster import Cluster

WIDE = {"minReplicas": 2, "maxReplicas": 4}
# kubectl over a file of bounds: lists them beside their Deployments, and merges patches.
KUBECTL = """\
#!%s
import json, os, pathlib, sys
file, words = pathlib.Path(os.environ["KUBECONFIG"]), sys.argv[1:]
bounds = json.loads(file.read_text())
if words[0] == "get":
    replicas = {"dispatch": 3, "trip": 2, "asleep": 0, "dispatch-spare": 1}
    items = [
        {"kind": "Deployment", "metadata": {"name": name}, "spec": {"replicas": count}}
        for name, count in replicas.items()
    ]
    for name, spec in bounds.items():
        spec = {"targetRef": {"name": name}, **spec}
        items.append({"kind": "ServiceScaler", "metadata": {"name": name}, "spec": spec})
    print(json.dumps({"items": items}))
elif (file.parent / ("refuse-" + words[2])).exists():
    sys.exit("refused")
else:
    bounds[words[2]] = json.loads(words[-1])["spec"]
    file.write_text(json.dumps(bounds))
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "bounds.json"
    path.write_text(json.dumps(dict.fromkeys(("dispatch", "trip", "asleep"), WIDE)))
    return path


@pytest.fixture
def cluster(tmp_path: Path, file: Path) -> Cluster:
    program = tmp_path / "kubectl"
    program.write_text(KUBECTL % sys.executable)
    program.chmod(0o755)
    return Cluster(file, str(program))


def bounds(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def test_bounds_are_the_replicas_of_now_and_are_given_back(cluster: Cluster, file: Path) -> None:
    before = bounds(file)

    def measure() -> None:
        with held(cluster) as told:
            assert told == "dispatch 3, trip 2"
            assert bounds(file)["dispatch"] == {"minReplicas": 3, "maxReplicas": 3}
            assert bounds(file)["trip"] == {"minReplicas": 2, "maxReplicas": 2}
            assert bounds(file)["asleep"] == WIDE
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure()
    assert bounds(file) == before


def test_one_that_is_refused_leaves_none_held(cluster: Cluster, file: Path, tmp_path: Path) -> None:
    before = bounds(file)
    (tmp_path / "refuse-trip").touch()
    with pytest.raises(ScalersError, match=r"trip: .*kubectl patch .*refused"), held(cluster):
        pytest.fail("held without its scalers")
    assert bounds(file) == before


def test_whoever_is_killed_has_them_given_back(cluster: Cluster, file: Path) -> None:
    code = (
        "import pathlib, sys, time\nfrom hailstorm_benchmarks.scalers import held\n"
        "from hailstorm_drills.cluster import Cluster\n"
        "with held(Cluster(pathlib.Path(sys.argv[1]), sys.argv[2])):\n"
        "    print('held', flush=True)\n    time.sleep(60)\n"
    )
    path = str(Path(scalers.__file__).parents[1])
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(file), cluster.kubectl_program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert holder.stdout is not None
    assert holder.stderr is not None
    assert holder.stdout.readline() == b"held\n"
    assert bounds(file)["dispatch"]["maxReplicas"] == 3
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with holder.stdout, holder.stderr:
        # The guard has its stderr too, and ends when all is given back.
        assert holder.stderr.read() == b""
    assert bounds(file)["dispatch"] == WIDE


def test_guard_says_which_bounds_it_could_not_give_back(
    cluster: Cluster, file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with held(cluster):
        (tmp_path / "refuse-trip").touch()
    assert bounds(file)["dispatch"] == WIDE
    assert "ServiceScalers are still held" in capfd.readouterr().err


def test_cluster_that_cannot_be_asked_is_an_error(tmp_path: Path) -> None:
    with (
        pytest.raises(ScalersError, match="kubectl"),
        held(Cluster(tmp_path / "kubeconfig", str(tmp_path / "none" / "kubectl"))),
    ):
        pytest.fail("held without a cluster")
    odd = tmp_path / "odd"
    odd.write_text("#!/bin/sh\necho '[]'\n")
    odd.chmod(0o755)
    with (
        pytest.raises(ScalersError, match="something else"),
        held(Cluster(tmp_path / "kubeconfig", str(odd))),
    ):
        pytest.fail("held without a list")
