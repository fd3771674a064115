"""What started a rollout, told before and after the deployment controller has acted."""

from typing import Any

from hailstorm_operator import api
from hailstorm_operator.templates import find_changes
from hailstorm_operator.triggers import (
    describe_trigger,
    find_writer,
    identify_attempt,
    missed_revisions,
)
from unit.operator.objects import at, deployment, revision, stamp, template

ONE, TWO, THREE = template("one"), template("two"), template("three")


def test_first_rollout_is_initial() -> None:
    attempt = identify_attempt(deployment(ONE, generation=1, revision=1), [])
    assert (attempt.kind, attempt.revision) == ("initial", 1)


def test_revision_is_foretold_before_the_controller_has_acted() -> None:
    attempt = identify_attempt(deployment(TWO, revision=1), [revision(1, ONE)])
    assert (attempt.kind, attempt.revision) == ("rollout", 2)


def test_revision_is_the_same_after_the_controller_has_acted() -> None:
    attempt = identify_attempt(deployment(TWO, revision=2), [revision(1, ONE), revision(2, TWO)])
    assert (attempt.kind, attempt.revision) == ("rollout", 2)


def test_rollback_is_known_before_the_controller_has_acted() -> None:
    attempt = identify_attempt(deployment(ONE, revision=2), [revision(1, ONE), revision(2, TWO)])
    assert attempt.kind == "rollback"
    assert (attempt.revision, attempt.rollback_of, attempt.rollback_to) == (3, 2, 1)


def test_rollback_is_the_same_after_the_controller_has_acted() -> None:
    history = [revision(2, TWO), revision(3, ONE, 1)]
    attempt = identify_attempt(deployment(ONE, revision=3), history)
    assert attempt.kind == "rollback"
    assert (attempt.revision, attempt.rollback_of, attempt.rollback_to) == (3, 2, 1)


def test_first_of_two_quick_templates_is_no_rollback() -> None:
    """The second has its ReplicaSet already when the first is looked at."""
    history = [revision(1, ONE), revision(2, TWO), revision(3, THREE)]
    attempt = identify_attempt(deployment(TWO, revision=1), history)
    assert (attempt.kind, attempt.revision) == ("rollout", 2)


def test_first_template_that_is_looked_at_late_is_no_rollback() -> None:
    """Seen in a cluster: a second template came before the first one's record was opened."""
    history = [revision(1, ONE), revision(2, TWO)]
    attempt = identify_attempt(deployment(ONE, revision=1), history)
    assert (attempt.kind, attempt.revision, attempt.changes) == (api.TRIGGER_INITIAL, 1, ())
    unstamped = deployment(ONE)
    unstamped["metadata"]["generation"] = 1
    unstamped["metadata"].get("annotations", {}).pop(api.REVISION_ANNOTATION, None)
    attempt = identify_attempt(unstamped, history)
    assert (attempt.kind, attempt.revision, attempt.changes) == (api.TRIGGER_INITIAL, 1, ())


def test_restart_is_told_from_a_rollout() -> None:
    stamped = template("one", **{api.RESTARTED_AT_ANNOTATION: "now"})
    attempt = identify_attempt(deployment(stamped, revision=1), [revision(1, ONE)])
    assert attempt.kind == "restart"


def test_undoing_a_restart_is_a_rollback() -> None:
    stamped = template("one", **{api.RESTARTED_AT_ANNOTATION: "now"})
    history = [revision(1, ONE), revision(2, stamped)]
    assert identify_attempt(deployment(ONE, revision=2), history).kind == "rollback"


def test_missed_revisions_are_those_between() -> None:
    history = [revision(1, ONE), revision(2, TWO), revision(3, THREE)]
    current = identify_attempt(deployment(THREE, revision=3), history).digest
    assert [one.number for one in missed_revisions(1, history, current)] == [2]


def managed(manager: str, seconds: float, fields: dict[str, Any]) -> dict[str, Any]:
    return {
        "manager": manager,
        "time": stamp(seconds),
        "fieldsV1": {"f:spec": {"f:template": {"f:spec": fields}}},
    }


VARIABLE: dict[str, Any] = {
    "f:containers": {
        'k:{"name":"main"}': {"f:env": {'k:{"name":"VERSION"}': {".": {}, "f:value": {}}}}
    }
}


def manager(*arguments: Any) -> str | None:
    writer = find_writer(*arguments)
    return writer.manager if writer else None


def test_manager_is_who_owns_the_changed_field() -> None:
    changes = find_changes(ONE, TWO)
    entries = [managed("kubectl-set", 0, VARIABLE), managed("helm", 5, {"f:restartPolicy": {}})]
    assert manager(entries, changes, at(0)) == "kubectl-set"


def test_manager_of_a_removal_is_who_wrote_at_that_time() -> None:
    changes = find_changes(template(note="x"), ONE)
    entries = [managed("helm", 0, VARIABLE)]
    assert manager(entries, changes, at(1)) == "helm"
    assert manager(entries, changes, at(60)) is None
    assert manager(entries, changes, None) is None


def test_manager_of_the_status_is_not_taken() -> None:
    entry = {**managed("kube-controller-manager", 9, VARIABLE), "subresource": "status"}
    assert manager([entry], find_changes(ONE, TWO), at(9)) is None


def described(cause: str, cause_before: str) -> dict[str, Any]:
    body = deployment(TWO, revision=1)
    body["metadata"]["annotations"][api.CHANGE_CAUSE_ANNOTATION] = cause
    history = [revision(1, ONE, cause=cause_before)]
    return describe_trigger(body, identify_attempt(body, history), at(0))


def test_cause_is_told_when_it_is_new() -> None:
    assert described("fix the map", "first")["cause"] == "fix the map"


def test_cause_that_was_only_left_standing_is_not_told() -> None:
    assert "cause" not in described("first", "first")
