"""Traffic into closed records, against an API server and a recorder that speak real HTTP."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from kubernetes.aio import client

from hailstorm_operator import api, records
from hailstorm_operator.archive import Archive
from hailstorm_operator.cluster import Cluster, UnreachableError
from hailstorm_operator.recorder.gaps import SILENT
from hailstorm_operator.recorder.http_server import serve_http
from hailstorm_operator.recorder.store import Store
from hailstorm_operator.recorder.tallies import Key
from hailstorm_operator.recorder_client import RecorderClient
from hailstorm_operator.settler import Settler
from hailstorm_operator.timestamps import parse_time, with_milliseconds
from hailstorm_operator.traffic import PATIENCE, SECOND_THOUGHTS, due_at

NAMESPACE, NAME = "place", "app-2-abc"
BASE = f"/apis/{api.GROUP}/{api.VERSION}"
OF_NAMESPACE = f"{BASE}/namespaces/{NAMESPACE}/{api.RECORD_PLURAL}"


def merge(into: dict[str, Any], patch: dict[str, Any]) -> None:
    """RFC 7386, as the API server does it."""
    for key, value in patch.items():
        if value is None:
            into.pop(key, None)
        elif isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = value


@dataclass
class ApiServer:
    """One RolloutRecord, with resourceVersions that count up."""

    record: dict[str, Any]
    others: list[dict[str, Any]] = field(default_factory=list)
    status_writes: int = 0
    refuse: Callable[[str], int] = field(default=lambda _: 0)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get(f"{BASE}/{api.RECORD_PLURAL}", self._list),
            web.get(OF_NAMESPACE, self._list),
            web.patch(f"{OF_NAMESPACE}/{NAME}/status", self._status),
            web.patch(f"{OF_NAMESPACE}/{NAME}", self._labels),
        ]

    @property
    def labels(self) -> dict[str, str]:
        found: dict[str, str] = self.record["metadata"]["labels"]
        return found

    async def _list(self, request: web.Request) -> web.Response:
        name, _, value = request.query.get("labelSelector", "").partition("=")
        every = [self.record, *self.others]
        items = [one for one in every if one["metadata"]["labels"].get(name) == value]
        return web.json_response({"items": items})

    async def _status(self, request: web.Request) -> web.Response:
        body = await request.json()
        if code := self.refuse("status"):
            return web.json_response({"message": "no"}, status=code)
        if body["metadata"]["resourceVersion"] != self.record["metadata"]["resourceVersion"]:
            return web.json_response({"message": "changed"}, status=409)
        self.status_writes += 1
        return self._apply({"status": body["status"]})

    async def _labels(self, request: web.Request) -> web.Response:
        if code := self.refuse("labels"):
            return web.json_response({"message": "no"}, status=code)
        return self._apply(await request.json())

    def _apply(self, patch: dict[str, Any]) -> web.Response:
        merge(self.record, patch)
        metadata = self.record["metadata"]
        metadata["resourceVersion"] = str(int(metadata["resourceVersion"]) + 1)
        return web.json_response(self.record)


@dataclass
class Scene:
    """A closed record, a recorder that saw its traffic, and an operator with a clock."""

    server: ApiServer
    store: Store
    settler: Settler
    archive: Archive
    session: aiohttp.ClientSession
    now: datetime

    def clock(self) -> datetime:
        return self.now

    def restart(self, url: str | None) -> None:
        """Another operator, which knows nothing but the API."""
        recorder = RecorderClient(self.session, url) if url else None
        self.settler = Settler(self.archive, recorder, self.clock)

    @property
    def traffic(self) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self.server.record["status"].get("traffic")
        return found


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    ended = datetime.now(UTC) - timedelta(seconds=200)
    started = ended - timedelta(seconds=20)
    pod = {"name": "app-x", "address": "192.0.2.1", "created": with_milliseconds(started)}
    status = records.close_record(
        {
            "outcome": "progressing",
            "startedAt": with_milliseconds(started),
            "pods": [{**pod, "ready": with_milliseconds(started)}],
        },
        api.OUTCOME_COMPLETE,
        api.REASON_ROLLOUT_COMPLETED,
        "done",
        with_milliseconds(ended),
    )
    server = ApiServer(
        {
            "metadata": {
                "name": NAME,
                "namespace": NAMESPACE,
                "resourceVersion": "1",
                "labels": {api.OUTCOME_LABEL: "complete", api.TRAFFIC_LABEL: api.TRAFFIC_PENDING},
            },
            "spec": {"targetRef": {"name": "app"}, "trigger": {"kind": "rollout"}},
            "status": status,
        }
    )
    application = web.Application()
    application.add_routes(server.routes())
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    store = Store(1800, started.timestamp() - 600)
    key = Key("calls", "public", "app", "192.0.2.1:1", "S/Get", 0, "", "ok", False, False)
    store.tallies.add(key, int(started.timestamp()) + 5, 3, count=70)
    answers, port = await serve_http("127.0.0.1", 0, store, lambda: 0)
    host = f"http://127.0.0.1:{runner.addresses[0][1]}"
    cluster = Cluster(client.ApiClient(client.Configuration(host=host)))
    async with aiohttp.ClientSession() as session:
        archive = Archive(cluster, 50)
        made = Scene(server, store, Settler(archive, None), archive, session, due_at(status))
        made.restart(f"http://127.0.0.1:{port}")
        yield made
    await cluster.close()
    for one in (answers, runner):
        await one.cleanup()


async def test_traffic_is_written_once_when_its_time_has_come(scene: Scene) -> None:
    scene.now -= timedelta(seconds=1)
    await scene.settler.settle_due()
    assert scene.traffic is None
    scene.now += timedelta(seconds=1)
    for _ in range(3):
        await scene.settler.settle_due()
    assert scene.traffic is not None
    assert (scene.traffic["state"], scene.traffic["failed"]) == ("Known", "0/70")
    assert scene.server.status_writes == 1
    assert scene.server.labels == {api.OUTCOME_LABEL: "complete"}
    # What was there before is there still.
    assert scene.server.record["status"]["message"] == "done"


async def test_operator_killed_between_status_and_label_writes_nothing_twice(
    scene: Scene,
) -> None:
    scene.server.refuse = lambda what: 500 if what == "labels" else 0
    with pytest.raises(UnreachableError):
        await scene.settler.settle_due()
    first = scene.traffic
    # The next one finds the label, and the traffic that is already there.
    scene.restart(None)
    scene.server.refuse = lambda _: 0
    await scene.settler.settle_due()
    assert scene.traffic == first
    assert scene.traffic is not None
    assert scene.traffic["state"] == "Known"
    assert scene.server.status_writes == 1
    assert api.TRAFFIC_LABEL not in scene.server.labels


async def test_another_writer_is_noticed_and_the_next_turn_does_it(scene: Scene) -> None:
    refusals = iter([409])
    scene.server.refuse = lambda _: next(refusals, 0)
    await scene.settler.settle_due()
    assert scene.traffic is None
    await scene.settler.settle_due()
    assert scene.traffic is not None


async def test_two_operators_at_the_same_time_write_it_once(scene: Scene) -> None:
    await asyncio.gather(*(scene.settler.settle_due() for _ in range(2)))
    assert scene.server.status_writes == 1
    assert api.TRAFFIC_LABEL not in scene.server.labels


async def test_recorder_that_is_away_is_waited_for_and_then_given_up(
    scene: Scene, unused_tcp_port: int
) -> None:
    scene.restart(f"http://127.0.0.1:{unused_tcp_port}")
    await scene.settler.settle_due()
    assert scene.traffic is None
    scene.now += PATIENCE
    await scene.settler.settle_due()
    assert scene.traffic is not None
    assert (scene.traffic["state"], scene.traffic["reason"]) == ("Unknown", "RecorderUnreachable")
    assert api.TRAFFIC_LABEL not in scene.server.labels


async def test_without_a_recorder_it_says_so(scene: Scene) -> None:
    scene.restart(None)
    await scene.settler.settle_due()
    assert scene.traffic is not None
    assert (scene.traffic["state"], scene.traffic["reason"]) == ("Unknown", "NoRecorder")


async def test_gap_reaches_the_record(scene: Scene) -> None:
    moment = scene.now.timestamp() - 45
    scene.store.gaps.add(moment, moment + 1, "edge-a", "StreamEnded")
    await scene.settler.settle_due()
    assert scene.traffic is not None
    assert (scene.traffic["state"], scene.traffic["reason"]) == ("Unknown", "RecorderGap")


async def test_silence_that_was_only_slowness_is_waited_for(scene: Scene) -> None:
    gap = scene.store.gaps.open(scene.now.timestamp() - 5, "edge-a", SILENT)
    await scene.settler.settle_due()
    assert scene.traffic is None
    # It is heard: all of it had come.
    scene.store.gaps.withdraw(gap)
    scene.now += timedelta(seconds=1)
    await scene.settler.settle_due()
    assert scene.traffic is not None
    assert (scene.traffic["state"], scene.traffic["reason"]) == ("Known", "EveryCallSeen")


async def test_silence_that_lasts_is_a_gap_after_half_a_minute(scene: Scene) -> None:
    scene.store.gaps.open(scene.now.timestamp() - 5, "edge-a", SILENT)
    scene.now += SECOND_THOUGHTS - timedelta(seconds=1)
    await scene.settler.settle_due()
    assert scene.traffic is None
    scene.now += timedelta(seconds=1)
    await scene.settler.settle_due()
    assert scene.traffic is not None
    assert (scene.traffic["state"], scene.traffic["reason"]) == ("Unknown", "RecorderGap")


def take_back(scene: Scene) -> dict[str, Any]:
    """The record's release was taken back; returns the line of its pod in the next record."""
    record = scene.server.record
    record["metadata"]["labels"][api.TARGET_UID_LABEL] = "uid-1"
    record["spec"] |= {"generation": 2, "revision": 2}
    record["spec"]["targetRef"]["uid"] = "uid-1"
    status = record["status"]
    status |= {
        "outcome": "failed",
        "reason": api.REASON_ROLLED_BACK,
        "policy": {"action": "rollback"},
        "podTemplateHash": "new",
    }
    status["pods"][0]["hash"] = "new"
    line: dict[str, Any] = dict(status["pods"][0])
    scene.server.others.append(
        {
            "metadata": {"name": "app-3-abc", "labels": {api.TARGET_UID_LABEL: "uid-1"}},
            "spec": {"targetRef": {"uid": "uid-1"}, "generation": 3, "revision": 3},
            "status": {"startedAt": status["completedAt"], "pods": [line]},
        }
    )
    return line


