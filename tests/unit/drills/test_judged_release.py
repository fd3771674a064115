"""The fault that puts a release before the gate, with a gate that acts or sleeps."""

import json
from typing import Any

import pytest

from hailstorm_drills.cluster import CommandError
from hailstorm_drills.faults.base import FaultError
from hailstorm_drills.faults.helm_rollout import Release
from hailstorm_drills.faults.judged_release import (
    BAD,
    IDENTICAL,
    JudgedRelease,
    first_seed,
    rehearsal,
)
from hailstorm_drills.faults.stage import Stage
from hailstorm_drills.marks import DEPLOY, Marks
from hailstorm_operator import api

HASH = "pod-template-hash"


class Watched:
    """What a watch has brought."""

    def __init__(self, *things: dict[str, Any]) -> None:
        self.things = list(things)

    def objects(self) -> list[dict[str, Any]]:
        return self.things

    def start(self) -> None:
        """A kubectl would start here."""

    def stop(self) -> None:
        self.things = []


class FakeRelease:
    """Notes upgrades; Helm is not asked."""

    def __init__(self) -> None:
        self.upgrades: list[tuple[str, ...]] = []

    def upgrade(self, values: Any, settings: Any = ()) -> None:
        self.upgrades.append(tuple(settings))


class FakeCluster:
    def get(self, resource: str, namespace: str, *options: str) -> dict[str, Any]:
        assert resource == "rolloutrecords.hailstorm.dev"
        return {"items": [record("location-1")]}


def pod(hash_: str, *, ready: bool = True, deleted: bool = False) -> dict[str, Any]:
    labels = {"app.kubernetes.io/component": "location", HASH: hash_}
    metadata: dict[str, Any] = {"name": f"location-{hash_}", "labels": labels}
    if deleted:
        metadata["deletionTimestamp"] = "now"
    return {
        "metadata": metadata,
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "containerStatuses": [{"state": {"running": {}}}],
        },
    }


