"""Memory of one Deployment: nothing is seen twice, nothing that vanished is forgotten."""

from typing import Any

import pytest

from hailstorm_operator.targets import Sighting, Target, deployment_of_pod
from unit.operator.objects import at, deployment, pod, ready_pod, template


@pytest.fixture
async def target() -> Target:
    """Made inside the loop, because it holds events."""
    return Target("place", "app", Sighting(deployment(template("one")), at(0), live=True))


def sighting(version: str, generation: int, seconds: float = 1, **extra: Any) -> Sighting:
    body = deployment(template(version), generation=generation, **extra)
    return Sighting(body, at(seconds), live=True)


async def test_every_template_is_kept_even_in_quick_succession(target: Target) -> None:
    target.templates.clear()
    for generation, version in ((3, "two"), (4, "three"), (5, "three")):
        target.show_deployment(sighting(version, generation))
    generations = [one.deployment["metadata"]["generation"] for one in target.templates]
    assert generations == [3, 4]


async def test_availability_is_timed_by_the_first_event_that_shows_it(target: Target) -> None:
    rolling = {"updatedReplicas": 1}
    target.show_deployment(sighting("two", 3, 1, status=rolling))
    target.show_deployment(sighting("two", 3, 4))
    target.show_deployment(sighting("two", 3, 9))
    assert target.state_seen.at == at(4)


async def test_deployment_made_anew_under_the_same_name_is_another(target: Target) -> None:
    target.loaded = True
    target.show_pod(pod(), at(1), deleted=False, live=True)
    body = deployment(template("one"))
    body["metadata"]["uid"] = "uid-2"
    target.show_deployment(Sighting(body, at(2), live=True))
    assert (target.loaded, target.pods) == (False, {})


async def test_pod_that_two_listings_miss_is_gone_since_the_first(target: Target) -> None:
    target.show_pod(pod(), at(1), deleted=False, live=True)
    assert target.list_pods([], at(10)) == 0
    assert "gone" not in target.pods["app-h1-a"]
    assert target.list_pods([], at(20)) == 1
    line = target.pods["app-h1-a"]
    assert (line["gone"], line["late"]) == ("2026-11-21T09:00:10Z", ["gone"])


async def test_pod_that_one_listing_missed_is_cleared_by_the_next(target: Target) -> None:
    target.show_pod(pod(), at(1), deleted=False, live=True)
    target.list_pods([], at(10))
    target.list_pods([pod()], at(20))
    assert target.list_pods([], at(30)) == 0


async def test_deletion_seen_by_the_watch_stands_against_an_older_listing(target: Target) -> None:
    target.show_pod(pod(), at(1), deleted=True, live=True)
    gone = target.pods["app-h1-a"]["gone"]
    target.list_pods([pod()], at(2))
    assert target.pods["app-h1-a"]["gone"] == gone


async def test_resumed_pods_keep_their_moments_and_the_missing_are_gone(target: Target) -> None:
    before = [
        {"name": "app-h1-a", "hash": "h1", "created": "2026-11-21T09:00:00.100Z"},
        {"name": "app-h1-b", "hash": "h1", "created": "2026-11-21T09:00:00.200Z"},
    ]
    target.resume_pods(before, [ready_pod(3)], at(60))
    assert target.pods["app-h1-a"]["created"] == "2026-11-21T09:00:00.100Z"
    assert target.pods["app-h1-a"]["ready"] == "2026-11-21T09:00:03Z"
    assert target.pods["app-h1-b"]["late"] == ["gone"]


def test_deployment_of_a_pod_is_read_from_its_owner() -> None:
    assert deployment_of_pod(pod()) == "app"
    assert deployment_of_pod(pod(metadata={"ownerReferences": []})) is None
    job = {"ownerReferences": [{"kind": "Job", "name": "app-h1"}]}
    assert deployment_of_pod(pod(metadata=job)) is None