async def test_release_that_was_taken_back_is_settled_once_its_pods_are_gone(scene: Scene) -> None:
    line = take_back(scene)
    completed = parse_time(scene.server.record["status"]["completedAt"])
    key = Key("calls", "public", "app", "192.0.2.1:1", "S/Get", 13, "", "failed", False, False)
    scene.store.tallies.add(key, int(completed.timestamp()) + 5, 3, count=6)
    await scene.settler.settle_due()
    assert scene.server.status_writes == 0
    line["terminating"] = with_milliseconds(completed + timedelta(seconds=1))
    line["gone"] = with_milliseconds(completed + timedelta(seconds=10))
    # The window after it begins now.
    await scene.settler.settle_due()
    assert scene.server.status_writes == 0
    scene.now += timedelta(seconds=10)
    await scene.settler.settle_due()
    status = scene.server.record["status"]
    assert status["traffic"]["failed"] == "6/76"
    assert status["traffic"]["usersFailed"] == 6
    assert status["pods"][0]["gone"] == line["gone"]
    assert status["phases"][-1] == {"phase": "TakenBack", "at": line["gone"]}
    # The verdict ended it, and still does.
    assert status["completedAt"] == with_milliseconds(completed)
    assert api.TRAFFIC_LABEL not in scene.server.labels