def deployment(**status: int) -> dict[str, Any]:
    told = {"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}
    return {
        "metadata": {
            "name": "location",
            "generation": 2,
            "labels": {"app.kubernetes.io/component": "location"},
        },
        "spec": {"replicas": 1},
        "status": {**told, **status},
    }


def record(name: str, verdict: str = "") -> dict[str, Any]:
    decided = {"verdict": verdict, "rule": "R", "explanation": "", "at": "2026-11-26T00:00:01Z"}
    return {
        "metadata": {"name": name},
        "spec": {
            "targetRef": {"name": "location"},
            "revision": int(name[-1]),
            "trigger": {"kind": "rollout"},
        },
        "status": {"policy": {"decisions": [decided]} if verdict else {}},
    }


class Scene:
    """A stage whose cluster the test moves by hand."""

    def __init__(self, parameters: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pods, self.deployments = Watched(pod("old")), Watched(deployment())
        self.records, self.release = Watched(), FakeRelease()
        self.said: list[str] = []
        monkeypatch.setattr("hailstorm_drills.faults.judged_release.Watch", lambda *_: self.records)
        self.stage = Stage(
            parameters(fault_seconds=20.0),
            FakeCluster(),  # type: ignore[arg-type]
            self.pods,  # type: ignore[arg-type]
            self.deployments,  # type: ignore[arg-type]
            self.release,  # type: ignore[arg-type]
            ("rolloutPolicy.enabled=true",),
            Marks(lambda: 60.0),
            self.said.append,
            self.wait,
        )

    @staticmethod
    def wait(probe: Any, seconds: float, what: str) -> None:
        if missing := probe():
            raise FaultError(f"{what}: not within {seconds:.0f} s: {missing}")

    def hand_over(self, **changes: Any) -> JudgedRelease:
        """A release that has been set up and injected, and whose pod has come."""
        bad = rehearsal("location", 8, failShare=0.05)
        fault = JudgedRelease(self.stage, "location", bad, **changes)
        fault.set_up()
        self.stage.marks.add(DEPLOY, "bad release 1")
        fault.inject()
        self.pods.things.append(pod("new"))
        self.deployments.things = [deployment(updatedReplicas=0)]
        return fault

    def take_back(self) -> None:
        self.pods.things = [pod("old"), pod("new", deleted=True)]
        self.deployments.things = [deployment()]
        self.records.things = [record("location-2", api.VERDICT_ABORTED)]

    @property
    def figures(self) -> dict[str, Any]:
        return self.stage.marks.found[-1].figures


@pytest.fixture
def scene(parameters: Any, monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(parameters, monkeypatch)


def test_release_that_the_gate_takes_back_is_left_to_it(scene: Scene) -> None:
    fault = scene.hand_over()
    assert fault.took_hold() is None
    assert fault.healed() is not None
    scene.take_back()
    fault.hold()
    assert (scene.figures["taken_back"], scene.figures["record"]) == (True, "location-2")
    assert scene.figures["before"] == ["old"]
    fault.recover()
    assert "terminating" in str(fault.healed())
    scene.pods.things.pop()
    assert fault.healed() is None
    settings = ("location.rehearsal.failShare=0.05", "location.rehearsal.seed=8")
    assert scene.release.upgrades == [("rolloutPolicy.enabled=true", *settings)]


def test_release_that_nobody_takes_back_is_taken_back_by_hand(scene: Scene) -> None:
    fault = scene.hand_over(back=("location.rehearsal.seed=7",))
    fault.hold()
    assert scene.figures["taken_back"] is False
    assert "verdict" not in scene.figures
    fault.recover()
    assert scene.release.upgrades[-1] == ("rolloutPolicy.enabled=true", "location.rehearsal.seed=7")
    # By hand or not: it is over when the template before serves again.
    assert fault.healed() is not None
    scene.take_back()
    scene.pods.things.pop()
    assert fault.healed() is None


def test_release_that_was_only_watched_is_not_taken_back(scene: Scene) -> None:
    fault = scene.hand_over()
    scene.records.things = [record("location-2", api.VERDICT_ABORTED)]
    fault.hold()
    assert (scene.figures["verdict"], scene.figures["taken_back"]) == ("aborted", False)


def test_pod_has_to_serve_or_to_run(scene: Scene) -> None:
    fault = scene.hand_over()
    scene.pods.things = [pod("old")]
    assert fault.took_hold() == "no new pod of location"
    scene.pods.things.append(pod("new", ready=False))
    assert fault.took_hold() == "no new pod of location is ready"
    scene.pods.things = [pod("old")]
    fault = scene.hand_over(serves=False)
    scene.pods.things[-1] = pod("new", ready=False)
    assert fault.took_hold() is None


def test_release_that_is_gone_before_it_was_seen_took_hold_all_the_same(scene: Scene) -> None:
    fault = scene.hand_over()
    scene.take_back()
    scene.pods.things = [pod("old")]
    assert fault.took_hold() is None


def test_identical_release_is_over_with_its_verdict(scene: Scene) -> None:
    fault = scene.hand_over(kind=IDENTICAL, settles=False)
    assert fault.healed() == "no verdict on location yet"
    scene.records.things = [record("location-1", api.VERDICT_ABORTED)]
    assert fault.healed() == "no verdict on location yet", "that one was there before"
    scene.records.things.append(record("location-2", api.VERDICT_PROMOTED))
    fault.hold()
    fault.recover()
    assert fault.healed() is None
    assert (scene.figures["verdict"], scene.figures["kind"]) == ("promoted", IDENTICAL)
    assert len(scene.release.upgrades) == 1


def test_last_identical_release_rolls_to_the_end(scene: Scene) -> None:
    fault = scene.hand_over(kind=IDENTICAL)
    scene.records.things = [record("location-2", api.VERDICT_PROMOTED)]
    fault.hold()
    assert fault.healed() is not None
    scene.deployments.things = [deployment()]
    assert fault.healed() is None


def test_component_without_pods_is_not_fit(scene: Scene) -> None:
    scene.pods.things = []
    with pytest.raises(FaultError, match="no pods of location"):
        JudgedRelease(scene.stage, "location", (), BAD).set_up()


def test_every_run_has_seeds_of_its_own(scene: Scene) -> None:
    # The clock of the marks stands at 60.
    assert first_seed(scene.stage) == 6_000
    scene.stage.marks.clock = lambda: 61.0
    assert first_seed(scene.stage) > 6_000 + 35


class Helm:
    """Answers `helm status`, or fails it with these words, and notes every command."""

    def __init__(self, status: str = "deployed", error: str = "") -> None:
        self.status, self.error = status, error
        self.commands: list[tuple[str, ...]] = []

    def helm(self, *arguments: str) -> str:
        self.commands.append(arguments)
        if arguments[0] != "status":
            return ""
        if self.error:
            raise CommandError(self.error)
        return json.dumps({"info": {"status": self.status}})

    def verbs(self) -> list[str]:
        return [words[0] for words in self.commands]


def release_of(helm: Helm) -> Release:
    return Release(helm, "r", "n", "chart")  # type: ignore[arg-type]


def test_numbers_with_a_point_reach_helm_as_numbers() -> None:
    helm = Helm()
    release_of(helm).upgrade((), ("a.share=0.05", "a.seed=7", "a.on=true", "a.tag=v1.2"))
    assert helm.commands[-1][-8:] == (
        *("--set-json", "a.share=0.05", "--set", "a.seed=7"),
        *("--set", "a.on=true", "--set", "a.tag=v1.2"),
    )


@pytest.mark.parametrize("status", ["pending-upgrade", "pending-rollback"])
def test_an_upgrade_that_was_cut_short_is_taken_back_first(status: str) -> None:
    helm = Helm(status)
    release_of(helm).upgrade(())
    assert helm.commands[1] == ("rollback", "r", "--namespace", "n")
    assert helm.verbs() == ["status", "rollback", "upgrade"]


@pytest.mark.parametrize("helm", [Helm("deployed"), Helm("failed"), Helm(error="r: not found")])
def test_a_release_that_is_not_pending_is_upgraded_at_once(helm: Helm) -> None:
    release_of(helm).upgrade(())
    assert helm.verbs() == ["status", "upgrade"]


def test_a_release_of_which_nothing_is_known_is_not_upgraded() -> None:
    helm = Helm(error="connection refused")
    with pytest.raises(CommandError, match="refused"):
        release_of(helm).upgrade(())
    assert helm.verbs() == ["status"]
