"""Which policies are at work, and what becomes of holds that are nobody's any more."""

import asyncio
import copy
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from eventually import eventually
from hailstorm_operator import api, gate, holds
from hailstorm_operator.cluster import NotFoundError
from hailstorm_operator.gate import Gate
from hailstorm_operator.inventory import Inventory
from hailstorm_operator.policies import Policies
from unit.operator.fake_cluster import World, merge


class Place:
    """Policies over a world, with an inventory that has seen its Deployment."""

    def __init__(self) -> None:
        self.world: Any = World()
        self.inventory = Inventory()
        self.policies = Policies(self.world, self.inventory, self.world)
        for _ in range(20):
            self.world.now += 1
            self.world.settle()

    def body(self, name: str = "careful", created: str = "1", **spec: Any) -> dict[str, Any]:
        return {
            "metadata": {
                "name": name,
                "namespace": "place",
                "uid": name,
                "generation": 1,
                "creationTimestamp": created,
            },
            "spec": {"targetRef": {"name": "app"}, "onInsufficientEvidence": "hold", **spec},
        }

    def condition(self) -> tuple[str, str]:
        for one in self.world.policy.get("status", {}).get("conditions", []):
            return one["reason"], one["message"]
        return "", ""

    def hold(self) -> None:
        patch = holds.hold_patch(self.world.deployment, "careful", "digest", "paused", 60)
        self.world.deployment = merge(self.world.deployment, patch)
        self.inventory.show_deployment(self.world.deployment)


def told_by_name(reasons: list[tuple[str, str]]) -> Callable[..., Awaitable[None]]:
    """In place of the world's, which has one policy: what each is told, by its name."""

    async def tell(_: str, name: str, status: dict[str, Any]) -> None:
        reasons.extend((name, one["reason"]) for one in status["conditions"])

    return tell


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    made = Place()
    yield made
    await made.policies.stop()


async def test_policy_that_makes_no_sense_says_so_and_does_nothing(place: Place) -> None:
    await place.policies.show_policy(place.body(alpha=7))
    await eventually(lambda: place.condition()[0] == api.REASON_SPEC_INVALID, 2)
    assert "spec.alpha: 7 will not do" in place.condition()[1]


async def test_of_two_policies_the_older_one_gates(place: Place) -> None:
    await place.policies.show_policy(place.body("first", created="1"))
    await eventually(lambda: place.condition()[0] == api.REASON_GATING, 2)
    await place.policies.show_policy(place.body("second", created="2"))
    await eventually(lambda: place.condition()[0] == api.REASON_POLICY_CONFLICT, 2)
    assert "RolloutPolicy first is older" in place.condition()[1]


async def test_older_policy_that_makes_no_sense_keeps_no_other_from_gating(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "IDLE_SECONDS", 0.1)
    await place.policies.show_policy(place.body("first", created="1", alpha=7))
    await eventually(lambda: place.condition()[0] == api.REASON_SPEC_INVALID, 2)
    await place.policies.show_policy(place.body("second", created="2"))
    await eventually(lambda: place.condition()[0] == api.REASON_GATING, 2)

    reasons: list[tuple[str, str]] = []
    place.world.set_policy_status = told_by_name(reasons)
    cured = place.body("first", created="1")
    cured["metadata"]["generation"] = 2
    await place.policies.show_policy(cured)
    await eventually(lambda: ("second", api.REASON_POLICY_CONFLICT) in reasons, 2)


async def test_deleting_a_policy_lets_go_of_what_it_holds(place: Place) -> None:
    await place.policies.show_policy(place.body())
    place.hold()
    await place.policies.show_policy(place.body(), deleted=True)
    assert not place.world.paused
    assert holds.held_by(place.world.deployment) == ""


@pytest.mark.parametrize("changed", [{"alpha": 7}, {"targetRef": {"name": "other"}}])
async def test_policy_that_gates_its_target_no_more_lets_go_of_it(
    place: Place, changed: dict[str, Any]
) -> None:
    """At once when it changes, and at the next resync when no operator saw it change."""
    await place.policies.show_policy(place.body())
    place.hold()
    body = place.body(**changed)
    body["metadata"]["generation"] = 2
    await place.policies.show_policy(body)
    assert (place.world.paused, holds.held_by(place.world.deployment)) == (False, "")
    place.hold()
    place.world.policy = body
    await place.policies.resync()
    assert (place.world.paused, holds.held_by(place.world.deployment)) == (False, "")


