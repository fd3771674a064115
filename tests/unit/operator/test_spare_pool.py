"""The spares' Deployment is kept in step, and no more than that."""

from typing import Any

import pytest

from hailstorm_operator import api
from hailstorm_operator.spare_pool import SparePool, settled
from hailstorm_operator.spare_service import services_of
from hailstorm_operator.specs import SparesSpec
from unit.operator.spare_place import SCALER, Place


@pytest.fixture
def place() -> Any:
    return Place()


def pool_of(place: Any, count: int = 2, service: str = "") -> SparePool:
    return SparePool(SCALER, "app", SparesSpec(count, service), place)


async def sync(pool: SparePool, *, is_free: bool = True, is_stopped: bool = False) -> None:
    await pool.sync(is_free=is_free, is_stopped=is_stopped)


def spares(place: Any) -> dict[str, Any]:
    found: dict[str, Any] = place.deployments["app-spare"]
    return found


def writes(place: Any) -> list[str]:
    return [call for call in place.calls if call.startswith(("create", "patch"))]


async def test_pool_is_made_once_and_then_left_alone(place: Any) -> None:
    pool = pool_of(place)
    await sync(pool)
    assert spares(place)["spec"]["replicas"] == 2
    await sync(pool)
    await sync(pool)
    assert writes(place) == ["create"]
    assert pool.facts.is_in_step
    assert pool.facts.selector == {"app": "app"}
    assert pool.facts.idle == {"app": "app-spare"}


async def test_pool_is_not_made_while_the_target_rolls(place: Any) -> None:
    place.roll("two", arrived=False)
    await sync(pool_of(place))
    assert writes(place) == []


async def test_new_template_reaches_spares_after_the_target(place: Any) -> None:
    pool = pool_of(place)
    await sync(pool)
    before = pool.facts.template
    place.roll("two", arrived=False)
    await sync(pool)
    assert writes(place) == ["create"]
    assert pool.facts.template == before, "what is promoted is what spares should have"
    place.roll("two", arrived=True)
    await sync(pool)
    assert writes(place) == ["create", "patch app-spare"]
    (container,) = spares(place)["spec"]["template"]["spec"]["containers"]
    assert container["env"] == [{"name": "VERSION", "value": "two"}]


async def test_spares_in_service_are_not_rolled(place: Any) -> None:
    pool = pool_of(place)
    await sync(pool)
    place.roll("two", arrived=True)
    await sync(pool, is_free=False)
    assert writes(place) == ["create"]
    assert not pool.facts.is_in_step


@pytest.mark.parametrize(
    "change",
    [
        {"metadata": {"annotations": {api.HELD_ANNOTATION: "careful/digest"}}},
        {"spec": {"paused": True}},
        {"status": {"observedGeneration": 1}},
        {"status": {"updatedReplicas": 1}},
    ],
)
def test_target_is_not_settled_while_somebody_holds_or_rolls_it(
    place: Any, change: dict[str, Any]
) -> None:
    target = place.deployments["app"]
    assert settled(target)
    for part, fields in change.items():
        target[part] |= fields
    assert not settled(target)


async def test_pool_grows_at_once_and_shrinks_when_nobody_serves(place: Any) -> None:
    await sync(pool_of(place, 2))
    await sync(pool_of(place, 3), is_free=False)
    assert spares(place)["spec"]["replicas"] == 3
    await sync(pool_of(place, 1), is_free=False)
    assert spares(place)["spec"]["replicas"] == 3
    await sync(pool_of(place, 1))
    assert spares(place)["spec"]["replicas"] == 1


async def test_stopped_target_has_no_spares(place: Any) -> None:
    pool = pool_of(place)
    await sync(pool)
    await sync(pool, is_free=False, is_stopped=True)
    assert spares(place)["spec"]["replicas"] == 0
    await sync(pool)
    assert spares(place)["spec"]["replicas"] == 2


async def test_pool_that_is_no_longer_wanted_is_emptied(place: Any) -> None:
    await sync(pool_of(place))
    await sync(pool_of(place, 0))
    assert spares(place)["spec"]["replicas"] == 0
    assert "create" in place.calls, "nothing is deleted, the operator has no right to"


async def test_spares_that_serve_are_known_after_their_count_became_zero(place: Any) -> None:
    await sync(pool_of(place))
    pool = pool_of(place, 0)
    await sync(pool, is_free=False)
    assert spares(place)["spec"]["replicas"] == 2
    # By these it is seen who serves, and they are labelled out.
    assert (pool.facts.selector, pool.facts.idle) == ({"app": "app"}, {"app": "app-spare"})
    await sync(pool)
    assert spares(place)["spec"]["replicas"] == 0
    assert pool.facts.selector == {}


async def test_somebody_elses_deployment_is_left_alone(place: Any) -> None:
    await sync(pool_of(place))
    spares(place)["metadata"]["ownerReferences"] = []
    pool = pool_of(place, 5)
    await sync(pool)
    assert pool.facts.problem is not None
    assert pool.facts.problem[0] == api.REASON_SPARE_NAME_TAKEN
    assert spares(place)["spec"]["replicas"] == 2


async def test_missing_service_is_said_and_nothing_is_made(place: Any) -> None:
    place.services = []
    pool = pool_of(place)
    await sync(pool)
    assert pool.facts.problem is not None
    assert pool.facts.problem[0] == api.REASON_NO_SERVICE
    assert writes(place) == []


async def test_service_that_goes_away_leaves_what_is_known(place: Any) -> None:
    pool = pool_of(place)
    await sync(pool)
    place.services = []
    await sync(pool)
    assert pool.facts.problem is not None
    assert pool.facts.selector == {"app": "app"}


async def test_budget_that_counts_spares_is_named(place: Any) -> None:
    place.budgets = [
        {"metadata": {"name": "pdb"}, "spec": {"selector": {"matchLabels": {"app": "app"}}}}
    ]
    pool = pool_of(place)
    await sync(pool)
    assert pool.facts.budgets == ("pdb",)


async def test_idle_spares_are_behind_no_service_and_serve_behind_the_named_one(
    place: Any,
) -> None:
    """They once stayed behind every Service but the named one, and were called while idle."""
    labels = {"app": "app", "team": "shop", "tier": "web"}
    place.deployments["app"]["spec"]["template"]["metadata"]["labels"] = labels
    place.services = [
        {"metadata": {"name": name}, "spec": {"selector": selector}}
        for name, selector in (
            ("app", {"app": "app"}),
            ("all", {"team": "shop"}),
            ("web", {"tier": "web", "team": "shop"}),
            # Its endpoints are somebody's own writing.
            ("none", None),
        )
    ]
    pool = pool_of(place, service="app")
    await sync(pool)
    idle = spares(place)["spec"]["template"]["metadata"]["labels"]
    assert services_of(place.services, idle) == []
    assert pool.facts.idle == {"app": "app-spare"}
    serving = services_of(place.services, {**idle, **pool.facts.selector})
    assert [one.name for one in serving] == ["app"]


async def test_budget_without_a_selector_counts_nobody_and_is_no_obstacle(place: Any) -> None:
    """It once ended every look at the pool, and no spare was ever made."""
    place.budgets = [{"metadata": {"name": "pdb"}, "spec": {"maxUnavailable": 1}}]
    pool = pool_of(place)
    await sync(pool)
    assert spares(place)["spec"]["replicas"] == 2
    assert pool.facts.budgets == ()
