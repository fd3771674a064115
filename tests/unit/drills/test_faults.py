"""A fault's steps stay in order, and healing happens whatever happens."""

from collections.abc import Callable
from typing import Any

import pytest

from hailstorm_drills.cluster import CommandError
from hailstorm_drills.faults.base import FaultError, Guard, State, guarded, wait_for
from hailstorm_drills.faults.helm_rollout import HelmRollout
from hailstorm_drills.rollouts import incomplete, unsettled


class Told:
    """A fault that writes down what it is asked, and fails where it is told to."""

    def __init__(self, fails: str = "") -> None:
        self.steps: list[str] = []
        self._fails = fails

    def __getattr__(self, name: str) -> Callable[[], Any]:
        def step() -> None:
            self.steps.append(name)
            if name == self._fails:
                raise FaultError(f"{name} failed")

        return step


def once(probe: Callable[[], str | None], seconds: float, what: str) -> None:
    if told := probe():
        raise FaultError(told)


ALL_STEPS = ["set_up", "inject", "took_hold", "hold", "recover", "healed", "clean_up"]


def live(fault: Any) -> None:
    with guarded(fault, 1.0, once) as guard:
        guard.set_up()
        guard.inject()
        guard.wait_took_hold(1.0)
        guard.hold()
        guard.heal(1.0)


def test_steps_come_in_order_and_once() -> None:
    fault = Told()
    live(fault)
    assert fault.steps == ALL_STEPS


@pytest.mark.parametrize("step", ["inject", "took_hold", "hold"])
def test_fault_is_healed_when_a_step_fails(step: str) -> None:
    fault = Told(fails=step)
    with pytest.raises(FaultError, match=f"{step} failed"):
        live(fault)
    assert fault.steps[-3:] == ["recover", "healed", "clean_up"]


def test_fault_is_healed_when_the_drill_is_interrupted() -> None:
    fault = Told()
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012, SIM117 the block is the subject
        with guarded(fault, 1.0, once) as guard:
            guard.set_up()
            guard.inject()
            raise KeyboardInterrupt
    assert fault.steps == ["set_up", "inject", "recover", "healed", "clean_up"]


def test_nothing_is_healed_that_was_not_injected() -> None:
    fault = Told(fails="set_up")
    with pytest.raises(FaultError):
        live(fault)
    assert fault.steps == ["set_up"]


def test_clean_up_happens_when_healing_fails() -> None:
    fault = Told(fails="recover")
    with pytest.raises(FaultError):
        live(fault)
    assert fault.steps[-1] == "clean_up"


def test_steps_out_of_order_are_refused() -> None:
    guard = Guard(Told(), once)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="NEW is not SET_UP"):
        guard.inject()
    assert guard.state is State.NEW


def test_wait_for_tells_what_was_missing_last() -> None:
    answers = iter(["three pods", "two pods", "one pod"])
    times = iter([0.0, 1.0, 2.0, 9.0])
    with pytest.raises(FaultError, match="rolled: not within 5 s: one pod"):
        wait_for(lambda: next(answers), 5, "rolled", lambda: next(times), lambda _: None)


def deployment(name: str = "trip", **status: int) -> dict[str, Any]:
    told = {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}
    return {
        "metadata": {"name": name, "generation": 2, "labels": {}},
        "spec": {"replicas": 2},
        "status": {**told, **status},
    }


def pod(
    hash_: str, component: str = "trip", ready: bool = True, deleted: bool = False
) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "name": f"{component}-{hash_}",
        "labels": {"app.kubernetes.io/component": component, "pod-template-hash": hash_},
    }
    if deleted:
        metadata["deletionTimestamp"] = "now"
    conditions = [{"type": "Ready", "status": str(ready)}]
    return {"metadata": metadata, "status": {"phase": "Running", "conditions": conditions}}


def test_rollout_is_over_when_no_pod_is_terminating() -> None:
    assert unsettled([deployment()], [pod("new")]) is None
    assert unsettled([deployment()], [pod("new"), pod("old", deleted=True)]) == (
        "trip-old is terminating"
    )
    assert unsettled([deployment()], [pod("new", ready=False)]) == "trip-new is not ready"
    assert unsettled([], []) == "there is no Deployment"


def test_pods_of_jobs_are_no_part_of_a_rollout() -> None:
    job = pod("job", ready=False)
    job["metadata"]["ownerReferences"] = [{"kind": "Job"}]
    assert unsettled([deployment()], [pod("new"), job]) is None


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ({"observedGeneration": 1}, "has not seen the latest change"),
        ({"replicas": 3}, "replicas 3 of 2"),
        ({"updatedReplicas": 1}, "updatedReplicas 1 of 2"),
        ({"availableReplicas": 0}, "availableReplicas 0 of 2"),
    ],
)
def test_deployment_is_incomplete_until_all_counts_agree(status: dict[str, int], told: str) -> None:
    assert told in (incomplete(deployment(**status)) or "")


class FakeRelease:
    def __init__(self) -> None:
        self.calls: list[object] = []
        self.fails = False

    def upgrade(self, values: object, settings: object = ()) -> None:
        self.calls.append(("upgrade", values, settings))
        if self.fails:
            raise CommandError("helm failed")

    def rollback(self) -> None:
        self.calls.append("rollback")


def make_rollout(pods: list[Any], deployments: list[Any]) -> tuple[HelmRollout, FakeRelease]:
    release = FakeRelease()
    fault = HelmRollout(
        release,  # type: ignore[arg-type]
        ["n.yaml"],
        ("a=b",),
        ("trip",),
        lambda: pods,
        lambda: deployments,
    )
    return fault, release


def test_rollout_took_hold_when_a_new_template_serves() -> None:
    pods = [pod("old")]
    fault, release = make_rollout(pods, [deployment()])
    fault.set_up()
    fault.inject()
    assert release.calls == [("upgrade", ["n.yaml"], ("a=b",))]
    assert fault.took_hold() == "no ready pod of a new template in trip"
    pods.append(pod("new", ready=False))
    assert fault.took_hold() is not None
    pods[-1] = pod("new")
    assert fault.took_hold() is None
    fault.recover()
    assert "rollback" not in release.calls


def test_rollout_that_kubernetes_gave_up_on_is_rolled_back() -> None:
    deployments = [deployment()]
    fault, release = make_rollout([pod("old")], deployments)
    fault.set_up()
    fault.inject()
    deployments[0]["status"]["conditions"] = [{"type": "Progressing", "status": "False"}]
    fault.recover()
    assert release.calls[-1] == "rollback"


def test_rollout_is_not_begun_on_an_unsettled_release() -> None:
    fault, _ = make_rollout([pod("old", deleted=True)], [deployment()])
    with pytest.raises(FaultError, match="not settled"):
        fault.set_up()
    fault, _ = make_rollout([pod("x", component="edge")], [deployment()])
    with pytest.raises(FaultError, match="no pods of trip"):
        fault.set_up()
