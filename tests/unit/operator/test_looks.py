"""What a gate asks the API for, and what it may use again."""

import asyncio
from typing import Any

import pytest

from hailstorm_operator.cluster import NotFoundError
from hailstorm_operator.looks import Looks

DEPLOYMENT: dict[str, Any] = {
    "metadata": {
        "uid": "uid-1",
        "generation": 1,
        "annotations": {"deployment.kubernetes.io/revision": "1"},
    },
    "spec": {"selector": {"matchLabels": {"app": "shop"}}},
    "status": {"observedGeneration": 1},
}


class Cluster:
    """Counts what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.is_missing = False
        self.gate: asyncio.Event | None = None

    async def get_deployment(self, namespace: str, name: str) -> dict[str, Any]:
        self.asked.append(f"deployment {namespace}/{name}")
        if self.is_missing:
            raise NotFoundError(404, "gone")
        return DEPLOYMENT

    async def list_replica_sets(self, namespace: str, selector: dict[str, str]) -> list[Any]:
        self.asked.append(f"sets {selector}")
        return []

    async def list_pods(self, namespace: str, selector: dict[str, str]) -> list[Any]:
        self.asked.append(f"pods {selector}")
        if self.gate is not None:
            await self.gate.wait()
        return []


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def looks(cluster: Cluster, clock: Clock) -> Looks:
    return Looks(cluster, "place", "shop", 2.0, clock)  # type: ignore[arg-type]


async def look(looks: Looks) -> None:
    deployment = await looks.deployment()
    await looks.replica_sets(deployment)
    await looks.pods(deployment)


async def test_second_look_asks_for_nothing_until_the_trust_is_over(
    looks: Looks, cluster: Cluster, clock: Clock
) -> None:
    await look(looks)
    clock.now = 1.9
    await look(looks)
    assert len(cluster.asked) == 3
    clock.now = 2.0
    await look(looks)
    assert len(cluster.asked) == 6


async def test_watch_event_makes_its_own_answer_old(looks: Looks, cluster: Cluster) -> None:
    await look(looks)
    looks.pods_changed()
    await look(looks)
    assert cluster.asked[3:] == ["pods {'app': 'shop'}"]
    looks.deployment_changed()
    await look(looks)
    assert cluster.asked[4:] == ["deployment place/shop"]


@pytest.mark.parametrize(
    "newer",
    [
        {"metadata": {**DEPLOYMENT["metadata"], "generation": 2}},
        {"metadata": {**DEPLOYMENT["metadata"], "uid": "uid-2"}},
        {"status": {"observedGeneration": 2}},
        {
            "metadata": {
                **DEPLOYMENT["metadata"],
                "annotations": {"deployment.kubernetes.io/revision": "2"},
            }
        },
    ],
)
async def test_replica_sets_are_asked_for_again_when_the_deployment_went_on(
    looks: Looks, cluster: Cluster, newer: dict[str, Any]
) -> None:
    await looks.replica_sets(DEPLOYMENT)
    await looks.replica_sets({**DEPLOYMENT, **newer})
    assert len(cluster.asked) == 2


async def test_change_of_pods_that_comes_while_they_are_asked_for_is_not_lost(
    looks: Looks, cluster: Cluster
) -> None:
    cluster.gate = asyncio.Event()
    asking = asyncio.create_task(looks.pods(DEPLOYMENT))
    await asyncio.sleep(0)
    looks.pods_changed()
    cluster.gate.set()
    await asking
    await looks.pods(DEPLOYMENT)
    assert len(cluster.asked) == 2


async def test_forgotten_looks_and_failed_ones_are_made_again(
    looks: Looks, cluster: Cluster
) -> None:
    await look(looks)
    looks.forget()
    cluster.is_missing = True
    for _ in range(2):
        with pytest.raises(NotFoundError):
            await looks.deployment()
    assert len(cluster.asked) == 5


async def test_nothing_is_kept_where_no_watch_tells_of_changes(
    cluster: Cluster, clock: Clock
) -> None:
    looks = Looks(cluster, "place", "shop", clock=clock)  # type: ignore[arg-type]
    await look(looks)
    await look(looks)
    assert len(cluster.asked) == 6
