"""Pods' lives from raw events, and failures put to them."""

from collections.abc import Callable
from typing import Any

import pytest

from hailstorm_drills.attribution import attribute, buckets, share
from hailstorm_drills.edge_log import EdgeLine, parse
from hailstorm_drills.phases import Interval, PhaseLog
from hailstorm_drills.pods import PodLife, pod_at, read_lives
from hailstorm_drills.watching import decode_stream
from hailstorm_loadtests.history import Call


def event(
    at: float,
    kind: str = "MODIFIED",
    ready: bool = False,
    running: bool = False,
    deleted: bool = False,
    ended: bool = False,
    ip: str = "10.0.0.9",
    uid: str = "u1",
) -> dict[str, Any]:
    state = {"terminated": {}} if ended else {"running": {}} if running else {"waiting": {}}
    metadata: dict[str, Any] = {
        "name": "trip-abc-1",
        "uid": uid,
        "labels": {
            "app.kubernetes.io/component": "trip",
            "app.kubernetes.io/version": "2",
            "pod-template-hash": "abc",
        },
    }
    if deleted:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return {
        "at": at,
        "type": kind,
        "object": {
            "metadata": metadata,
            "spec": {"nodeName": "worker"},
            "status": {
                "podIP": ip,
                "conditions": [{"type": "Ready", "status": str(ready)}],
                "containerStatuses": [{"state": state}],
            },
        },
    }


LIFE = [
    event(1, "ADDED", ip=""),
    event(2, running=True),
    event(3, running=True, ready=True),
    event(5, running=True, ready=False),
    event(6, running=True, ready=True),
    event(8, running=True, ready=True, deleted=True),
    event(9, running=True, ready=False, deleted=True),
    event(10, deleted=True, ended=True),
    event(11, "DELETED", deleted=True, ended=True),
]


def test_life_is_read_from_events() -> None:
    (life,) = read_lives(LIFE)
    assert life.changes == (
        (1, "pending"),
        (2, "starting"),
        (3, "ready"),
        (5, "unready"),
        (6, "ready"),
        (8, "draining"),
        (10, "gone"),
    )
    assert (life.component, life.version, life.ip, life.node) == ("trip", "2", "10.0.0.9", "worker")
    assert life.is_gone
    assert [life.phase_at(t) for t in (0.5, 4, 5.5, 8, 99)] == [
        None,
        "ready",
        "unready",
        "draining",
        "gone",
    ]
    assert life.spans(end=20)[-1] == (8, 10, "draining")


def test_spare_is_no_pod_of_its_service_whatever_labels_it_has() -> None:
    life = [event(1, "ADDED"), event(2, running=True, ready=True), event(3, ready=True)]
    for each, component in zip(life, ("trip-spare", "trip", "trip-spare"), strict=True):
        labels = each["object"]["metadata"]["labels"]
        labels |= {"app.kubernetes.io/component": component, "hailstorm.dev/spare-of": "trip"}
    for seen in (life, life[:2]):
        assert [found.component for found in read_lives(seen)] == ["trip-spare"]


def test_pod_that_comes_back_under_its_name_is_another_life() -> None:
    lives = read_lives([*LIFE, event(12, "ADDED", uid="u2")])
    assert [life.is_gone for life in lives] == [True, False]


def test_address_belongs_to_whoever_has_it_at_that_moment(life: Callable[..., PodLife]) -> None:
    first = life("first", "trip", "10.0.0.1", (0.0, "ready"), (10.0, "gone"))
    second = life("second", "dispatch", "10.0.0.1", (20.0, "pending"))
    lives = [first, second]
    assert pod_at(lives, "10.0.0.1", 5.0) is first
    assert pod_at(lives, "10.0.0.1", 11.0) is first
    assert pod_at(lives, "10.0.0.1", 21.0) is second
    assert pod_at(lives, "10.0.0.2", 5.0) is None
    assert pod_at(lives, "10.0.0.1", -5.0) is None


