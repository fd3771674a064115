"""Pods of Deployments, as watch, own writes and listings show them."""

from typing import Any

from hailstorm_operator import api
from hailstorm_operator.pod_views import PodViews, view_pod
from unit.operator.objects import pod
from unit.operator.spare_place import ready

KEY = ("place", "app")


def body(version: str = "1", **notes: str) -> dict[str, Any]:
    made = ready("app-0", "app", {"app": "app"}, "10.0.0.1", **notes)
    made["metadata"]["resourceVersion"] = version
    return made


def test_pod_is_cut_down() -> None:
    view = view_pod(body(**{api.DELETION_COST_ANNOTATION: "7", api.TEMPLATE_ANNOTATION: "d"}))
    assert (view.name, view.address, view.node) == ("app-0", "10.0.0.1", "node-1")
    assert (view.ready, view.leaving, view.template, view.deletion_cost) == (True, False, "d", "7")


def test_pod_that_ends_is_not_ready() -> None:
    ending = body()
    ending["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert (view_pod(ending).ready, view_pod(ending).leaving) == (False, True)
    over = body()
    over["status"]["phase"] = "Failed"
    assert view_pod(over).leaving
    assert view_pod(pod()).address == ""


def test_pod_tells_since_when_it_is_not_ready() -> None:
    assert view_pod(body()).unready_since == ""
    waiting = body()
    waiting["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    waiting["status"]["conditions"] = [{"type": "PodScheduled", "status": "False"}]
    assert view_pod(waiting).unready_since == "2026-01-01T00:00:00Z"
    # Not since it was made: it has served meanwhile.
    waiting["status"]["conditions"] = [
        {"type": "Ready", "status": "False", "lastTransitionTime": "2026-01-01T00:05:00Z"}
    ]
    assert view_pod(waiting).unready_since == "2026-01-01T00:05:00Z"


def test_event_older_than_our_own_write_is_passed_over() -> None:
    pods = PodViews()
    pods.show(body("5", **{api.DELETION_COST_ANNOTATION: "1"}))
    pods.show(body("4"))
    assert pods.of(KEY)[0].deletion_cost == "1"
    pods.show(body("6"))
    assert pods.of(KEY)[0].deletion_cost == ""


def test_deleted_pod_is_forgotten_and_strangers_are_not_kept() -> None:
    pods = PodViews()
    pods.show(body())
    pods.show(body("2"), deleted=True)
    stray = body()
    stray["metadata"]["ownerReferences"] = []
    pods.show(stray)
    assert pods.of(KEY) == []


def test_listing_replaces_what_was_known() -> None:
    pods = PodViews()
    pods.show(body())
    other = ready("other-0", "other", {}, "10.0.0.9")
    pods.replace(KEY, [other])
    assert pods.of(KEY) == []
