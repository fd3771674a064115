"""The way to the cluster, against programs that fail like kubectl does."""

import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from eventually import eventually
from hailstorm_drills.cluster import Cluster, CommandError
from hailstorm_drills.load import Load, LoadError, LoadSpec, manifests
from hailstorm_drills.lock import LockedError, locked
from hailstorm_drills.watching import Watch

ROOT = Path(__file__).parents[3]
Make = Callable[[str], Cluster]


@pytest.fixture
def cluster(tmp_path: Path) -> Make:
    """A cluster whose kubectl is a shell script."""

    def make(script: str) -> Cluster:
        program = tmp_path / "kubectl"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        return Cluster(tmp_path / "kubeconfig", str(program), str(program))

    return make


def test_commands_see_our_kubeconfig(cluster: Make, tmp_path: Path) -> None:
    assert cluster('echo "$KUBECONFIG $2"').kubectl("get", "pods").split() == [
        str(tmp_path / "kubeconfig"),
        "pods",
    ]


def test_failed_command_says_what_the_program_said(cluster: Make) -> None:
    with pytest.raises(CommandError, match=r"get pods.*failed: no such host"):
        cluster("echo no such host >&2; exit 1").kubectl("get", "pods")


def test_missing_program_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="cannot be started"):
        Cluster(tmp_path / "k", str(tmp_path / "none")).kubectl("version")


def test_command_that_hangs_is_ended(cluster: Make) -> None:
    began = time.monotonic()
    with pytest.raises(CommandError, match=r"took longer than 0 s"):
        cluster("exec sleep 30").kubectl("get", "pods", timeout=0.2)
    assert time.monotonic() - began < 5


def has_autogroups() -> bool:
    """Whether each session has a share of the CPU here; the file is empty where they are off."""
    try:
        return bool(Path("/proc/self/autogroup").read_text())
    except OSError:
        return False


@pytest.mark.skipif(not has_autogroups(), reason="this kernel gives sessions no share of the CPU")
def test_commands_give_way_to_the_cluster_on_the_same_machine(cluster: Make) -> None:
    # The program has begun before it is told.
    script = "until grep -q 'nice 10' /proc/self/autogroup; do sleep 0.01; done; echo yes"
    assert cluster(script).kubectl("get", timeout=10) == "yes\n"
    process = cluster(script).start("get")
    assert process.communicate(timeout=10) == (b"yes\n", b"")


HELM_INTERRUPTED = """
import os, pathlib, signal, sys, threading
from hailstorm_drills.cluster import Cluster
# A shell starts what runs in the background with it ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
started, program, limit = pathlib.Path("started"), sys.argv[1], float(sys.argv[2])

def interrupt():
    while not started.exists():
        threading.Event().wait(0.01)
    # As the terminal does, to the whole group.
    os.killpg(0, signal.SIGINT)

threading.Thread(target=interrupt, daemon=True).start()
try:
    Cluster(pathlib.Path("k"), program, program).helm("upgrade", timeout=limit)
except KeyboardInterrupt:
    sys.exit(130)
"""


def interrupted(tmp_path: Path, cluster: Make, script: str, limit: float) -> int:
    """The exit code of a process that is interrupted while its helm, this script, runs."""
    program = cluster(script).helm_program
    return subprocess.run(
        [sys.executable, "-c", HELM_INTERRUPTED, program, str(limit)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT / "drills")},
        timeout=60,
        start_new_session=True,
    ).returncode


def test_interrupt_goes_on_after_helm_has_ended(cluster: Make, tmp_path: Path) -> None:
    assert interrupted(tmp_path, cluster, "touch started; sleep 1; touch ended", 50) == 130
    assert (tmp_path / "ended").exists()


def test_interrupt_waits_for_a_helm_that_hangs_no_longer_than_its_time(
    cluster: Make, tmp_path: Path
) -> None:
    assert interrupted(tmp_path, cluster, "touch started; exec sleep 300", 1) == 130


def test_apply_hands_over_one_list(cluster: Make, tmp_path: Path) -> None:
    cluster(f"cat > {tmp_path}/applied").apply([{"kind": "Pod"}])
    applied = json.loads((tmp_path / "applied").read_text())
    assert (applied["kind"], applied["items"]) == ("List", [{"kind": "Pod"}])


EVENT = '{"type": "%s", "object": {"metadata": {"name": "%s", "managedFields": 1}}}'


async def test_watch_goes_on_after_a_break_and_tells_of_the_gap(
    cluster: Make, tmp_path: Path
) -> None:
    script = f"""
    if [ -e {tmp_path}/again ]; then
      echo '{EVENT % ("DELETED", "a")}'; exec sleep 60
    fi
    touch {tmp_path}/again
    echo '{EVENT % ("ADDED", "a")}'; echo '{EVENT % ("ADDED", "b")}'
    """
    watch = Watch(cluster(script), "pods", "ns")
    watch.start()
    try:
        events = await eventually(watch.seen, 20, until=lambda seen: len(seen) == 4)
    finally:
        watch.stop()
    assert [event["type"] for event in events] == ["ADDED", "ADDED", "GAP", "DELETED"]
    assert [thing["metadata"] for thing in watch.objects()] == [{"name": "b"}]


