"""
The whole rollout side, gate and ledger, over an API server that keeps everything.

The process is killed before and after every write of a rollout, and what is
started then knows only what the API holds. No record is lost or doubled, nothing
stays open or held, and the verdict is the one of a calm day.
"""

import copy
from datetime import UTC, datetime
from typing import Any

import pytest

from hailstorm_operator import api
from hailstorm_operator.archive import Archive
from hailstorm_operator.cluster import ClusterError, ConflictError, NotFoundError
from hailstorm_operator.ledger import Ledger
from hailstorm_operator.records import is_closed, is_rolled_back
from hailstorm_operator.replay import replay_record
from hailstorm_operator.taken_back import add_ends
from hailstorm_operator.targets import Sighting, Target
from unit.operator.fake_cluster import KilledError, World, stamp
from unit.operator.test_gate import Story, failing

Json = dict[str, Any]


class Registry(World):
    """A world that keeps RolloutRecords as the API server does, and writes none itself."""

    def _record(self) -> None:
        """The real ledger writes them."""

    def _find(self, name: str) -> Json:
        for record in self.records:
            if record["metadata"]["name"] == name:
                return record
        raise NotFoundError(name, 404)

    def _refuse(self, name: str) -> ConflictError:
        # It was asked and has not written: nobody can die after that write.
        self.calls.pop()
        return ConflictError(name, 409)

    def _written(self, record: Json) -> Json:
        version = int(record["metadata"]["resourceVersion"])
        record["metadata"]["resourceVersion"] = str(version + 1)
        self._leave()
        return copy.deepcopy(record)

    async def list_records(self, namespace: str, selector: Any) -> list[Json]:
        self._enter("list_records")
        return copy.deepcopy(self.records)

    async def get_record(self, namespace: str, name: str) -> Json:
        self._enter("get_record")
        return copy.deepcopy(self._find(name))

    async def create_record(self, namespace: str, record: Json) -> Json:
        self._enter("create_record")
        if any(one["metadata"]["name"] == record["metadata"]["name"] for one in self.records):
            raise self._refuse(record["metadata"]["name"])
        made = copy.deepcopy(record)
        made["metadata"] |= {"resourceVersion": "0", "creationTimestamp": stamp(self.now)}
        self.records.append(made)
        return self._written(made)

    async def set_record_status(
        self, namespace: str, name: str, status: Json, version: str
    ) -> Json:
        self._enter("set_record_status")
        record = self._find(name)
        if record["metadata"]["resourceVersion"] != version:
            raise self._refuse(name)
        record["status"] = {**record.get("status", {}), **copy.deepcopy(status)}
        return self._written(record)

    async def label_record(self, namespace: str, name: str, labels: Json) -> Json:
        self._enter("label_record")
        record = self._find(name)
        kept = {**record["metadata"].get("labels", {}), **labels}
        record["metadata"]["labels"] = {key: value for key, value in kept.items() if value}
        return self._written(record)

    async def delete_record(self, namespace: str, name: str) -> None:
        self._enter("delete_record")
        self.records.remove(self._find(name))
        self._leave()

    async def note_policy(self, namespace: str, name: str, block: Json) -> None:
        record = self._find(name)
        version = int(record["metadata"]["resourceVersion"])
        record["metadata"]["resourceVersion"] = str(version + 1)
        await super().note_policy(namespace, name, block)


class Whole(Story):
    """A story whose operator has both its halves."""

    def __init__(self, **spec: Any) -> None:
        super().__init__(
            onInsufficientEvidence="hold",
            canary={"holdSeconds": {"min": 5, "max": 10}, "minCalls": 50, "holdBy": "paused"},
            postPromotionWatchSeconds=6,
            **spec,
        )
        self.world = Registry(replicas=2)
        self.gate = self.start()
        self.ledger, self.target = self._new_ledger()
        self.shown: dict[str, Json] = {}

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self.world.now, UTC)

    def _new_ledger(self) -> tuple[Ledger, Target | None]:
        world: Any = self.world
        archive = Archive(world, 50, clock=self._now)
        return Ledger(world, archive, clock=self._now), None

    async def run(self, seconds: float, a_step: float = 1.0) -> None:
        """Let time pass; the process that dies is followed by another one."""
        for _ in range(int(seconds / a_step)):
            self.world.now += a_step
            self.world.settle()
            try:
                await self._keep_records()
                await self.gate.tick()
            except KilledError:
                self.kills += 1
                self.gate = self.start()
                self.ledger, self.target = self._new_ledger()
                self.shown = {}
            except ClusterError:
                if self.target is not None:
                    self.target.loaded = False

    async def _keep_records(self) -> None:
        """What the watches of one step tell, and the ledger's turn."""
        live = self.target is not None
        sighting = Sighting(copy.deepcopy(self.world.deployment), self._now(), live=live)
        if self.target is None:
            self.target = Target("place", "app", sighting)
        else:
            self.target.show_deployment(sighting)
        pods = {pod["metadata"]["name"]: copy.deepcopy(pod) for pod in self.world.pods}
        for name, pod in {**self.shown, **pods}.items():
            self.target.show_pod(pod, self._now(), deleted=name not in pods, live=live)
        self.shown = pods
        await self.ledger._reconcile(self.target)

    def end(self) -> dict[str, Any]:
        """What must not depend on who died when."""
        records = self.world.records
        return {
            "stage": self.stage,
            "digest": self.world.digest,
            "versions": self.world.versions(),
            "unmarked": self.unmarked(),
            "records": [
                (
                    one["spec"]["templateHash"],
                    one["status"]["outcome"],
                    one["status"].get("policy", {}).get("verdict"),
                )
                for one in records
            ],
            "decisions": [
                [
                    (entry["stage"], entry["verdict"], entry["rule"])
                    for entry in one["status"].get("policy", {}).get("decisions", [])
                ]
                for one in records
            ],
        }


