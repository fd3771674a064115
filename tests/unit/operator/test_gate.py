"""
The gate against a cluster that plays by Kubernetes' rules: every stage, every end,
and an operator that dies before or after any of its writes.
"""

import json
from typing import Any

import pytest

from hailstorm_operator import api, holds
from hailstorm_operator.cluster import ClusterError
from hailstorm_operator.gate import RECORD_PATIENCE_SECONDS, Gate
from hailstorm_operator.observations import Tally
from hailstorm_operator.policy_specs import parse_policy_spec
from hailstorm_operator.replay import replay_record
from unit.operator.fake_cluster import KilledError, World

HOLDS = ("paused", "minReadySeconds")


class Story:
    """A world, a gate in it, and time that passes."""

    # Seconds: without a watch nothing that was read is used again.
    trust_seconds = 0.0

    def __init__(self, hold_by: str = "paused", **spec: Any) -> None:
        self.world = World()
        self.spec: dict[str, Any] = {
            "targetRef": {"name": "app"},
            "edge": {"cluster": "app"},
            "canary": {"holdSeconds": {"min": 10, "max": 30}, "minCalls": 50, "holdBy": hold_by},
            "onInsufficientEvidence": "rollback",
            "postPromotionWatchSeconds": 10,
            **spec,
        }
        self.gate = self.start()
        self.kills = 0

    def start(self) -> Gate:
        """A new operator, which knows what the API knows."""
        body = {"metadata": {"name": "careful", "namespace": "place", "generation": 1}}
        world: Any = self.world
        return Gate(
            body,
            parse_policy_spec(self.spec),
            world,
            world,
            clock=lambda: world.now,
            trust_seconds=self.trust_seconds,
        )

    async def run(self, seconds: float, a_step: float = 0.5) -> None:
        """Let time pass, half a second at a time; an operator that dies is started anew."""
        for _ in range(int(seconds / a_step)):
            self.world.now += a_step
            self.world.settle()
            self.show()
            try:
                await self.gate.tick()
            except KilledError:
                self.kills += 1
                self.gate = self.start()
            except ClusterError:
                # As the loop does: the next tick is another one.
                continue

    def show(self) -> None:
        """What the watches tell; there are none here."""

    async def settled(self) -> str:
        """Run until the first template has arrived. Returns its digest."""
        await self.run(20)
        assert self.stage == "Idle"
        assert self.world.policy["status"]["stableRevision"] == 1
        return self.world.digest

    @property
    def stage(self) -> str:
        return str(self.world.policy.get("status", {}).get("stage", ""))

    def unmarked(self) -> bool:
        """Nothing of ours is left on the Deployment."""
        notes = holds.annotations(self.world.deployment)
        spec = self.world.deployment["spec"]
        return (
            api.HELD_ANNOTATION not in notes
            and api.MIN_READY_ANNOTATION not in notes
            and not spec.get("paused")
            and spec["minReadySeconds"] == 1
        )

    def replayed(self, digest: str) -> list[str]:
        """Verdicts of a record's decisions, each of which comes out the same again."""
        record = [one for one in self.world.records if one["spec"]["templateHash"] == digest][-1]
        results = list(replay_record(record))
        assert not [problem for one in results for problem in one.problems]
        return [one.verdict for one in results]


class WatchedStory(Story):
    """The same with watches that tell of each change: what is read is kept for ever."""

    trust_seconds = 1e9
    seen: tuple[str, str] = ("", "")

    def show(self) -> None:
        deployment, pods = json.dumps(self.world.deployment), json.dumps(self.world.pods)
        if deployment != self.seen[0]:
            self.gate.wake()
        if pods != self.seen[1]:
            self.gate.show_pod()
        self.seen = deployment, pods


def failing(digest: str, share: float) -> Any:
    """Every pod gets 30 calls a second; those of this template fail some."""

    def behave(of: str, at: int) -> Tally:
        return Tally(30, round(30 * share) if of == digest else 0)

    return behave