SPEC = LoadSpec(
    namespace="hailstorm-load",
    image="hailstorm/drills:1",
    pull_policy="Never",
    target="dns:///edge-headless.hailstorm.svc.cluster.local:8080",
    workers=2,
    profile={"seed": 7, "duration_seconds": 600.0, "shape": "step:60:2"},
    deadline_seconds=900,
)


def test_load_pods_satisfy_the_restricted_standard() -> None:
    pods = [m["spec"] for m in manifests(SPEC) if m["kind"] == "Pod"]
    assert len(pods) == 3
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not pod["automountServiceAccountToken"]
        assert pod["restartPolicy"] == "Never"
        assert pod["activeDeadlineSeconds"] >= 900
        (container,) = pod["containers"]
        context = container["securityContext"]
        assert not context["allowPrivilegeEscalation"]
        assert context["readOnlyRootFilesystem"]
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert set(container["resources"]) == {"requests", "limits"}
        assert {next(iter(set(v) - {"name"})) for v in pod["volumes"]} == {"emptyDir"}


def test_load_pods_are_started_with_words_that_the_generator_knows() -> None:
    lists = [m["spec"]["containers"][0]["args"] for m in manifests(SPEC) if m["kind"] == "Pod"]
    # In a process of its own: the generator's entry takes over the sockets.
    script = (
        "import json, sys\n"
        "from hailstorm_loadtests.__main__ import make_parser, profile_of\n"
        "from hailstorm_loadtests.fence import parse_target\n"
        "for words in json.loads(sys.argv[1]):\n"
        "    found = make_parser().parse_args(words)\n"
        "    parse_target(getattr(found, 'target', None) or found.master)\n"
        "    if found.command == 'master':\n"
        "        profile = profile_of(found)\n"
        "        print(profile.seed, profile.shape, found.workers)\n"
    )
    paths = os.pathsep.join(str(ROOT / name) for name in ("services", "loadtests"))
    done = subprocess.run(
        [sys.executable, "-c", script, json.dumps(lists)],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.stdout.split() == ["7", "step:60:2", "2"], done.stderr


POD = {"metadata": {"name": "load-master"}, "status": {"phase": "Running"}}


def load_that_says(cluster: Make, pods: list[object], state: str) -> Load:
    script = (
        'if [ "$2" = --raw ]; then echo '
        + f"'{state}'; else echo '{json.dumps({'items': pods})}'; fi"
    )
    return Load(cluster(script), SPEC)


def test_load_runs_when_its_master_says_so(cluster: Make) -> None:
    assert load_that_says(cluster, [POD], '{"state": "running"}').waiting_for() is None
    waiting = load_that_says(cluster, [POD], '{"state": "waiting"}').waiting_for()
    assert waiting == "the load is waiting"
    pending = {**POD, "status": {"phase": "Pending"}}
    assert load_that_says(cluster, [pending], "{}").waiting_for() == "load-master is Pending"


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ({"phase": "Failed"}, "{}"),
        (
            {
                "phase": "Pending",
                "containerStatuses": [{"state": {"waiting": {"reason": "ErrImageNeverPull"}}}],
            },
            "{}",
        ),
        ({"phase": "Running"}, '{"state": "incomplete", "why": "no worker came"}'),
    ],
)
def test_load_that_never_starts_is_not_waited_for(
    status: dict[str, object], state: str, cluster: Make
) -> None:
    with pytest.raises(LoadError):
        load_that_says(cluster, [{**POD, "status": status}], state).waiting_for()


def test_master_that_talks_nonsense_is_an_error(cluster: Make) -> None:
    with pytest.raises(LoadError, match="does not answer"):
        load_that_says(cluster, [POD], "<html>").state()


LOCK = """
case "$1" in
  apply) cat > /dev/null;;
  create) if [ -e {0}/lock ]; then echo 'Error: "drill-lock" already exists' >&2; exit 1; fi
          cat > {0}/lock;;
  get) cat {0}/lock;;
  delete) rm -f {0}/lock;;
esac
"""


def test_only_one_drill_holds_the_lock(cluster: Make, tmp_path: Path) -> None:
    found = cluster(LOCK.format(tmp_path))
    with locked(found, "ns", "first", 60):
        with (
            pytest.raises(LockedError, match="drill first is under way"),
            locked(found, "ns", "second", 60),
        ):
            pass
        # The one that was refused must not take the lock away.
        assert (tmp_path / "lock").exists()
    assert not (tmp_path / "lock").exists()


def test_stale_lock_is_taken_over(cluster: Make, tmp_path: Path) -> None:
    found = cluster(LOCK.format(tmp_path))
    (tmp_path / "lock").write_text('{"data": {"until": "1", "pid": "1"}}')
    with locked(found, "ns", "next", 60):
        assert "next" in (tmp_path / "lock").read_text()