async def test_resync_leaves_a_hold_to_the_gate_that_has_put_it_on(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def busy(gate: Gate) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Gate, "run", busy)
    await place.policies.show_policy(place.body())
    place.world.policy = place.body()
    place.hold()
    await place.policies.resync()
    assert place.world.paused


async def test_hold_of_a_policy_that_is_gone_is_lifted(place: Place) -> None:
    async def missing(namespace: str, name: str) -> None:
        raise NotFoundError(name, 404)

    place.hold()
    place.world.get_policy = missing
    await place.policies.resync()
    assert not place.world.paused


async def test_resync_finds_out_what_is_judged_and_that_a_policy_is_gone(place: Place) -> None:
    """Both its events were missed: the target would have been judged for ever."""

    async def missing(namespace: str, name: str) -> None:
        raise NotFoundError(name, 404)

    # One without a gate, which would write a status of its own.
    await place.policies.show_policy(place.body(alpha=7))
    await eventually(lambda: place.condition()[0] == api.REASON_SPEC_INVALID, 2)
    status = {
        "memory": {"rollout": {"stage": "Watching"}},
        "conditions": [{"type": "Active", "status": "True"}],
    }
    place.world.policy = {**place.body(alpha=7), "status": status}
    await place.policies.resync()
    assert place.inventory.is_judged("place", "app")
    place.world.get_policy = missing
    await place.policies.resync()
    assert not place.inventory.is_judged("place", "app")


async def test_hold_whose_policy_only_the_watch_has_not_shown_yet_stays(place: Place) -> None:
    place.hold()
    await place.policies.resync()
    assert place.world.paused


async def test_stopping_leaves_the_hold_to_the_next_operator(place: Place) -> None:
    await place.policies.show_policy(place.body())
    place.hold()
    await place.policies.stop()
    assert place.world.paused


async def test_pod_is_shown_to_the_gate_of_its_deployment_alone() -> None:
    place = Place()
    await place.policies.show_policy(place.body())
    asked = place.world.reads
    gates = place.policies._gates_of("place", "app")
    shown: list[str] = []
    gates[0].show_pod = lambda: shown.append("app")  # type: ignore[method-assign]
    (pod, *_) = copy.deepcopy(place.world.pods)
    place.policies.show_pod(pod)
    assert shown == ["app"]
    pod["metadata"]["namespace"] = "elsewhere"
    place.policies.show_pod(pod)
    pod["metadata"] |= {"namespace": "place", "ownerReferences": []}
    place.policies.show_pod(pod)
    assert shown == ["app"]
    assert place.world.reads == asked
    await place.policies.stop()


async def test_answer_that_is_older_than_what_the_watch_told_changes_nothing(place: Place) -> None:
    old, new = place.body(), place.body(mode="observe")
    new["metadata"]["generation"] = 2
    await place.policies.show_policy(new)
    kept = place.policies._gates["place", "careful"][0]
    # A resync had asked before.
    await place.policies.show_policy(old)
    assert place.policies._gates["place", "careful"][0] is kept
    # One that was made anew begins at its first generation.
    old["metadata"]["uid"] = "another"
    await place.policies.show_policy(old)
    assert place.policies._gates["place", "careful"][0] is not kept


async def test_watch_and_resync_together_leave_one_gate(place: Place) -> None:
    await place.policies.show_policy(place.body())
    bodies = []
    for generation in (2, 3):
        body = place.body()
        body["metadata"]["generation"] = generation
        bodies.append(body)
    before = {task for task in asyncio.all_tasks() if task.get_name().startswith("gate ")}
    await asyncio.gather(*(place.policies.show_policy(body) for body in reversed(bodies)))
    await asyncio.sleep(0)
    gates = {task for task in asyncio.all_tasks() if task.get_name().startswith("gate ")}
    assert len(gates) == 1
    assert not gates & before
    assert place.policies._gates["place", "careful"][1] == 3