def edge_line(request_id: str, upstream: str | None, **changes: Any) -> EdgeLine:
    values: dict[str, Any] = {
        "at": 81.0,
        "is_internal": True,
        "method": "OfferTrip",
        "grpc_status": "UNAVAILABLE",
        "flags": "UC",
        "attempts": 1,
        "upstream": upstream,
        "request_id": request_id,
    }
    return EdgeLine(**{**values, **changes})


INTERVALS = {"inject": Interval(60.0, 70.0), "hold": Interval(70.0, 100.0)}


def test_failures_are_put_to_pod_and_phase(
    call: Callable[..., Call], life: Callable[..., PodLife]
) -> None:
    trip = life("trip-old", "trip", "10.0.0.1", (0.0, "ready"), (80.0, "draining"), (84.0, "gone"))
    dispatch = life("dispatch-1", "dispatch", "10.0.0.5", (0.0, "ready"))
    bad = {"code": "UNAVAILABLE", "outcome": "fail"}
    calls = [
        call(50.0),
        call(80.5, **bad),
        call(81.0, **bad, upstream="10.0.0.5:50051", request_id="inner"),
        call(90.0, **bad, upstream=None, request_id="known to the edge"),
        call(91.0, **bad, upstream=None, request_id="known to nobody"),
        call(92.0, **bad, upstream="10.9.9.9:1"),
    ]
    lines = [
        edge_line("inner", "10.0.0.1:50051"),
        edge_line("inner", "10.0.0.5:50051", is_internal=False),
        edge_line("known to the edge", "10.0.0.1:50051", is_internal=False),
        edge_line("known to nobody", None, is_internal=False),
    ]
    found = attribute(calls, [trip, dispatch], lines, INTERVALS)
    assert [(f.pod, f.pod_phase, f.evidence) for f in found] == [
        ("trip-old", "draining", "answer"),
        # Dispatch answered, but it was trip that broke.
        ("trip-old", "draining", "edge log"),
        ("trip-old", "gone", "edge log"),
        ("unattributed", "unattributed", "nothing"),
        ("unattributed", "unattributed", "nothing"),
    ]
    assert found[0].seconds_since_sigterm == pytest.approx(0.52)
    assert found[0].drill_phase == "hold"
    assert share(found) == pytest.approx(0.6)
    assert buckets(found)[0] == (("trip", "draining", "UNAVAILABLE", "hold"), 2)
    assert share([]) is None


def test_edge_log_is_read_and_damage_is_counted() -> None:
    line = (
        '{"message":"call","logger":"edge.internal","ts":"2026-01-01T00:00:01.500Z",'
        '"method":"/hailstorm.trip.v1.TripService/OfferTrip","grpc_status":"DeadlineExceeded",'
        '"flags":"UT","attempts":2,"upstream":"10.0.0.1:50051","request_id":"r","duration_ms":250}'
    )
    found, damaged = parse([line, "[warning] envoy says something", line[:-30]])
    assert damaged == 1
    (read,) = found
    assert (read.method, read.grpc_status, read.attempts) == ("OfferTrip", "DEADLINE_EXCEEDED", 2)
    assert read.is_internal
    assert read.has_failed
    assert read.at == pytest.approx(1767225601.75)


def test_stream_of_json_is_cut_anywhere() -> None:
    text = '{"a": "ü}{"}\n{"b": [1,\n2]}{"c": 3}'.encode()
    for size in (1, 2, 5, 100):
        chunks = [text[i : i + size] for i in range(0, len(text), size)] + [b""]
        left = iter(chunks)
        found = list(decode_stream(lambda _, left=left: next(left)))
        assert found == [{"a": "ü}{"}, {"b": [1, 2]}, {"c": 3}]


def test_phases_keep_their_order_and_times() -> None:
    times = iter([1.0, 5.0, 6.0, 9.0])
    log = PhaseLog(lambda: next(times))
    with log.phase("baseline"):
        pass
    with pytest.raises(RuntimeError, match="broke"), log.phase("inject"):
        raise RuntimeError("broke")
    assert log.intervals == {"baseline": Interval(1.0, 5.0), "inject": Interval(6.0, 9.0)}
    with pytest.raises(ValueError, match="cannot follow"), log.phase("baseline"):
        pass
    with pytest.raises(ValueError, match="no phase"), log.phase("party"):
        pass
