"""
What people do to a Deployment, to its policy and to the operator while a gate is at work:
scaled to nothing, paused, made anew, refused, changed, not looked at.
"""

from typing import Any

import pytest

from hailstorm_operator import api, holds
from unit.operator.fake_cluster import KilledError
from unit.operator.test_gate import HOLDS, Story, failing


def away(story: Story, seconds: float, a_step: float = 0.5) -> None:
    """Time passes and no operator is there; then there is one."""
    for _ in range(int(seconds / a_step)):
        story.world.now += a_step
        story.world.settle()
    story.gate = story.start()


async def held(story: Story) -> tuple[str, str]:
    """Until a release is held. Returns the digests of the old template and the new one."""
    old = await story.settled()
    new = story.world.roll("two")
    await story.run(8)
    assert story.stage == "Holding"
    return old, new


def min_ready(story: Story) -> int:
    return int(story.world.deployment["spec"]["minReadySeconds"])


@pytest.mark.parametrize("mode", ["enforce", "observe"])
@pytest.mark.parametrize("hold_by", HOLDS)
async def test_release_of_a_deployment_without_replicas_stays(hold_by: str, mode: str) -> None:
    story = Story(hold_by, mode=mode, progressDeadlineSeconds=20)
    world, _ = story.world, await story.settled()
    world.change(replicas=0)
    await story.run(10)
    new = world.roll("two")
    await story.run(40)
    assert (world.digest, story.stage, story.unmarked()) == (new, "Idle", True)
    assert (world.policy["status"]["stableRevision"], world.policy_block(new)) == (2, {})
    # And the next one, of a Deployment that runs again, is judged.
    world.change(replicas=4)
    await story.run(20)
    bad = world.roll("three")
    world.behaviour = failing(bad, 0.2)
    await story.run(30)
    assert world.policy_block(bad)["verdict"] == "aborted"


@pytest.mark.parametrize("mode", ["enforce", "observe"])
async def test_deployment_scaled_to_nothing_during_its_hold_has_nothing_to_judge(
    mode: str,
) -> None:
    story = Story("minReadySeconds", mode=mode, progressDeadlineSeconds=20)
    world, _ = story.world, await story.settled()
    new = world.roll("two")
    # Held before a pod is there.
    await story.gate.tick()
    assert story.stage == "Holding"
    world.change(replicas=0)
    await story.run(60)
    assert (world.digest, world.pods, story.stage) == (new, [], "Idle")
    assert (story.unmarked(), world.policy_block(new)) == (True, {})


async def test_paused_deployment_scaled_to_nothing_is_let_go() -> None:
    story = Story("paused", onInsufficientEvidence="hold")
    world = story.world
    _, new = await held(story)
    # Kubernetes scales a paused Deployment, too.
    world.change(replicas=0)
    world.pods.clear()
    await story.run(60)
    assert (world.digest, story.stage, story.unmarked()) == (new, "Idle", True)


@pytest.mark.parametrize("hold_by", HOLDS)
async def test_release_that_arrived_while_the_operator_was_away_is_not_held(hold_by: str) -> None:
    story = Story(hold_by)
    world, _ = story.world, await story.settled()
    new = world.roll("two")
    away(story, 60)
    assert world.versions() == {new}
    await story.run(60)
    assert "patch_deployment" not in world.calls
    assert (story.stage, world.policy_block(new)) == ("Idle", {})
    assert world.policy["status"]["stableRevision"] == 2


@pytest.mark.parametrize("hold_by", HOLDS)
async def test_release_that_was_seen_to_begin_and_not_held_in_time_is_not_held_later(
    hold_by: str,
) -> None:
    story = Story(hold_by)
    world, _ = story.world, await story.settled()
    new = world.roll("two")
    world.kill_after = len(world.calls) + 1
    with pytest.raises(KilledError):
        await story.gate.tick()
    assert story.stage == "Surging"
    away(story, 60)
    await story.run(60)
    assert "patch_deployment" not in world.calls
    assert (story.stage, world.versions(), world.policy_block(new)) == ("Idle", {new}, {})


@pytest.mark.parametrize("during", ["Idle", "Holding"])
@pytest.mark.parametrize("hold_by", HOLDS)
async def test_deployment_made_anew_is_a_first_release(hold_by: str, during: str) -> None:
    story = Story(hold_by)
    world = story.world
    await (held(story) if during == "Holding" else story.settled())
    patches = world.calls.count("patch_deployment")
    # Of the template that is held in the one case: it is nobody's resume.
    new = world.make_anew("two")
    await story.run(60)
    assert (story.stage, world.versions(), world.policy_block(new)) == ("Idle", {new}, {})
    assert world.policy["status"]["memory"]["stable"] == {"digest": new, "revision": 1}
    assert world.calls.count("patch_deployment") == patches
    bad = world.roll("three")
    world.behaviour = failing(bad, 0.2)
    await story.run(30)
    assert (world.policy_block(bad)["verdict"], world.digest) == ("aborted", new)


@pytest.mark.parametrize("hold_by", HOLDS)
async def test_policy_that_is_refused_during_a_hold_lets_go(hold_by: str) -> None:
    story = Story(hold_by)
    world = story.world
    _, new = await held(story)
    world.deployment["metadata"]["labels"] = {}
    await story.run(40)
    assert (story.unmarked(), world.versions()) == (True, {new})
    (condition,) = world.policy["status"]["conditions"]
    assert (condition["reason"], story.stage) == (api.REASON_NOT_RECORDED, "Idle")
    # Nobody has resumed it, and nobody has judged it.
    world.deployment["metadata"]["labels"] = {api.RECORD_LABEL: "true"}
    await story.run(20)
    assert (story.stage, world.policy_block(new)) == ("Idle", {})
    assert world.policy["status"]["stableRevision"] == 2


