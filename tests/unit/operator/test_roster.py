"""One loop for each ServiceScaler, however its news comes."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from hailstorm_operator import roster
from hailstorm_operator.cluster import ClusterError, NotFoundError
from hailstorm_operator.inventory import EdgePod, Inventory
from hailstorm_operator.roster import Roster


class Loop:
    """Counts how many run; ends slowly, as one does that takes back its questions."""

    running = 0

    def __init__(self, body: Any, *_: Any) -> None:
        self.body = body

    async def run(self) -> None:
        Loop.running += 1
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0.01)
            Loop.running -= 1

    async def resync(self) -> None:
        pass

    def show_slice(self, service: str, endpoints: list[EdgePod]) -> None:
        self.slices = [*getattr(self, "slices", []), (service, [one.name for one in endpoints])]


def body(generation: int, uid: str = "uid-1") -> dict[str, Any]:
    return {
        "metadata": {"name": "app", "namespace": "place", "uid": uid, "generation": generation},
        "spec": {
            "targetRef": {"name": "app"},
            "minReplicas": 1,
            "maxReplicas": 2,
            "signal": {"edge": {"cluster": "app", "service": "edge"}},
            "targetInFlight": 10,
        },
    }


@pytest.fixture
async def made(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Roster]:
    Loop.running = 0
    monkeypatch.setattr(roster, "ScalerLoop", Loop)

    class Gone:
        async def get_scaler(self, *_: str) -> None:
            raise NotFoundError("gone", 404)

        async def list_autoscalers(self, *_: str) -> list[Any]:
            raise ClusterError("horizontalpodautoscalers is forbidden", 403)

    cluster: Any = Gone()
    session: Any = None
    found = Roster(cluster, Inventory(), session, 0.5)
    yield found
    await found.stop()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_spec_change_that_is_shown_twice_at_once_leaves_one_loop(made: Roster) -> None:
    await made.show_scaler(body(1))
    await settle()
    await asyncio.gather(*(made.show_scaler(body(2)) for _ in range(4)))
    await settle()
    assert Loop.running == 1


async def test_status_change_and_late_news_keep_the_loop(made: Roster) -> None:
    await made.show_scaler(body(2))
    task = made._loops[("place", "app")][3]
    await made.show_scaler(body(2))
    await made.show_scaler(body(1))
    assert made._loops[("place", "app")][3] is task


async def test_object_made_anew_gets_a_loop_of_its_own(made: Roster) -> None:
    await made.show_scaler(body(2))
    task = made._loops[("place", "app")][3]
    await made.show_scaler(body(1, uid="uid-2"))
    assert made._loops[("place", "app")][3] is not task


async def test_object_that_is_gone_ends_its_loop(made: Roster) -> None:
    await made.show_scaler(body(1))
    await settle()
    await made.resync()
    await settle()
    assert (Loop.running, made._loops) == (0, {})


async def test_slices_are_shown_to_the_scalers_of_their_namespace(made: Roster) -> None:
    await made.show_scaler(body(1))
    metadata: dict[str, Any] = {"namespace": "place", "name": "one"}
    slice_: dict[str, Any] = {"metadata": metadata, "endpoints": [{"addresses": ["10.0.0.1"]}]}
    made.show_slice(slice_)
    metadata["labels"] = {"kubernetes.io/service-name": "app"}
    made.show_slice(slice_)
    metadata["namespace"] = "elsewhere"
    made.show_slice(slice_)
    loop: Any = made._loops[("place", "app")][0]
    assert loop.slices == [("app", ["10.0.0.1"])]


async def test_scaler_that_cannot_be_resynced_does_not_keep_the_others_from_it(
    made: Roster, monkeypatch: pytest.MonkeyPatch
) -> None:
    resynced = []

    class Refused(Loop):
        async def resync(self) -> None:
            resynced.append(self.body["metadata"]["name"])
            if len(resynced) == 1:
                raise ClusterError("endpointslices is forbidden", 403)

    class Kept:
        async def list_autoscalers(self, _: str) -> list[Any]:
            return []

        async def list_scalers(self, _: str) -> list[Any]:
            return [named("first"), named("second")]

        async def get_scaler(self, _: str, name: str) -> dict[str, Any]:
            return named(name)

    def named(name: str) -> dict[str, Any]:
        one = body(1)
        one["metadata"]["name"] = name
        return one

    cluster: Any = Kept()
    made._cluster = cluster
    monkeypatch.setattr(roster, "ScalerLoop", Refused)
    for name in ("first", "second"):
        await made.show_scaler(named(name))
    await made.resync()
    assert resynced == ["first", "second"]
