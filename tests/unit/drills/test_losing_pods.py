"""The faults that take pods away: whom they choose, how often they come, what they leave."""

import random
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from hailstorm_drills.cluster import CommandError
from hailstorm_drills.faults import sigkill as sigkill_module
from hailstorm_drills.faults.base import FaultError, guarded
from hailstorm_drills.faults.drain_node import DrainNode, choose_node
from hailstorm_drills.faults.operator_kill import OperatorKill
from hailstorm_drills.faults.repeated import Repeated
from hailstorm_drills.faults.rollout_restart import RolloutRestart, names_of
from hailstorm_drills.faults.scale_down import ScaleDown
from hailstorm_drills.faults.sigkill import SPARE_SECONDS, KillPods, choose_victim, sigkill
from hailstorm_drills.faults.stage import Stage
from hailstorm_drills.marks import DEPLOY, KILL
from unit.drills.fakes import commands, deployment, make_stage, once, pod


@pytest.fixture
def stage(parameters: Any) -> Callable[..., Stage]:
    def make(pods: list[dict[str, Any]], deployments: Any = None, **changes: Any) -> Stage:
        return make_stage(parameters(**changes), pods, deployments)

    return make


CONTROL = {"metadata": {"name": "cp", "labels": {"node-role.kubernetes.io/control-plane": ""}}}
WORKERS = [{"metadata": {"name": name}} for name in ("w1", "w2", "w3")]


def test_node_to_drain_holds_most_and_neither_store_nor_load() -> None:
    pods = [
        pod("a", node="w2"),
        pod("b", node="w3"),
        pod("c", node="w3"),
        pod("db", "postgres", node="w1"),
    ]
    assert choose_node([CONTROL, *WORKERS], pods, [], ("trip",)) == "w3"
    load = [pod("load-master", "", node="w3")]
    assert choose_node([CONTROL, *WORKERS], pods, load, ("trip",)) == "w2"


def test_node_with_a_store_is_drained_where_every_one_has_one() -> None:
    pods = [
        pod("a", node="w2"),
        *(pod(f"s{n}", "redis", node=node) for n, node in enumerate(("w1", "w2", "w3"))),
    ]
    assert choose_node([CONTROL, *WORKERS], pods, [], ("trip",)) == "w2"


@pytest.mark.parametrize(
    ("nodes", "load_nodes"),
    [([CONTROL], []), ([CONTROL, WORKERS[0]], []), ([CONTROL, *WORKERS], ["w1", "w2", "w3"])],
)
def test_cluster_that_nothing_can_be_drained_in_is_refused(
    nodes: list[dict[str, Any]], load_nodes: list[str]
) -> None:
    load = [pod(f"load-{n}", "", node=node) for n, node in enumerate(load_nodes)]
    with pytest.raises(FaultError, match="no worker can be drained"):
        choose_node(nodes, [], load, ("trip",))


def draining(stage: Callable[..., Stage]) -> tuple[Stage, DrainNode]:
    own = stage([pod("a", node="w2"), pod("b", node="w1")])
    own.cluster.found = {"nodes": [CONTROL, *WORKERS[:2]]}  # type: ignore[attr-defined]
    fault = DrainNode(own, ("trip",))
    fault.set_up()
    return own, fault


def test_node_is_uncordoned_when_it_is_empty(stage: Callable[..., Stage]) -> None:
    own, fault = draining(stage)
    fault.inject()
    fault.hold()
    fault.recover()
    drain, uncordon = commands(own)
    assert drain[:2] == ("drain", fault.node)
    assert "--pod-selector=app.kubernetes.io/component notin (postgres,redis)" in drain
    assert uncordon == ("uncordon", fault.node)
    (mark,) = own.marks.found
    assert (mark.what, mark.until is not None) == (fault.node, True)


@pytest.mark.parametrize("code", [1, None])
def test_node_is_uncordoned_when_its_drain_fails_or_is_interrupted(
    code: int | None, stage: Callable[..., Stage]
) -> None:
    own, fault = draining(stage)
    own.cluster.process.code = code  # type: ignore[attr-defined]
    own.pods.objects()[0]["metadata"]["deletionTimestamp"] = "now"
    with pytest.raises((CommandError, FaultError)):  # noqa: PT012, SIM117 the block is the subject
        with guarded(fault, 1.0, once) as guard:
            # `draining` has set it up.
            fault.set_up = lambda: None  # type: ignore[method-assign]
            guard.set_up()
            guard.inject()
            guard.wait_took_hold(1.0)
            guard.hold()
    assert commands(own)[-1] == ("uncordon", fault.node)
    assert own.cluster.process.was_ended is (code is None)  # type: ignore[attr-defined]


