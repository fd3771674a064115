"""One tick of a scaler over an API server that keeps objects and may refuse."""

import asyncio
from collections.abc import Collection
from dataclasses import replace
from typing import Any

import pytest

from hailstorm_operator import api
from hailstorm_operator.cluster import ClusterError, UnreachableError
from hailstorm_operator.inventory import EdgePod
from hailstorm_operator.ownership import Ownership
from hailstorm_operator.scaler import ScalerLoop
from hailstorm_operator.scaling import decide_scale
from hailstorm_operator.scaling_inputs import DECIDER_VERSION, Memory
from hailstorm_operator.signals import Reading
from hailstorm_operator.specs import parse_scaler_spec
from unit.operator.spare_place import SCALER, Place

SPEC: dict[str, Any] = {
    "targetRef": {"name": "app"},
    "minReplicas": 1,
    "maxReplicas": 9,
    "signal": {"edge": {"cluster": "app", "service": "edge"}},
    "targetInFlight": 10,
    "behavior": {"scaleDown": {"victim": "Kubernetes"}},
}
NO_SESSION: Any = None


class Server(Place):
    """Its count of replicas is written as well, and the answer may get lost on the way."""

    def __init__(self) -> None:
        super().__init__(replicas=8)
        self.loses_answers = False
        self.status: dict[str, Any] = {}
        self.autoscalers: list[dict[str, Any]] = []
        self.hides_owners = False

    async def list_autoscalers(self, namespace: str) -> list[dict[str, Any]]:
        if self.hides_owners:
            raise ClusterError("horizontalpodautoscalers is forbidden", 403)
        return self.autoscalers

    async def list_scalers(self, namespace: str) -> list[dict[str, Any]]:
        return []

    async def set_replicas(self, namespace: str, name: str, replicas: int) -> None:
        self.calls.append(f"replicas {replicas}")
        target = self.deployments[name]
        target["spec"]["replicas"] = replicas
        target["metadata"]["managedFields"] = [
            {"manager": api.FIELD_MANAGER, "fieldsV1": {"f:spec": {"f:replicas": {}}}}
        ]
        self.put(target)
        if self.loses_answers:
            raise UnreachableError("no answer in time")

    async def set_scaler_status(self, namespace: str, name: str, status: dict[str, Any]) -> None:
        self.status = status

    async def post_event(self, *_: Any, **__: Any) -> None:
        pass


class Signal:
    """A signal that says the same, always."""

    def __init__(self, in_flight: float) -> None:
        self._in_flight = in_flight

    async def ask(self) -> list[Any]:
        return []

    async def close(self) -> None:
        pass

    def read(self, pods: list[Any], now: float, idle: Collection[str] = ()) -> Reading:
        return Reading(self._in_flight, "fresh", {"edge-0": self._in_flight}, ())


def loop_of(server: Any, in_flight: float, **more: Any) -> ScalerLoop:
    """A loop that has seen a calm demand for long."""
    spec = parse_scaler_spec({**SPEC, **more})
    owners = Ownership(server, server.inventory)
    loop = ScalerLoop(SCALER, spec, server, server.inventory, owners, NO_SESSION, 0.5)
    signal: Any = Signal(in_flight)
    loop._signal = signal
    loop._memory = Memory(panicking=False, last_crossing=0.0, last_change=0.0, replicas=8)
    return loop


