"""Spares at work over an API server that keeps objects and may refuse."""

import asyncio
from typing import Any

import pytest

from eventually import eventually
from hailstorm_operator import api, warm_spares
from hailstorm_operator.selectors import matches
from hailstorm_operator.spares import SETTLE_SECONDS, Entry, Round
from hailstorm_operator.specs import parse_scaler_spec
from hailstorm_operator.warm_spares import WarmSpares
from unit.operator.objects import deployment
from unit.operator.spare_place import SCALER, Place

NOW = 1000.0


class Desk:
    """WarmSpares of a target of three, at one moment after another."""

    def __init__(self, count: int = 2) -> None:
        self.place: Any = Place()
        self.loads: dict[str, float] = {}
        self.events: list[tuple[str, str]] = []
        # Who entered, and how many Events there were by then.
        self.entries: list[tuple[dict[str, str], int]] = []
        self.now = NOW
        self.count = count
        self.spares = self.again()

    def again(self, scaler: dict[str, Any] = SCALER) -> WarmSpares:
        """An operator that has just come."""
        spec = parse_scaler_spec(
            {
                "targetRef": {"name": "app"},
                "minReplicas": 1,
                "maxReplicas": 9,
                "signal": {"edge": {"cluster": "app", "service": "edge"}},
                "targetInFlight": 10,
                "spares": {"count": self.count},
            }
        )

        async def tell(addresses: list[str]) -> dict[str, float]:
            return self.loads

        async def post(reason: str, text: str) -> None:
            self.events.append((reason, text))

        return WarmSpares(scaler, spec, self.place, self.place.inventory, tell, post)

    def enter(self, entry: Entry) -> None:
        self.entries.append((dict(entry.addresses), len(self.events)))

    async def turn(self, wanted: int | None = 3, seconds: float = 0.5, **more: Any) -> None:
        self.now += seconds
        view = self.place.inventory.deployments[("place", "app")]
        round_ = Round(
            now=self.now,
            view=view,
            wanted=wanted,
            desired=more.pop("desired", view.replicas),
            is_signal_whole=True,
            is_panicking=more.pop("is_panicking", False),
            is_conflicted=False,
            is_judged=more.pop("is_judged", False),
            lasting=more.pop("lasting", None),
        )
        await self.spares.turn(round_, self.enter)
        looking = self.spares._looking
        if looking is not None:
            await looking

    async def open(self) -> None:
        """The pool is made and its pods are ready."""
        await self.turn()
        self.place.settle()
        await self.turn()

    def serving(self) -> list[str]:
        return [
            name
            for name in self.place.pods
            if name.startswith("app-spare") and matches({"app": "app"}, self.place.labels(name))
        ]

    def told(self) -> tuple[dict[str, Any], str]:
        status, (condition,) = self.spares.describe()
        assert status is not None
        return status, condition.reason


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def test_spares_come_and_wait(desk: Desk) -> None:
    await desk.turn()
    assert desk.told()[1] == api.REASON_SPARES_STARTING
    desk.place.settle()
    await desk.turn()
    status, reason = desk.told()
    assert reason == api.REASON_SPARES_READY
    assert (status["desired"], status["ready"], status["inService"]) == (2, 2, 0)
    assert status["templateInStep"]
    assert desk.serving() == []


async def test_who_waits_is_known_once_the_service_is(desk: Desk) -> None:
    desk.place.refuses = {"services"}
    await desk.turn()
    assert desk.spares.idle == frozenset()
    desk = Desk()
    await desk.open()
    assert desk.spares.idle == {"app-spare-0", "app-spare-1"}
    await desk.turn(wanted=4, desired=4)
    assert desk.spares.idle == {"app-spare-1"}


async def test_step_up_labels_in_and_new_pods_label_out_least_busy_first(desk: Desk) -> None:
    await desk.open()
    await desk.turn(wanted=5, desired=5)
    assert desk.serving() == ["app-spare-0", "app-spare-1"]
    assert desk.spares.in_service == 2
    assert desk.told()[1] == api.REASON_SPARES_SERVING
    await desk.turn(wanted=4, desired=4)
    desk.loads = {"10.0.1.0": 9.0, "10.0.1.1": 2.0}
    await desk.turn(wanted=4, desired=4, seconds=SETTLE_SECONDS)
    assert desk.serving() == ["app-spare-0"]
    assert desk.place.labels("app-spare-1")["app"] == "app-spare"
    assert [reason for reason, _ in desk.events] == [api.REASON_SPARES_IN, api.REASON_SPARES_OUT]
    moves = [(one["pod"], one["to"], one.get("inFlight")) for one in desk.told()[0]["moves"]]
    assert moves == [
        ("app-spare-0", "service", None),
        ("app-spare-1", "service", None),
        ("app-spare-1", "pool", 2.0),
    ]


