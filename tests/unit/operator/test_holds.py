"""Patches of a Deployment: what each writes, and that nothing is left behind."""

from typing import Any

import pytest

from hailstorm_operator import api, holds
from unit.operator.fake_cluster import merge
from unit.operator.objects import deployment, template

HOLDS = ("paused", "minReadySeconds")


def target(**spec: Any) -> dict[str, Any]:
    spec = {"minReadySeconds": 3, "progressDeadlineSeconds": 120, **spec}
    return deployment(template("two"), spec=spec)


def held(by: str, before: dict[str, Any] | None = None) -> dict[str, Any]:
    before = before or target()
    patch = holds.hold_patch(before, "careful", "digest2", by, 60)
    after: dict[str, Any] = merge(before, patch)
    return after


@pytest.mark.parametrize("by", HOLDS)
def test_hold_marks_whose_it_is_and_release_leaves_nothing(by: str) -> None:
    before = target()
    during = held(by, before)
    assert holds.hold_state(during, "careful", "digest2") == "ours"
    assert holds.hold_state(during, "careful", "digest3") == "stale"
    assert holds.held_by(during) == "careful"
    assert merge(during, holds.release_patch(during)) == before


@pytest.mark.parametrize("by", HOLDS)
def test_holding_twice_changes_nothing(by: str) -> None:
    assert held(by, held(by)) == held(by)


def test_min_ready_outlasts_the_hold_and_stays_below_the_deadline() -> None:
    assert held("minReadySeconds")["spec"]["minReadySeconds"] == 90
    tight = held("minReadySeconds", target(progressDeadlineSeconds=70))
    assert tight["spec"]["minReadySeconds"] == 69


def test_hold_for_a_person_takes_the_other_kinds_place() -> None:
    after = held("paused", held("minReadySeconds"))
    assert (after["spec"]["paused"], after["spec"]["minReadySeconds"]) == (True, 3)
    assert not holds.is_held_by_min_ready(after)


def test_applied_manifest_that_shortens_the_hold_is_seen() -> None:
    during = held("minReadySeconds")
    assert not holds.is_short_held(during, 60)
    assert holds.is_short_held(merge(during, {"spec": {"minReadySeconds": 3}}), 60)


def test_value_that_a_user_applies_meanwhile_is_the_one_that_comes_back() -> None:
    applied = merge(held("minReadySeconds"), {"spec": {"minReadySeconds": 7}})
    again = held("minReadySeconds", applied)
    assert again["spec"]["minReadySeconds"] == 90
    assert merge(again, holds.release_patch(again))["spec"]["minReadySeconds"] == 7
    assert merge(applied, holds.release_patch(applied))["spec"]["minReadySeconds"] == 7
    person = merge(applied, holds.hold_patch(applied, "careful", "digest2", "paused", 60))
    assert person["spec"]["minReadySeconds"] == 7


@pytest.mark.parametrize(
    ("seconds", "deadline", "held_then"), [(20, 120, 50), (60, 80, 79), (90, 240, 120)]
)
def test_hold_that_becomes_another_keeps_what_its_owner_had(
    seconds: float, deadline: int, held_then: int
) -> None:
    """The policy's holdSeconds.max or the Deployment's deadline changes during the hold."""
    changed = merge(held("minReadySeconds"), {"spec": {"progressDeadlineSeconds": deadline}})
    assert holds.is_short_held(changed, seconds)
    patch = holds.hold_patch(changed, "careful", "digest2", "minReadySeconds", seconds)
    again = merge(changed, patch)
    assert again["spec"]["minReadySeconds"] == held_then
    assert holds.min_ready_before(again) == 3
    assert merge(again, holds.release_patch(again))["spec"]["minReadySeconds"] == 3


def test_hold_whose_marks_an_undo_has_taken_is_known_by_its_value() -> None:
    during = held("minReadySeconds")
    assert (holds.min_ready_before(during), holds.min_ready_held(during)) == (3, 90)
    assert not holds.has_lost_its_marks(during, 60, 3, 90)
    undone = {**during, "metadata": {**during["metadata"], "annotations": {}}}
    assert holds.hold_state(undone, "careful", "digest2") == "none"
    assert holds.has_lost_its_marks(undone, 60, 3, 90)
    # Whatever the policy asks for by now.
    assert holds.has_lost_its_marks(undone, 20, 3, 90)
    # What stands there is what its owner had: nothing to put back, again and again.
    assert not holds.has_lost_its_marks(undone, 60, 90, 90)
    after = merge(undone, holds.restore_patch(undone, 3))
    assert after["spec"]["minReadySeconds"] == 3
    assert not holds.has_lost_its_marks(after, 60, 3, 90)