@pytest.mark.parametrize("hold_by", HOLDS)
async def test_good_release_is_held_then_promoted_then_stable(hold_by: str) -> None:
    story = Story(hold_by)
    world, old = story.world, await story.settled()
    new = world.roll("two")
    await story.run(8)
    assert story.stage == "Holding"
    assert (len(world.pods_of(new)), len(world.pods_of(old))) == (1, 4)
    assert world.paused == (hold_by == "paused")
    await story.run(10)
    assert world.policy_block(new)["verdict"] == "promoted"
    await story.run(60)
    assert (story.stage, world.versions()) == ("Idle", {new})
    assert world.policy["status"]["stableRevision"] == 2
    assert story.unmarked()
    assert story.replayed(new) == ["promoted", "promoted"]
    assert world.events == [api.REASON_PROMOTED]


@pytest.mark.parametrize("hold_by", HOLDS)
async def test_failing_release_is_taken_back_in_one_patch(hold_by: str) -> None:
    story = Story(hold_by)
    world, old = story.world, await story.settled()
    new = world.roll("bad")
    world.behaviour = failing(new, 0.1)
    await story.run(12)
    block = world.policy_block(new)
    assert (block["verdict"], block["rule"], block["action"]) == (
        "aborted", api.RULE_FAILURES, "rollback",
    )  # fmt: skip
    assert block["figures"]["canaryFailed"] <= 9
    assert block["figures"]["secondsSinceFirstFailure"] <= 3
    await story.run(10)
    assert (story.stage, world.versions(), world.digest) == ("Idle", {old}, old)
    assert story.unmarked()
    # In the history, and no longer where the next release would inherit it.
    assert api.CHANGE_CAUSE_ANNOTATION not in holds.annotations(world.deployment)
    cause = world.replica_sets[0]["metadata"]["annotations"][api.CHANGE_CAUSE_ANNOTATION]
    assert cause.startswith("rolled back to revision 1 by RolloutPolicy careful: ")
    assert story.replayed(new) == ["aborted"]
    assert world.events == [api.REASON_ABORTED, api.REASON_ROLLED_BACK]


async def test_those_who_wait_with_kubectl_are_told_that_it_failed() -> None:
    story = Story()
    world, _ = story.world, await story.settled()
    world.broken.add(world.roll("bad"))
    seen = []
    status = world.set_deployment_status

    async def watched(*arguments: Any) -> None:
        await status(*arguments)
        (condition,) = world.deployment["status"]["conditions"]
        seen.append((condition["reason"], world.digest, world.paused))

    world.set_deployment_status = watched  # type: ignore[method-assign]
    bad = world.digest
    await story.run(8)
    assert seen == [("ProgressDeadlineExceeded", bad, True)]


@pytest.mark.parametrize("hold_by", HOLDS)
async def test_pod_that_cannot_run_is_undone_without_traffic(hold_by: str) -> None:
    story = Story(hold_by, edge=None)
    world, old = story.world, await story.settled()
    bad = world.roll("missing image")
    world.broken.add(bad)
    await story.run(6)
    block = world.policy_block(bad)
    assert (block["verdict"], block["rule"]) == ("aborted", "ImagePullBackOff")
    assert (world.digest, world.versions()) == (old, {old})
    await story.run(5)
    assert (story.stage, story.unmarked()) == ("Idle", True)


async def test_release_that_fails_once_everybody_runs_it_is_taken_back() -> None:
    story = Story(postPromotionWatchSeconds=30)
    world, old = story.world, await story.settled()
    new = world.roll("two")
    # Nothing is wrong while an old pod serves beside it.
    world.behaviour = lambda of, at: Tally(30, 2 if world.versions() == {new} else 0)
    await story.run(80)
    block = world.policy_block(new)
    assert (block["verdict"], block["rule"]) == ("aborted", api.RULE_PAST)
    assert [one["stage"] for one in block["decisions"]] == ["canary", "watch"]
    assert story.replayed(new) == ["promoted", "aborted"]
    await story.run(40)
    assert (world.versions(), story.stage) == ({old}, "Idle")