def test_restart_takes_all_in_one_command(stage: Callable[..., Stage]) -> None:
    own = stage([pod("a"), pod("e", "edge")], [deployment(), deployment("edge")])
    fault = RolloutRestart(
        own.cluster, "ns", ("trip", "edge"), own.pods.objects, own.deployments.objects
    )
    for each in own.pods.objects():
        each["metadata"]["labels"]["pod-template-hash"] = "old"
    fault.set_up()
    fault.inject()
    assert commands(own) == [
        ("rollout", "restart", "--namespace", "ns", "deployment/trip", "deployment/edge")
    ]
    assert fault.took_hold() == "no ready pod of a new template in trip, edge"
    for each in own.pods.objects():
        each["metadata"]["labels"]["pod-template-hash"] = "new"
    assert fault.took_hold() is None
    with pytest.raises(FaultError, match="no Deployment of location"):
        names_of(own.deployments.objects, ("location",))


def test_scale_down_begins_with_the_planned_replicas(stage: Callable[..., Stage]) -> None:
    own = stage([pod("a"), pod("b")], replicas=2, to_replicas=1)
    fault = ScaleDown(own, ("trip",))
    fault.set_up()
    fault.inject()
    assert commands(own) == [
        ("scale", "--namespace", "hailstorm", "--replicas=1", "deployment/trip")
    ]
    assert fault.took_hold() == "no pod of trip is going"
    own.pods.objects()[0]["metadata"]["deletionTimestamp"] = "now"
    assert fault.took_hold() is None
    with pytest.raises(FaultError, match="has 2 ready pods and not 4"):
        ScaleDown(stage([pod("a"), pod("b")], replicas=4), ("trip",)).set_up()


NOW = 100.0


def victim(pods: list[dict[str, Any]], since: dict[str, float], **kills: int) -> str | None:
    found = choose_victim(pods, ("trip", "edge"), since, kills, NOW, random.Random(7))
    return str(found["metadata"]["name"]) if found else None


def test_victim_is_never_the_last_pod_of_a_service() -> None:
    pods = [pod("a"), pod("b"), pod("lone", "edge"), pod("other", "redis")]
    since = dict.fromkeys(("a", "b", "lone", "other"), 0.0)
    assert {victim(pods, since, a=1), victim(pods, since, b=1)} == {"a", "b"}
    pods[1]["status"]["conditions"][0]["status"] = "False"
    assert victim(pods, since) is None


def test_spare_must_have_been_ready_for_a_while() -> None:
    pods = [pod("a"), pod("b")]
    fresh = {"a": 0.0, "b": NOW - SPARE_SECONDS / 2}
    # Only b may go: a has been there long enough to stand in.
    assert victim(pods, fresh, b=9) == "b"
    assert victim(pods, {"a": NOW, "b": NOW}) is None


def test_kill_says_when_and_whether(stage: Callable[..., Stage]) -> None:
    own = stage([])
    assert sigkill(own.cluster, pod("a", node="w2")) == 1700000000.5
    ((_, node, script),) = commands(own)
    assert (node, "a-id" in script, "kill -KILL" in script) == ("w2", True, True)
    for said in ("", "1700000000.5\n0\n"):
        own.cluster.killed = said  # type: ignore[attr-defined]
        with pytest.raises(CommandError, match="killing a said"):
            sigkill(own.cluster, pod("a"))
    gone = pod("a")
    gone["status"]["containerStatuses"][0]["state"] = {"waiting": {}}
    with pytest.raises(CommandError, match="no running container"):
        sigkill(own.cluster, gone)


def test_script_kills_the_processes_of_that_container_and_no_other(tmp_path: Any) -> None:
    """The real shell, on a /proc of our own making and a kill that only tells."""
    for pid, group in ((11, "cri-containerd-aaa.scope"), (12, "cri-containerd-bbb.scope")):
        folder = tmp_path / "proc" / str(pid)
        folder.mkdir(parents=True)
        (folder / "cgroup").write_text(f"0::/kubepods/{group}\n")
    script = sigkill_module.SCRIPT.format(ids="aaa").replace("/proc/", f"{tmp_path}/proc/")
    # The field of the path in which the process's id is.
    script = script.replace("-f3", f"-f{len(tmp_path.parts) + 2}")
    script = f'kill() {{ echo "$@" > {tmp_path}/killed; }}\n{script}'
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
    assert (tmp_path / "killed").read_text().split() == ["-KILL", "11"]
    assert done.stdout.split()[1] == "1"
    none = script.replace("'aaa'", "'ccc'")
    assert subprocess.run(["sh", "-c", none], capture_output=True, check=False).returncode == 1


