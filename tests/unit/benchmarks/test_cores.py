"""Who measures and what is measured get cores of their own, and give them back."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hailstorm_benchmarks import cores
from hailstorm_benchmarks.cores import CoresError, divided, pids_in

NODE = "a" * 64
needs_two_cores = pytest.mark.skipif(
    len(os.sched_getaffinity(0)) < 2, reason="one core cannot be divided"
)


@pytest.fixture
def sleeper():
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def write(proc, pid, words):
    folder = proc / str(pid)
    folder.mkdir()
    (folder / "cgroup").write_text(words)


def test_pods_are_found_in_the_cgroup_of_their_node(tmp_path):
    write(tmp_path, 1, "0::/init.scope\n")
    write(tmp_path, 2, f"0::/system.slice/docker-{NODE}.scope/init\n")
    write(tmp_path, 3, f"4:cpu:/docker/{NODE}/kubelet/kubepods/pod1/abc\n1:memory:/docker\n")
    write(tmp_path, 4, f"0::/docker/{'b' * 64}\n")
    (tmp_path / "self").mkdir()
    assert pids_in([NODE], tmp_path) == {2, 3}


@needs_two_cores
def test_each_has_its_cores_and_gets_back_what_it_had(tmp_path, sleeper):
    write(tmp_path, sleeper.pid, f"0::/docker/{NODE}\n")
    before = os.sched_getaffinity(0)
    core = min(before)
    with divided([NODE], core, tmp_path):
        assert os.sched_getaffinity(sleeper.pid) == {core}
        assert os.sched_getaffinity(0) == before - {core}
        child = subprocess.run(
            [sys.executable, "-c", "import os; print(sorted(os.sched_getaffinity(0)))"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert child.stdout.strip() == str(sorted(before - {core}))
    assert os.sched_getaffinity(sleeper.pid) == os.sched_getaffinity(0) == before


@needs_two_cores
def test_they_are_given_back_when_the_measurement_breaks(tmp_path, sleeper):
    write(tmp_path, sleeper.pid, f"0::/docker/{NODE}\n")
    before = os.sched_getaffinity(0)
    with pytest.raises(ZeroDivisionError), divided([NODE], min(before), tmp_path):
        raise ZeroDivisionError
    assert os.sched_getaffinity(sleeper.pid) == os.sched_getaffinity(0) == before


@needs_two_cores
def test_they_are_given_back_when_whoever_divided_them_is_killed(tmp_path, sleeper):
    write(tmp_path, sleeper.pid, f"0::/docker/{NODE}\n")
    before = os.sched_getaffinity(0)
    program = (
        "import time; from pathlib import Path; from hailstorm_benchmarks.cores import divided\n"
        f"with divided([{NODE!r}], {min(before)}, Path({str(tmp_path)!r})):\n"
        "    print('divided', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, env=with_benchmarks()
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"divided\n"
        assert os.sched_getaffinity(sleeper.pid) == {min(before)}
        holder.kill()
    end = time.monotonic() + 10
    while os.sched_getaffinity(sleeper.pid) != before and time.monotonic() < end:
        time.sleep(0.05)
    assert os.sched_getaffinity(sleeper.pid) == before


def with_benchmarks():
    place = Path(cores.__file__).parent.parent
    return {**os.environ, "PYTHONPATH": str(place)}


@needs_two_cores
def test_a_process_that_is_not_ours_is_an_error_and_leaves_us_where_we_were(
    tmp_path, sleeper, monkeypatch
):
    write(tmp_path, sleeper.pid, f"0::/docker/{NODE}\n")
    before = os.sched_getaffinity(0)
    ours = os.sched_setaffinity

    def refused(pid, wanted):
        if pid == sleeper.pid:
            raise PermissionError(1, "Operation not permitted")
        ours(pid, wanted)

    monkeypatch.setattr(cores.os, "sched_setaffinity", refused)
    told = f"process {sleeper.pid} cannot be kept on a core"
    with pytest.raises(CoresError, match=told), divided([NODE], min(before), tmp_path):
        pass
    assert os.sched_getaffinity(0) == before


def test_nothing_is_divided_without_containers_or_a_core_to_spare(tmp_path, monkeypatch):
    with pytest.raises(CoresError), divided([], min(os.sched_getaffinity(0)), tmp_path):
        pass
    monkeypatch.setattr(cores.os, "sched_getaffinity", lambda pid: {0})
    with pytest.raises(CoresError, match="it takes 0 and another"), divided([NODE], 0, tmp_path):
        pass