async def tell(ending: str, before: int | None = None, after: int | None = None) -> Whole:
    """A whole rollout, killed before or after a write; -1 is never reached."""
    story = Whole()
    world = story.world
    world.kill_before, world.kill_after = before, after
    await story.run(8)
    new = world.roll("two")
    if ending == "aborted":
        world.behaviour = failing(new, 0.2)
    await story.run(5)
    if ending == "superseded":
        world.roll("three")
    await story.run(45)
    return story


# Two hundred rollouts: four seconds of a core for each ending, and some machines are busy.
@pytest.mark.timeout(180)
@pytest.mark.parametrize("ending", ["promoted", "aborted", "superseded"])
async def test_process_that_dies_at_any_write_loses_and_doubles_nothing(ending: str) -> None:
    calm = await tell(ending)
    writes = list(calm.world.calls)
    assert {"create_record", "set_record_status", "label_record", "note_policy"} <= set(writes)
    assert all(is_closed(one["status"]) for one in calm.world.records)
    assert calm.end()["stage"] == "Idle"
    for record in calm.world.records:
        if is_rolled_back(record["status"]):
            # Its pod was gone before the next record had looked for the first time.
            ended = add_ends(record, calm.world.records, calm._now())
            assert "late" not in ended["phases"][-1]
            assert ended["supersededBy"] == calm.world.records[-1]["metadata"]["name"]
    for number, write in enumerate(writes):
        for when in ("before", "after"):
            story = await tell(
                ending,
                number if when == "before" else None,
                number + 1 if when == "after" else None,
            )
            told = f"{when} write {number}, {write}"
            assert story.kills == 1, told
            assert story.end() == calm.end(), told
            for record in story.world.records:
                assert not [p for one in replay_record(record) for p in one.problems], told
                if is_rolled_back(record["status"]):
                    ended = add_ends(record, story.world.records, story._now())
                    assert ended["phases"][-1]["phase"] == api.PHASE_TAKEN_BACK, told
                    assert record["status"]["outcome"] == "failed", told


async def test_pod_that_goes_with_the_rollback_ends_in_the_record_that_the_verdict_closed() -> None:
    story = Whole()
    world = story.world
    await story.run(8)
    first = world.deployment["spec"]["template"]
    new = world.roll("two")
    await story.run(5)
    assert len(world.pods_of(new)) == 1
    record = world.records[-1]
    verdict = {"verdict": "aborted", "action": "rollback", "rule": "r", "explanation": "e"}
    at = stamp(world.now)
    await world.note_policy("place", record["metadata"]["name"], {**verdict, "decidedAt": at})
    assert story.target is not None
    story.target.loaded = False
    await story._keep_records()
    assert is_closed(record["status"])
    # The pod is gone before the ledger has seen the next template.
    world.change(paused=None, template=first)
    for _ in range(5):
        world.now += 1
        world.settle()
    assert world.pods_of(new) == []
    await story._keep_records()
    ended = add_ends(record, world.records, story._now())
    assert ended["phases"][-1] == {"phase": "TakenBack", "at": ended["pods"][-1]["gone"]}
    assert ended["supersededBy"] == world.records[-1]["metadata"]["name"]


async def test_api_server_that_is_away_for_twenty_seconds_costs_nothing() -> None:
    calm = await tell("promoted")
    story = Whole()
    world = story.world
    await story.run(8)
    world.roll("two")
    await story.run(4)
    world.unreachable_until = world.now + 20
    await story.run(60)
    assert story.end() == calm.end()