async def test_template_that_was_taken_back_is_judged_again_when_it_returns() -> None:
    story = Story()
    world, old = story.world, await story.settled()
    bad = world.roll("bad")
    world.broken.add(bad)
    await story.run(15)
    assert (world.digest, story.stage) == (old, "Idle")
    world.broken.clear()
    world.behaviour = failing(bad, 0.5)
    # Kubernetes calls that a rollback: its ReplicaSet is there from the first time.
    assert world.roll("bad") == bad
    await story.run(12)
    assert world.policy_block(bad)["rule"] == api.RULE_FAILURES
    assert world.digest == old


async def test_pod_of_an_earlier_attempt_that_drains_is_no_canary() -> None:
    story = Story()
    world = story.world
    await story.settled()
    new = world.roll("two")
    await story.run(8)
    memory = story.gate._memory
    assert memory is not None
    assert memory.rollout is not None
    assert memory.rollout.canary_since is not None
    # It leaves, and stays ready for as long as it drains; nobody is made in its place yet.
    (pod,) = world.pods_of(new)
    pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    reading = await story.gate._read(memory)
    assert reading is not None
    assert reading.facts.surged == 0
    seen = story.gate._observe(reading, memory.having(canary_since=None), world.now).rollout
    assert seen is not None
    assert seen.canary_since is None
    # What it still answers counts for the new template.
    assert pod["status"]["podIP"] in seen.addresses


@pytest.mark.parametrize("silent", [3, 60])
async def test_verdict_on_an_earlier_attempt_is_not_carried_out_again(silent: float) -> None:
    story = Story()
    world, old = story.world, await story.settled()
    bad = world.roll("image that is pushed late")
    world.broken.add(bad)
    await story.run(15)
    assert (world.digest, story.stage) == (old, "Idle")
    before = world.policy_block(bad)
    world.broken.clear()
    # The ledger's watch tells nothing for a while: only the first attempt has a record.
    world.unrecorded_until = world.now + silent
    assert world.roll("image that is pushed late") == bad
    await story.run(60)
    assert (world.versions(), story.stage) == ({bad}, "Idle")
    first, *again = [one for one in world.records if one["spec"]["templateHash"] == bad]
    assert first["status"]["policy"] == before
    if silent < RECORD_PATIENCE_SECONDS:
        (second,) = again
        assert second["status"]["policy"]["verdict"] == "promoted"


async def test_policy_that_is_made_anew_judges_for_itself() -> None:
    story = Story(onInsufficientEvidence="hold")
    world, _ = story.world, await story.settled()
    world.no_data = lambda now: "the recorder does not answer"
    new = world.roll("two")
    await story.run(45)
    assert story.stage == "Held"
    await story.gate.let_go()
    world.policy, world.no_data = {}, lambda now: ""
    story.gate = story.start()
    await story.run(60)
    assert (world.versions(), story.stage) == ({new}, "Idle")
    assert story.replayed(new) == ["insufficient_evidence", "promoted", "promoted"]


async def test_new_pod_does_not_make_the_gate_ask_for_everything_again() -> None:
    story = Story(
        canary={"holdSeconds": {"min": 60, "max": 80}, "minCalls": 50, "holdBy": "paused"}
    )
    world, _ = story.world, await story.settled()
    new = world.roll("two")
    await story.run(60)
    assert (story.stage, len(world.pods_of(new))) == ("Holding", 1)
    while story.stage == "Holding":
        await story.run(0.5)
    world.questions.clear()
    await story.run(20)
    assert (story.stage, world.versions()) == ("Watching", {new})
    assert max(last - first for first, last in world.questions) <= 15