def test_kills_come_every_interval_and_each_has_its_mark(stage: Callable[..., Stage]) -> None:
    own = stage([pod("a"), pod("b")], fault_seconds=0.3, interval_seconds=0.1)
    fault = KillPods(own, ("trip",))
    fault.set_up()
    # Which pods are spares is another test's; here all of them are, all the time.
    fault._since = _Ever()
    fault.inject()
    fault.hold()
    fault.recover()
    kills = [mark for mark in own.marks.found if mark.kind == KILL]
    assert len(kills) == 3
    assert {kill.what for kill in kills} == {"a", "b"}
    assert all(kill.until is not None for kill in kills)


class _Ever(dict[str, float]):
    """Every pod has been ready since long ago."""

    def get(self, _: str, __: Any = None) -> float:  # type: ignore[override]
        return 0.0


def test_kill_waits_for_a_spare_and_then_gives_up(stage: Callable[..., Stage]) -> None:
    own = stage([pod("a")], interval_seconds=0.01)
    fault = KillPods(own, ("trip",))
    fault.set_up()
    with pytest.raises(FaultError, match="had a ready spare"):
        fault.inject()
    assert own.marks.found == []


def test_kill_took_hold_when_the_pod_is_down_or_started_again(stage: Callable[..., Stage]) -> None:
    own = stage([pod("a"), pod("b")], interval_seconds=1.0)
    fault = KillPods(own, ("trip",))
    fault.set_up()
    fault.inject()
    name = own.marks.found[0].what
    assert fault.took_hold() == f"{name} still counts as ready"
    index = next(i for i, p in enumerate(own.pods.objects()) if p["metadata"]["name"] == name)
    own.pods.things[index] = pod(name, restarts=1)  # type: ignore[attr-defined]
    assert fault.took_hold() is None
    own.pods.things[index] = pod(name, ready=False)  # type: ignore[attr-defined]
    assert fault.took_hold() is None


class Told:
    """A fault that writes down its steps, and fails where it is told to."""

    def __init__(self, name: str, steps: list[str], fails: str = "") -> None:
        self._name, self._steps, self._fails = name, steps, fails

    def __getattr__(self, step: str) -> Callable[[], Any]:
        def do() -> None:
            told = f"{self._name}.{step}"
            self._steps.append(told)
            if told == self._fails:
                raise FaultError(f"{told} failed")

        return do


ONE = ("set_up", "inject", "took_hold", "hold", "recover", "healed", "clean_up")


def repeat(stage: Stage, steps: list[str], fails: str = "") -> None:
    fault = Repeated(
        stage,
        lambda n: Told(str(n), steps, fails),
        DEPLOY,
        lambda n: f"deploy {n}",
        alongside=lambda n: steps.append(f"{n}.control"),
    )
    with guarded(fault, 1.0, once) as guard:
        guard.set_up()
        guard.inject()
        guard.wait_took_hold(1.0)
        guard.hold()
        guard.heal(1.0)


def test_each_repetition_is_healed_before_the_next(stage: Callable[..., Stage]) -> None:
    own, steps = stage([], times=3), list[str]()
    repeat(own, steps)
    wanted = [f"{n}.{step}" for n in (1, 2, 3) for step in (*ONE[:2], "control", *ONE[2:])]
    assert steps == wanted
    assert [mark.what for mark in own.marks.found] == ["deploy 1", "deploy 2", "deploy 3"]
    assert all(mark.until is not None for mark in own.marks.found)


@pytest.mark.parametrize("step", ["inject", "took_hold", "hold"])
def test_repetition_that_fails_is_healed_and_the_rest_does_not_come(
    step: str, stage: Callable[..., Stage]
) -> None:
    own, steps = stage([], times=3), list[str]()
    with pytest.raises(FaultError, match=rf"2\.{step} failed"):
        repeat(own, steps, fails=f"2.{step}")
    assert steps[-3:] == ["2.recover", "2.healed", "2.clean_up"]


def test_operator_is_killed_in_the_rollout_and_awaited(stage: Callable[..., Stage]) -> None:
    own, steps = stage([]), list[str]()
    running = pod("operator-1", "operator", node="w2")
    own.cluster.found = {"pods": [running]}  # type: ignore[attr-defined]
    fault = OperatorKill(own, Told("rollout", steps))  # type: ignore[arg-type]
    fault.set_up()
    fault.inject()
    with pytest.raises(FaultError, match="was not started again"):
        fault.hold()

    def back(probe: Callable[[], str | None], seconds: float, what: str) -> None:
        running["status"]["containerStatuses"][0]["restartCount"] += 1
        once(probe, seconds, what)

    own.wait = back
    fault.hold()
    assert steps == ["rollout.set_up", "rollout.inject", "rollout.hold"]
    assert [mark.until is None for mark in own.marks.found] == [True, False]
    own.cluster.found = {}  # type: ignore[attr-defined]
    with pytest.raises(FaultError, match="no operator to kill"):
        fault.hold()