async def test_pods_that_do_not_go_are_waited_for_and_then_unknown(scene: Scene) -> None:
    take_back(scene)
    scene.now = parse_time(scene.server.record["status"]["completedAt"]) + PATIENCE
    scene.now -= timedelta(seconds=1)
    await scene.settler.settle_due()
    assert scene.traffic is None
    scene.now += timedelta(seconds=1)
    await scene.settler.settle_due()
    assert scene.traffic is not None
    assert (scene.traffic["state"], scene.traffic["reason"]) == ("Unknown", "PodsRemain")


async def test_record_that_closes_is_labelled_for_its_traffic(scene: Scene) -> None:
    record = scene.server.record
    record["metadata"]["labels"] = {}
    await scene.archive.write(dict(record), record["status"])
    assert scene.server.labels == {api.OUTCOME_LABEL: "complete", api.TRAFFIC_LABEL: "pending"}


@pytest.mark.parametrize("query", ["from=yesterday", "kind=both", "by=hour", "from=20&to=10"])
async def test_recorder_refuses_a_question_that_makes_no_sense(scene: Scene, query: str) -> None:
    url = scene.settler._recorder._url  # type: ignore[union-attr]
    async with scene.session.get(f"{url}/tallies?{query}") as answer:
        assert answer.status == 400
        assert "`" in (await answer.json())["error"]


async def test_recorder_shows_its_own_figures(scene: Scene) -> None:
    url = scene.settler._recorder._url  # type: ignore[union-attr]
    async with scene.session.get(f"{url}/metrics") as answer:
        text = await answer.text()
    assert "hailstorm_recorder_lines_total 0.0" in text
    assert "hailstorm_recorder_envoys_in_gap 0.0" in text