async def test_calls_of_a_pod_count_for_it_also_from_before_its_address_was_known() -> None:
    story = Story(postPromotionWatchSeconds=30)
    world, _ = story.world, await story.settled()
    every = world.list_pods

    async def late(namespace: str, selector: Any) -> list[dict[str, Any]]:
        pods: list[dict[str, Any]] = await every(namespace, selector)
        for pod in pods:
            # Longer than what is asked for again anyway.
            if world.now - pod["made"] < 12:
                del pod["status"]["podIP"]
        return pods

    world.list_pods = late  # type: ignore[method-assign]
    new = world.roll("two")
    await story.run(90)
    assert (story.stage, world.versions()) == ("Idle", {new})
    ours = {pod["status"]["podIP"] for pod in world.pods_of(new)}
    told = {at: one.canary.calls for at, one in story.gate._seconds.items()}
    assert len(ours) == 4
    assert told == {
        at: sum(tally.calls for address, tally in world.served.get(at, ()) if address in ours)
        for at in told
    }


@pytest.mark.parametrize("hold_by", HOLDS)
async def test_newer_template_supersedes_and_is_judged_itself(hold_by: str) -> None:
    story = Story(hold_by)
    world, old = story.world, await story.settled()
    first = world.roll("two")
    await story.run(8)
    assert story.stage == "Holding"
    second = world.roll("three")
    world.behaviour = failing(second, 0.2)
    await story.run(6)
    assert world.policy_block(first)["verdict"] == "superseded"
    await story.run(15)
    assert world.policy_block(second)["verdict"] == "aborted"
    # Back to what was promoted, and not to the one that nobody has judged.
    await story.run(20)
    assert (world.digest, world.versions(), story.unmarked()) == (old, {old}, True)


@pytest.mark.parametrize("hold_by", HOLDS)
async def test_users_undo_is_theirs_and_is_not_held(hold_by: str) -> None:
    story = Story(hold_by)
    world, old = story.world, await story.settled()
    new = world.roll("two")
    await story.run(8)
    if hold_by == "minReadySeconds":
        # kubectl puts the old ReplicaSet's annotations in the place of the Deployment's,
        # and leaves the field of the hold as it is. A paused one it refuses to undo.
        notes = world.deployment["metadata"]["annotations"]
        for key in [key for key in notes if key.startswith(api.GROUP)]:
            del notes[key]
    world.change(template=world.replica_sets[0]["spec"]["template"] | {})
    world.change(template={"metadata": {"labels": {api.POD_TEMPLATE_HASH_LABEL: None}}})
    await story.run(10)
    block = world.policy_block(new)
    assert (block["verdict"], block["rule"]) == ("superseded", api.RULE_NEWER)
    assert (world.digest, world.versions(), story.stage) == (old, {old}, "Idle")
    assert story.unmarked()
    assert world.policy_block(old) == {}


async def test_users_resume_ends_the_hold_and_is_recorded() -> None:
    story = Story()
    world, _ = story.world, await story.settled()
    new = world.roll("two")
    await story.run(8)
    world.resume()
    await story.run(30)
    block = world.policy_block(new)
    assert (block["verdict"], block["rule"]) == ("insufficient_evidence", api.RULE_RESUMED)
    assert (world.versions(), story.stage, story.unmarked()) == ({new}, "Idle", True)


async def test_users_own_pause_is_left_alone() -> None:
    story = Story()
    world, old = story.world, await story.settled()
    world.change(paused=True)
    new = world.roll("two")
    # For longer than the deadline of 300 s, which Kubernetes does not count either.
    await story.run(400)
    assert (story.stage, world.paused, world.versions()) == ("Surging", True, {old})
    world.resume()
    await story.run(60)
    assert world.versions() == {new}
    assert world.policy_block(new)["verdict"] == "promoted"


