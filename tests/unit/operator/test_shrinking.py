"""Scaling down in two phases: who goes is marked and seen before the count is written."""

from typing import Any

import pytest

from hailstorm_operator import api, shrinking
from hailstorm_operator.shrinking import Shrinking
from unit.operator.spare_place import Place

KEY = ("place", "app")


class Target:
    """A target of three pods, of which the middle one is the least busy."""

    def __init__(self, loads: dict[str, float] | None = None) -> None:
        self.place: Any = Place()
        self.loads = {"10.0.0.0": 5.0, "10.0.0.1": 1.0, "10.0.0.2": 3.0}
        if loads is not None:
            self.loads = loads
        self.shrinking = self.again()

    def again(self) -> Shrinking:
        async def tell(addresses: list[str]) -> dict[str, float]:
            return self.loads

        return Shrinking(KEY, self.place, self.place.inventory.pods, tell)

    def marked(self) -> list[str]:
        return [
            name
            for name, pod in self.place.pods.items()
            if (pod["metadata"].get("annotations") or {}).get(api.DELETION_COST_ANNOTATION)
            == api.VICTIM_COST
        ]

    def show(self) -> None:
        """The watch catches up."""
        for pod in self.place.pods.values():
            self.place.inventory.show_pod(pod)


@pytest.fixture
def target() -> Target:
    return Target()


async def test_count_waits_until_the_mark_is_seen(target: Target) -> None:
    target.place.show_watch = False
    assert not await target.shrinking.prepare(3, 2)
    assert target.marked() == ["app-1"]
    assert not await target.shrinking.prepare(3, 2)
    target.show()
    assert await target.shrinking.prepare(3, 2)
    assert target.shrinking.told == "least busy: app-1"


async def test_mark_that_is_never_seen_does_not_stop_the_step(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    target.place.show_watch = False
    assert not await target.shrinking.prepare(3, 2)
    monkeypatch.setattr(shrinking, "OBSERVE_SECONDS", 0.0)
    assert await target.shrinking.prepare(3, 2)
    assert "not seen in time" in target.shrinking.note


async def test_changed_decision_takes_the_mark_off(target: Target) -> None:
    assert not await target.shrinking.prepare(3, 2)
    await target.shrinking.tidy(is_shrinking=False)
    assert target.marked() == []


async def test_mark_stays_while_the_decision_stands(target: Target) -> None:
    assert not await target.shrinking.prepare(3, 2)
    await target.shrinking.tidy(is_shrinking=True)
    assert target.marked() == ["app-1"]


async def test_mark_stays_while_the_pod_is_about_to_leave(target: Target) -> None:
    await target.shrinking.prepare(3, 2)
    assert await target.shrinking.prepare(3, 2)
    target.shrinking.written()
    await target.shrinking.tidy(is_shrinking=False)
    assert target.marked() == ["app-1"]


async def test_mark_comes_off_a_pod_that_did_not_leave(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    await target.shrinking.prepare(3, 2)
    target.shrinking.written()
    monkeypatch.setattr(shrinking, "LEAVE_SECONDS", 0.0)
    await target.shrinking.tidy(is_shrinking=False)
    assert target.marked() == []


async def test_mark_of_an_operator_that_died_comes_off(target: Target) -> None:
    await target.shrinking.prepare(3, 2)
    await target.again().tidy(is_shrinking=False)
    assert target.marked() == []


async def test_cost_that_a_user_has_set_stays(target: Target) -> None:
    note = {api.DELETION_COST_ANNOTATION: "7"}
    await target.place.patch_pod("place", "app-0", {"metadata": {"annotations": note}})
    await target.shrinking.tidy(is_shrinking=False)
    assert target.place.pods["app-0"]["metadata"]["annotations"] == note


async def test_next_step_marks_anew(target: Target) -> None:
    await target.shrinking.prepare(3, 2)
    assert await target.shrinking.prepare(3, 2)
    target.shrinking.written()
    del target.place.pods["app-1"]
    assert not await target.shrinking.prepare(2, 1)
    assert target.marked() == ["app-2"]


async def test_unknown_loads_leave_the_choice_to_kubernetes() -> None:
    target = Target(loads={})
    assert await target.shrinking.prepare(3, 2)
    assert target.marked() == []
    assert "Kubernetes chooses" in target.shrinking.told


@pytest.mark.parametrize("refused", ["patch pod", "pods", "get app"])
async def test_refusal_does_not_stop_the_step(target: Target, refused: str) -> None:
    target.place.refuses = {refused}
    assert await target.shrinking.prepare(3, 2)
    assert target.shrinking.note


async def test_refused_cleaning_is_not_tried_at_every_tick(target: Target) -> None:
    await target.shrinking.prepare(3, 2)
    target.place.refuses = {"patch pod"}
    target.place.calls.clear()
    for _ in range(5):
        await target.shrinking.tidy(is_shrinking=False)
    assert target.place.calls == ["patch pod app-1"]