async def test_policy_that_loses_its_target_to_an_older_one_lets_go() -> None:
    story = Story("paused")
    await held(story)
    story.gate.conflict = "older"
    await story.run(2)
    assert story.unmarked()


@pytest.mark.parametrize("then", ["judged", "undone"])
async def test_hold_that_is_made_shorter_leaves_nothing_of_its_own(then: str) -> None:
    story = Story("minReadySeconds")
    world = story.world
    old, new = await held(story)
    assert min_ready(story) == 60
    story.spec["canary"]["holdSeconds"]["max"] = 20
    story.gate = story.start()
    if then == "undone":
        # Before the gate has looked: what it would set now is not what stands there.
        world.deployment["metadata"]["annotations"] = {}
        world.roll("one")
    else:
        await story.run(1)
        assert (story.stage, min_ready(story)) == ("Holding", 50)
    await story.run(60)
    assert (story.stage, story.unmarked()) == ("Idle", True)
    assert world.versions() == {new if then == "judged" else old}


async def test_value_applied_during_a_hold_outlives_an_undo() -> None:
    story = Story("minReadySeconds")
    world = story.world
    await held(story)
    world.change(minReadySeconds=7)
    await story.run(1)
    assert min_ready(story) == 60
    world.deployment["metadata"]["annotations"] = {}
    world.roll("one")
    await story.run(2)
    assert min_ready(story) == 7


async def test_promotion_waits_while_a_user_pauses_a_held_release() -> None:
    story = Story("minReadySeconds")
    world = story.world
    _, new = await held(story)
    world.change(paused=True)
    await story.run(60)
    assert (story.stage, world.paused, world.policy_block(new)) == ("Holding", True, {})
    assert world.policy["status"]["memory"]["rollout"]["paused"]
    world.resume()
    await story.run(60)
    assert world.policy_block(new)["verdict"] == "promoted"
    assert (story.stage, world.versions(), story.unmarked()) == ("Idle", {new}, True)


async def test_verdict_without_data_waits_for_the_end_of_a_users_pause() -> None:
    story = Story("minReadySeconds")
    world = story.world
    old, new = await held(story)
    world.no_data = lambda now: "away"
    world.change(paused=True)
    await story.run(60)
    assert (world.digest, world.policy_block(new)) == (new, {})
    world.resume()
    await story.run(60)
    assert (world.policy_block(new)["rule"], world.versions()) == (api.RULE_NO_DATA, {old})


async def test_bad_release_is_taken_back_over_a_users_pause() -> None:
    story = Story("minReadySeconds")
    world = story.world
    old, new = await held(story)
    world.change(paused=True)
    world.behaviour = failing(new, 0.2)
    await story.run(30)
    assert world.policy_block(new)["verdict"] == "aborted"
    assert (world.digest, world.versions(), story.unmarked()) == (old, {old}, True)


async def test_bad_release_is_taken_back_over_a_pause_in_its_watch() -> None:
    story = Story("minReadySeconds", postPromotionWatchSeconds=60)
    world = story.world
    old, new = await held(story)
    while story.stage != "Watching":
        await story.run(0.5)
    world.change(paused=True)
    world.behaviour = failing(new, 0.3)
    await story.run(30)
    assert [one["stage"] for one in world.policy_block(new)["decisions"]] == ["canary", "watch"]
    assert (world.digest, world.versions(), world.paused) == (old, {old}, False)


async def test_watch_does_not_end_while_a_user_pauses() -> None:
    story = Story("minReadySeconds")
    world = story.world
    _, new = await held(story)
    while "arrived_at" not in (world.policy["status"]["memory"]["rollout"] or {}):
        await story.run(0.5)
    world.change(paused=True)
    await story.run(60)
    assert story.stage == "Watching"
    world.resume()
    await story.run(2)
    assert (story.stage, world.versions()) == ("Idle", {new})


async def test_deadline_of_a_held_release_does_not_run_while_a_user_pauses() -> None:
    story = Story("minReadySeconds", progressDeadlineSeconds=20)
    world, _ = story.world, await story.settled()
    new = world.roll("two")
    # Held before a pod is there, and paused before there is one.
    await story.gate.tick()
    world.change(paused=True)
    await story.run(60)
    assert (story.stage, world.policy_block(new)) == ("Holding", {})
    world.resume()
    await story.run(10)
    # The operator may change meanwhile: the end of the pause is remembered.
    story.gate = story.start()
    await story.run(60)
    assert (world.policy_block(new)["verdict"], world.versions()) == ("promoted", {new})


async def test_deadline_runs_again_once_the_pause_is_over() -> None:
    story = Story("minReadySeconds", progressDeadlineSeconds=20)
    world, old = story.world, await story.settled()
    new = world.roll("two")
    await story.gate.tick()
    world.change(paused=True)
    await story.run(60)
    world.resume()
    # Ready it never is.
    world._start_pods = lambda: None  # type: ignore[method-assign]
    await story.run(15)
    assert world.policy_block(new) == {}
    await story.run(10)
    block: dict[str, Any] = world.policy_block(new)
    assert (block["verdict"], block["rule"]) == ("aborted", api.REASON_DEADLINE)
    assert (world.digest, holds.held_by(world.deployment)) == (old, "")