@pytest.mark.parametrize("error", [None, UnreachableError("no answer in time")])
async def test_a_loop_finds_out_who_serves_before_it_first_decides(
    error: Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = loop_of(Server(), 0.0, spares={"count": 2})
    done: list[str] = []

    async def learn(*, is_stopped: bool) -> None:
        done.append(f"learn, stopped {is_stopped}")
        if error is not None:
            raise error

    async def tick() -> None:
        done.append("tick")
        raise asyncio.CancelledError

    monkeypatch.setattr(loop._spares, "learn", learn)
    monkeypatch.setattr(loop, "_tick", tick)
    with pytest.raises(asyncio.CancelledError):
        await loop.run()
    assert done == ["learn, stopped False", "tick"]


def written(server: Server) -> list[str]:
    return [one for one in server.calls if one.startswith("replicas")]


async def test_step_down_whose_answer_was_lost_is_not_followed_by_another_at_once() -> None:
    server = Server()
    loop = loop_of(server, 0.0)
    server.loses_answers = True
    with pytest.raises(UnreachableError):
        await loop._tick()
    server.loses_answers = False
    await loop._tick()
    assert len(written(server)) == 1, "it was applied, and the next one waits for its window"


def reason_of(server: Server, condition: str) -> str:
    found: list[str] = [
        one["reason"] for one in server.status["conditions"] if one["type"] == condition
    ]
    return found[0]


async def stepped(server: Server) -> ScalerLoop:
    """A loop at its maxReplicas that has just taken both of its spares into service."""
    loop = loop_of(server, 100.0, maxReplicas=8, spares={"count": 2})
    for _ in range(3):
        await loop._tick()
        looking = loop._spares._looking
        assert looking is not None
        await looking
        server.settle()
    return loop


SPARES = [EdgePod(f"app-spare-{number}", f"10.0.1.{number}", ready=True) for number in (0, 1)]


async def test_step_that_spares_serve_alone_is_taken_apart() -> None:
    server = Server()
    loop = await stepped(server)
    assert written(server) == []
    (event,) = loop._events.describe()
    assert (event["from"], event["to"]) == (8, 8)
    assert [one["name"] for one in event["spares"]] == ["app-spare-0", "app-spare-1"]
    loop.show_slice("other", SPARES)
    loop.show_slice("app", [SPARES[0], replace(SPARES[1], ready=False)])
    assert ["inService" in one for one in loop._events.describe()[0]["spares"]] == [True, False]
    loop.show_slice("app", SPARES)
    await loop._tick()
    assert server.status["scaleEvents"][0]["seconds"]["spareInService"] >= 0.0


async def test_slice_that_came_before_the_answer_to_the_label_counts() -> None:
    server = Server()
    server.inventory.slices[("place", "app")] = {"one": SPARES}
    (event,) = (await stepped(server))._events.describe()
    assert "spareInService" in event["seconds"]


async def test_bounds_are_not_written_against_an_owner_whom_no_watch_has_told_of() -> None:
    server = Server()
    server.autoscalers = [
        {
            "metadata": {"namespace": "place", "name": "hpa"},
            "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "app"}},
        }
    ]
    await loop_of(server, 0.0, minReplicas=9)._tick()
    assert written(server) == []
    assert reason_of(server, api.CONDITION_ACTIVE) == api.REASON_HPA_CONFLICT


async def test_nothing_is_written_before_the_owners_are_known_and_it_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = Server()
    server.hides_owners = True
    loop = loop_of(server, 0.0, minReplicas=9)
    await loop._tick()
    assert written(server) == []
    assert server.status["latest"]["clamp"] == api.CLAMP_OWNERS
    assert reason_of(server, api.CONDITION_ACTIVE) == api.REASON_OWNERS_UNKNOWN
    server.hides_owners = False
    monkeypatch.setattr(loop._owners, "_refusals", {})
    await loop._tick()
    assert written(server) == ["replicas 9"]
    assert reason_of(server, api.CONDITION_CONFLICT) == api.REASON_SOLE_OWNER


async def test_spares_of_a_target_that_was_deleted_leave_the_service_and_go() -> None:
    server = Server()
    loop = loop_of(server, 100.0, spares={"count": 2})

    async def tick() -> None:
        await loop._tick()
        looking = loop._spares._looking
        assert looking is not None
        await looking

    await tick()
    server.settle()
    await tick()
    await tick()
    assert server.labels("app-spare-0")["app"] == "app"
    del server.deployments["app"]
    server.inventory.deployments.pop(("place", "app"))
    await tick()
    await tick()
    assert [server.labels(f"app-spare-{number}")["app"] for number in (0, 1)] == ["app-spare"] * 2
    assert server.deployments["app-spare"]["spec"]["replicas"] == 0
    assert server.status["spares"]["desired"] == server.status["spares"]["inService"] == 0
    reasons = {one["type"]: one["reason"] for one in server.status["conditions"]}
    assert reasons[api.CONDITION_ACTIVE] == api.REASON_TARGET_MISSING
    assert reasons[api.CONDITION_SPARES] == api.REASON_NO_SPARES


async def test_two_writes_before_the_watch_has_shown_the_first_are_both_our_own() -> None:
    server = Server()
    loop = loop_of(server, 0.0, maxReplicas=20)
    shown = server.inventory.deployments[("place", "app")]
    for desired in (9, 10):
        view = await loop._target()
        assert view is not None
        decision = decide_scale(loop._inputs(1000.0, loop._signal.read([], 1000.0), view, None))
        await loop._write_replicas(view, replace(decision, desired=desired, action="up"), 0.0)
        # The watch is late: it still shows what there was before both.
        server.inventory.deployments[("place", "app")] = shown
    view = await loop._target()
    assert view is not None
    assert (shown.replicas, view.replicas) == (8, 10)


async def test_what_an_earlier_version_told_of_its_last_decision_is_taken_away() -> None:
    server = Server()
    told: list[dict[str, Any]] = []

    async def set_status(namespace: str, name: str, status: dict[str, Any]) -> None:
        told.append(status)

    server.set_scaler_status = set_status  # type: ignore[method-assign]
    loop = loop_of(server, 60.0)
    await loop._tick()
    # A merge leaves a field of the inputs that this version does not know.
    assert told[0] == {"latest": None}
    assert told[1]["latest"]["decider"] == DECIDER_VERSION
    loop._memory = replace(loop._memory, overruled=1)
    await loop._tick()
    assert {"latest": None} not in told[1:]