@pytest.mark.parametrize("hold_by", HOLDS)
@pytest.mark.parametrize("then", ["promote", "rollback", "hold"])
async def test_no_data_is_never_a_promotion_of_its_own(then: str, hold_by: str) -> None:
    story = Story(hold_by, onInsufficientEvidence=then)
    world, old = story.world, await story.settled()
    world.no_data = lambda now: "the recorder does not answer"
    new = world.roll("two")
    await story.run(30)
    assert (story.stage, world.policy_block(new)) == ("Holding", {})
    await story.run(10)
    block = world.policy_block(new)
    assert (block["verdict"], block["rule"]) == ("insufficient_evidence", api.RULE_NO_DATA)
    await story.run(60)
    expected = {"promote": {new}, "rollback": {old}, "hold": {new, old}}[then]
    assert world.versions() == expected
    assert story.stage == ("Held" if then == "hold" else "Idle")
    if then == "hold":
        # For a person, however long that takes, whichever way it was held before.
        assert world.paused
        world.resume()
        await story.run(40)
        assert (world.versions(), story.unmarked()) == ({new}, True)
    assert story.replayed(new)[0] == "insufficient_evidence"


async def test_gap_makes_the_promotion_wait_for_a_whole_hold_without_one() -> None:
    story = Story()
    world, _ = story.world, await story.settled()
    new = world.roll("two")
    begun = int(world.now)
    world.gaps = lambda at: at == begun + 10
    await story.run(16)
    assert world.policy_block(new) == {}
    await story.run(8)
    block = world.policy_block(new)
    assert (block["verdict"], block["figures"]["gapSeconds"]) == ("promoted", 1)


async def test_observing_writes_the_verdict_and_touches_nothing() -> None:
    story = Story(mode="observe")
    world, _ = story.world, await story.settled()
    new = world.roll("bad")
    world.behaviour = failing(new, 0.2)
    await story.run(40)
    block = world.policy_block(new)
    assert (block["verdict"], block["action"], block["mode"]) == ("aborted", "none", "observe")
    assert "patch_deployment" not in world.calls
    assert "set_deployment_status" not in world.calls
    assert (world.versions(), story.stage) == ({new}, "Idle")


async def test_slow_release_is_taken_back() -> None:
    story = Story(
        latency={"maxRatio": 1.5, "maxDeltaMs": 50, "minCalls": 50, "coldStartSeconds": 5},
        canary={"holdSeconds": {"min": 10, "max": 60}, "minCalls": 50, "holdBy": "paused"},
    )
    world, old = story.world, await story.settled()
    new = world.roll("slow")
    # Bucket 19 ends at 26.9 ms, bucket 32 at 256 ms.
    world.behaviour = lambda of, at: Tally(30, 0, 0, (*([0] * (32 if of == new else 19)), 30))
    await story.run(30)
    block = world.policy_block(new)
    assert (block["verdict"], block["rule"]) == ("aborted", api.RULE_SLOW)
    assert story.replayed(new) == ["aborted"]
    assert world.digest == old


async def test_way_back_that_is_gone_leaves_it_to_a_person() -> None:
    story = Story()
    world, old = story.world, await story.settled()
    new = world.roll("two")
    await story.run(8)
    world.replica_sets = [one for one in world.replica_sets if one["digest"] != old]
    world.pods = [pod for pod in world.pods if pod["digest"] != old]
    world.broken.add(new)
    await story.run(5)
    assert (story.stage, world.paused) == ("Held", True)
    assert api.REASON_NO_WAY_BACK in world.events


async def test_policy_that_goes_lets_go() -> None:
    story = Story()
    world, _ = story.world, await story.settled()
    new = world.roll("two")
    await story.run(8)
    assert world.paused
    await story.gate.let_go()
    assert story.unmarked()
    assert world.digest == new


@pytest.mark.parametrize("label", ["", "false"])
async def test_target_without_records_is_not_touched(label: str) -> None:
    story = Story()
    world = story.world
    world.deployment["metadata"]["labels"] = {api.RECORD_LABEL: label}
    await story.run(5)
    world.roll("two")
    await story.run(30)
    (condition,) = world.policy["status"]["conditions"]
    assert (condition["status"], condition["reason"]) == ("False", api.REASON_NOT_RECORDED)
    assert "kubectl label deployment app hailstorm.dev/record=true" in condition["message"]
    assert "patch_deployment" not in world.calls