def test_states_that_a_user_makes() -> None:
    assert holds.hold_state(target(), "careful", "digest2") == "none"
    assert holds.hold_state(target(paused=True), "careful", "digest2") == "users"
    resumed = merge(held("paused"), {"spec": {"paused": False}})
    assert holds.hold_state(resumed, "careful", "digest2") == "lifted"
    unmarked = merge(
        held("minReadySeconds"), {"metadata": {"annotations": {api.HELD_ANNOTATION: None}}}
    )
    assert holds.hold_state(unmarked, "careful", "digest2") == "lifted"
    assert merge(unmarked, holds.release_patch(unmarked)) == target()


def test_release_leaves_a_users_own_pause() -> None:
    before = target(paused=True)
    assert merge(before, holds.release_patch(before)) == before
    during = held("minReadySeconds", before)
    assert merge(during, holds.release_patch(during)) == before


def test_whose_pause_it_is() -> None:
    assert not holds.is_paused_by_user(target())
    assert holds.is_paused_by_user(target(paused=True))
    assert not holds.is_paused_by_user(held("paused"))
    assert not holds.is_paused_by_user(held("minReadySeconds"))
    assert holds.is_paused_by_user(held("minReadySeconds", target(paused=True)))


def test_rollback_takes_a_users_pause_with_it() -> None:
    during = held("minReadySeconds", target(paused=True))
    after = merge(during, holds.rollback_patch(during, template("one"), "because"))
    assert "paused" not in after["spec"]
    assert after["spec"]["minReadySeconds"] == 3


@pytest.mark.parametrize("by", HOLDS)
def test_rollback_is_one_patch_with_template_and_release(by: str) -> None:
    earlier = template("one")
    earlier["spec"]["containers"][0]["command"] = ["run"]
    kept = {**earlier, "metadata": {**earlier["metadata"], "labels": {"app": "app"}}}
    earlier["metadata"]["labels"] = {"app": "app", api.POD_TEMPLATE_HASH_LABEL: "h1"}
    during = held(by, target(template={**template("two"), "extra": {"only": "new"}}))
    after = merge(during, holds.rollback_patch(during, earlier, "because"))
    assert after["spec"]["template"] == kept
    assert "paused" not in after["spec"]
    assert after["spec"]["minReadySeconds"] == 3
    notes = holds.annotations(after)
    assert notes[api.CHANGE_CAUSE_ANNOTATION] == "because"
    assert api.HELD_ANNOTATION not in notes


def test_every_patch_is_bound_to_what_was_read() -> None:
    during = held("paused")
    for patch in (
        holds.hold_patch(during, "careful", "digest2", "paused", 60),
        holds.release_patch(during),
        holds.rollback_patch(during, template(), "because"),
        holds.failed_status_patch(during, "because", "2026-11-21T09:00:00Z"),
    ):
        assert patch["metadata"]["resourceVersion"] == "2"


def test_failed_condition_keeps_the_others() -> None:
    before = deployment(
        status={"conditions": [{"type": "Available"}, {"type": "Progressing", "reason": "Paused"}]}
    )
    patch = holds.failed_status_patch(before, "taken back", "2026-11-21T09:00:00Z")
    kept, failed = patch["status"]["conditions"]
    assert kept == {"type": "Available"}
    assert (failed["reason"], failed["message"]) == ("ProgressDeadlineExceeded", "taken back")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"c": 4}}),
        ({"list": [1, 2]}, {"list": [2]}),
        ({}, {"new": {"deep": 1}}),
        ({"same": {"x": 1}}, {"same": {"x": 1}}),
    ],
)
def test_merge_patch_makes_the_one_of_the_other(before: Any, after: Any) -> None:
    assert merge(before, holds.merge_patch(before, after)) == after
