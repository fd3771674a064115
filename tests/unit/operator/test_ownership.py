"""Nobody is taken for the sole owner of replicas before the others have been listed."""

import asyncio
from typing import Any

import pytest

from hailstorm_operator import api
from hailstorm_operator.cluster import UnreachableError
from hailstorm_operator.inventory import Inventory
from hailstorm_operator.ownership import Ownership


class Lists:
    """Calls of `Cluster` that list owners; the second one may go unanswered."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.scalers: list[dict[str, Any]] = []
        self.is_up = True

    async def list_autoscalers(self, namespace: str) -> list[dict[str, Any]]:
        self.asked.append(namespace)
        await asyncio.sleep(0)
        return []

    async def list_scalers(self, namespace: str) -> list[dict[str, Any]]:
        if not self.is_up:
            raise UnreachableError("no answer in time")
        return self.scalers


def made() -> tuple[Any, Ownership]:
    lists: Any = Lists()
    return lists, Ownership(lists, Inventory())


def scaler(name: str, created: str) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "place", "name": name, "creationTimestamp": created},
        "spec": {"targetRef": {"name": "app"}},
    }


async def test_namespace_is_listed_once_for_all_who_ask_together() -> None:
    lists, owners = made()
    asked = (owners.conflict("place", f"scaler-{number}", f"app-{number}") for number in range(5))
    assert await asyncio.gather(*asked) == [None] * 5
    assert await owners.conflict("place", "later", "app") is None
    assert await owners.conflict("elsewhere", "later", "app") is None
    assert lists.asked == ["place", "elsewhere"]


async def test_older_scaler_that_no_watch_has_told_of_is_found() -> None:
    lists, owners = made()
    lists.scalers = [scaler("old", "2026-01-01T00:00:00Z"), scaler("young", "2026-01-02T00:00:00Z")]
    assert await owners.conflict("place", "old", "app") is None
    conflict = await owners.conflict("place", "young", "app")
    assert conflict is not None
    assert conflict[0] == api.REASON_SCALER_CONFLICT


async def test_half_of_the_answer_is_none_and_is_asked_for_again_after_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lists, owners = made()
    lists.is_up = False
    for _ in range(3):
        conflict = await owners.conflict("place", "mine", "app")
        assert conflict is not None
        assert conflict[0] == api.REASON_OWNERS_UNKNOWN
        assert "no answer in time" in conflict[1]
    assert lists.asked == ["place"], "not with every poll"
    lists.is_up = True
    monkeypatch.setattr(owners, "_refusals", {})
    assert await owners.conflict("place", "mine", "app") is None


async def test_resync_that_was_answered_is_enough_to_know() -> None:
    lists, owners = made()
    await owners.resync("place")
    assert await owners.conflict("place", "mine", "app") is None
    assert lists.asked == ["place"]