async def test_nothing_is_stuck_while_the_api_server_is_away() -> None:
    story = Story()
    world, old = story.world, await story.settled()
    new = world.roll("bad")
    world.behaviour = failing(new, 0.1)
    await story.run(3)
    world.unreachable_until = world.now + 20
    await story.run(19)
    assert world.policy_block(new) == {}
    await story.run(8)
    assert (world.policy_block(new)["verdict"], world.digest) == ("aborted", old)


@pytest.mark.parametrize(
    ("ending", "hold_by"),
    [
        ("promoted", "paused"),
        ("promoted", "minReadySeconds"),
        ("aborted", "paused"),
        ("aborted", "minReadySeconds"),
        ("superseded", "paused"),
        ("held", "paused"),
        ("watched", "paused"),
    ],
)
async def test_operator_that_dies_at_any_write_changes_nothing(ending: str, hold_by: str) -> None:
    calm = await _tell(ending, hold_by, None, None)
    writes = calm.world.calls
    assert len(writes) >= 6
    for when in ("before", "after"):
        for number in range(len(writes)):
            before = number if when == "before" else None
            after = number + 1 if when == "after" else None
            story = await _tell(ending, hold_by, before, after)
            told = f"{when} write {number}, {writes[number]}"
            assert story.kills == 1, told
            assert _end(story) == _end(calm), told
            # Never two verdicts where there should be one.
            for record in story.world.records:
                decisions = record.get("status", {}).get("policy", {}).get("decisions", [])
                stages = [one["stage"] for one in decisions]
                assert len(stages) == len(set(stages)), told
                assert not [p for one in replay_record(record) for p in one.problems], told


async def _tell(
    ending: str,
    hold_by: str,
    before: int | None,
    after: int | None,
    kind: type[Story] = Story,
) -> Story:
    """A whole rollout of two pods, in seconds."""
    story = kind(
        hold_by,
        onInsufficientEvidence="hold",
        canary={"holdSeconds": {"min": 5, "max": 10}, "minCalls": 50, "holdBy": hold_by},
        postPromotionWatchSeconds=6,
    )
    world = story.world
    world.deployment["spec"]["replicas"] = 2
    world.kill_before, world.kill_after = before, after
    await story.run(8, a_step=1)
    new = world.roll("two")
    if ending == "aborted":
        world.behaviour = failing(new, 0.2)
    if ending == "held":
        world.no_data = lambda now: "away"
    if ending == "watched":
        world.behaviour = lambda of, at: Tally(30, 3 if world.versions() == {new} else 0)
    await story.run(5, a_step=1)
    if ending == "superseded":
        world.roll("three")
    await story.run(40, a_step=1)
    return story


def _end(story: Story) -> dict[str, Any]:
    world = story.world
    return {
        "stage": story.stage,
        "digest": world.digest,
        "versions": world.versions(),
        "paused": world.paused,
        "unmarked": story.unmarked(),
        "verdicts": [
            [(one["stage"], one["verdict"], one["rule"]) for one in block.get("decisions", [])]
            for block in (one.get("status", {}).get("policy", {}) for one in world.records)
        ],
        "stable": world.policy["status"]["memory"]["stable"],
    }


@pytest.mark.parametrize("hold_by", HOLDS)
@pytest.mark.parametrize("ending", ["promoted", "aborted", "held", "watched", "superseded"])
async def test_gate_that_reads_what_the_watches_tell_of_comes_to_the_same_end(
    ending: str, hold_by: str
) -> None:
    plain = await _tell(ending, hold_by, None, None)
    watched = await _tell(ending, hold_by, None, None, WatchedStory)
    assert _end(watched) == _end(plain)
    assert watched.world.calls == plain.world.calls
    assert watched.world.reads < plain.world.reads / 2