async def test_who_went_in_is_told_before_the_event_is_posted_and_who_came_out_is_not(
    desk: Desk,
) -> None:
    await desk.open()
    await desk.turn(wanted=4, desired=4)
    await desk.turn(wanted=3)
    await desk.turn(wanted=3, seconds=SETTLE_SECONDS)
    assert desk.serving() == []
    assert desk.entries == [({"app-spare-0": "10.0.1.0"}, 0)]


async def test_spare_keeps_the_label_that_its_own_replica_set_selects_by(desk: Desk) -> None:
    await desk.open()
    await desk.turn(wanted=4)
    assert desk.place.labels("app-spare-0")[api.SPARE_OF_LABEL] == "app"


async def test_operator_that_comes_back_reads_who_serves_from_the_labels(desk: Desk) -> None:
    await desk.open()
    await desk.turn(wanted=4)
    desk.spares = desk.again()
    await desk.turn(wanted=None)
    assert desk.spares.in_service == 1
    assert desk.serving() == ["app-spare-0"]
    await desk.turn(wanted=3)
    await desk.turn(wanted=3, seconds=SETTLE_SECONDS)
    assert desk.serving() == []


async def test_refused_label_is_said_and_tried_again_later(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.open()
    desk.place.refuses = {"patch pod"}
    await desk.turn(wanted=4)
    assert desk.told()[1] == api.REASON_SPARES_REFUSED
    tries = len([call for call in desk.place.calls if call.startswith("patch pod")])
    await desk.turn(wanted=4)
    assert len([call for call in desk.place.calls if call.startswith("patch pod")]) == tries
    desk.place.refuses = set()
    monkeypatch.setattr(desk.spares, "_move_at", 0.0)
    await desk.turn(wanted=4)
    assert desk.serving() == ["app-spare-0"]
    assert desk.told()[1] == api.REASON_SPARES_SERVING


async def test_refused_label_that_is_no_longer_asked_for_is_forgotten(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.open()
    desk.place.refuses = {"patch pod"}
    await desk.turn(wanted=4)
    monkeypatch.setattr(desk.spares, "_move_at", 0.0)
    await desk.turn(wanted=3)
    assert desk.told()[1] == api.REASON_SPARES_READY


async def test_spare_that_is_gone_is_no_refusal(desk: Desk) -> None:
    await desk.open()
    del desk.place.pods["app-spare-0"]
    await desk.turn(wanted=4)
    assert desk.told()[1] != api.REASON_SPARES_REFUSED


@pytest.mark.parametrize("refused", ["services", "budgets", "get app-spare"])
async def test_pool_that_cannot_be_looked_after_says_so(desk: Desk, refused: str) -> None:
    desk.place.refuses = {refused}
    await desk.turn()
    assert desk.told()[1] == api.REASON_SPARES_UNKNOWN
    assert "forbidden" in desk.spares.describe()[1][0].message


async def test_quiet_pool_asks_the_api_nothing(desk: Desk) -> None:
    await desk.open()
    await desk.turn()
    desk.place.calls.clear()
    for _ in range(10):
        await desk.turn()
    assert desk.place.calls == []


async def test_quiet_pool_is_looked_at_now_and_then(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.open()
    await desk.turn()
    desk.place.calls.clear()
    monkeypatch.setattr(desk.spares, "_look_at", 0.0)
    await desk.turn()
    assert "services" in desk.place.calls


async def test_judged_target_does_not_roll_its_spares(desk: Desk) -> None:
    await desk.open()
    desk.place.roll("two", arrived=True)
    await desk.turn(is_judged=True)
    assert "patch app-spare" not in desk.place.calls
    assert desk.told()[1] == api.REASON_SPARES_WAITING
    await desk.turn()
    assert "patch app-spare" in desk.place.calls


async def test_spares_in_service_come_out_to_be_rolled(desk: Desk) -> None:
    await desk.open()
    await desk.turn(wanted=4)
    desk.place.roll("two", arrived=True)
    await desk.turn(wanted=4)
    await desk.turn(wanted=4)
    assert desk.serving() == []
    await desk.turn(wanted=4)
    assert "patch app-spare" in desk.place.calls


async def test_target_at_zero_has_no_spares(desk: Desk) -> None:
    await desk.open()
    await desk.turn(wanted=5)
    target = desk.place.deployments["app"]
    target["spec"]["replicas"] = 0
    desk.place.put(target)
    await desk.turn(wanted=5)
    assert desk.serving() == []
    assert desk.told()[1] == api.REASON_NO_SPARES
    assert desk.place.deployments["app-spare"]["spec"]["replicas"] == 0


async def test_scaler_without_spares_asks_nothing_and_says_nothing() -> None:
    desk = Desk(count=0)
    desk.place.calls.clear()
    await desk.turn(wanted=9)
    assert desk.place.calls == []
    assert desk.spares.describe() == (None, [])


async def test_spares_that_are_no_longer_wanted_go(desk: Desk) -> None:
    await desk.open()
    told = desk.told()[0]
    desk.count = 0
    desk.spares = desk.again({**SCALER, "status": {"spares": told}})
    await desk.turn()
    assert desk.place.deployments["app-spare"]["spec"]["replicas"] == 0
    assert desk.told()[1] == api.REASON_NO_SPARES


async def test_spares_that_serve_leave_the_service_before_they_go(desk: Desk) -> None:
    await desk.open()
    await desk.turn(wanted=5)
    assert desk.spares.in_service == 2
    desk.count = 0
    desk.spares = desk.again()
    await desk.spares.learn(is_stopped=False)
    # They hold their connections for as long as they are there.
    assert (desk.spares.in_service, desk.spares.asked_for) == (2, 2)
    await desk.turn(wanted=5)
    assert desk.spares.in_service == 2
    await desk.turn(wanted=3)
    await desk.turn(wanted=3, seconds=SETTLE_SECONDS)
    assert desk.spares.in_service == 0
    await desk.turn(wanted=3)
    assert desk.place.deployments["app-spare"]["spec"]["replicas"] == 0
    assert desk.spares.asked_for == 0


async def test_deployment_that_only_has_the_name_is_no_leftover() -> None:
    desk = Desk(count=0)
    stranger = deployment()
    stranger["metadata"]["name"] = "app-spare"
    desk.place.put(stranger)
    await desk.turn()
    desk.place.calls.clear()
    await desk.turn(seconds=60)
    assert desk.place.calls == []
    assert desk.spares.describe() == (None, [])
    assert stranger["spec"]["replicas"] == 2


async def test_closing_ends_what_runs_beside(desk: Desk) -> None:
    await desk.open()
    await desk.spares.close()
    looking = desk.spares._looking
    assert looking is not None
    await eventually(lambda: looking.done(), 2)
    assert warm_spares.LOOK_SECONDS > 0


async def test_defect_in_looking_after_the_pool_is_said(desk: Desk) -> None:
    desk.place.budgets = [{"metadata": {}, "spec": {"selector": {"matchExpressions": [{}]}}}]
    await desk.turn()
    _, (condition,) = desk.spares.describe()
    assert (condition.status, condition.reason) == (False, api.REASON_SPARES_UNKNOWN)
    assert "KeyError" in condition.message


async def test_operator_that_comes_back_knows_who_serves_before_it_decides(desk: Desk) -> None:
    await desk.open()
    await desk.turn(wanted=5)
    again = desk.again()
    assert (again.in_service, again.able) == (0, 0)
    await again.learn(is_stopped=False)
    assert (again.in_service, again.able) == (2, 2)
    await again.close()


async def test_silent_api_server_holds_the_first_decision_up_for_a_moment_only(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.open()
    again = desk.again()

    async def hang(*_: Any) -> list[dict[str, Any]]:
        await asyncio.sleep(60)
        return []

    monkeypatch.setattr(desk.place, "list_pods", hang)
    monkeypatch.setattr(warm_spares, "LEARN_SECONDS", 0.01)
    await again.learn(is_stopped=False)
    assert again.in_service == 0
    await again.close()


async def test_spares_stay_while_the_stable_window_still_asks_for_them(desk: Desk) -> None:
    await desk.open()
    await desk.turn(wanted=5)
    assert len(desk.serving()) == 2
    # The demand pauses, and no successor has been started.
    await desk.turn(wanted=3, seconds=0.5, lasting=5)
    await desk.turn(wanted=3, seconds=SETTLE_SECONDS + 1, lasting=5)
    assert len(desk.serving()) == 2
    await desk.turn(wanted=3, seconds=0.5, lasting=3)
    await desk.turn(wanted=3, seconds=SETTLE_SECONDS, lasting=3)
    assert desk.serving() == []
