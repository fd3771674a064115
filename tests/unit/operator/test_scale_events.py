"""A scale-up taken apart, from watch events and the recorder's seconds."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hailstorm_operator.scale_events import (
    KEPT,
    KEPT_OF_SPARES_ALONE,
    MOST_PODS,
    OPEN_SECONDS,
    ScaleEvents,
)
from hailstorm_operator.spares import Entry
from hailstorm_operator.timestamps import with_milliseconds

START = datetime(2026, 11, 26, 5, 0, 0, tzinfo=UTC)


def stamp(seconds: float) -> str:
    return (START + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def pod(name: str, created: float, **moments: float) -> dict[str, Any]:
    kinds = {"scheduled": "PodScheduled", "ready": "Ready"}
    conditions = [
        {"type": kinds[moment], "status": "True", "lastTransitionTime": stamp(at)}
        for moment, at in moments.items()
        if moment in kinds
    ]
    status: dict[str, Any] = {"conditions": conditions, "podIP": f"10.0.0.{name[-1]}"}
    if "started" in moments:
        running = {"running": {"startedAt": stamp(moments["started"])}}
        status["containerStatuses"] = [{"state": running, "restartCount": 0}]
    return {"metadata": {"name": name, "creationTimestamp": stamp(created)}, "status": status}


def begun(at: float = 0.2, before: int = 2, after: int = 4) -> ScaleEvents:
    events = ScaleEvents()
    events.begin(START.timestamp() + at, before, after, 0.3, 0.02, 0.012)
    return events


def see(events: ScaleEvents, at: float, body: dict[str, Any]) -> None:
    events.show_pod(body, START + timedelta(seconds=at))


def second(at: int, **counts: int) -> dict[str, Any]:
    rows = [{"address": f"10.0.0.{one[-1]}:50051", "count": count} for one, count in counts.items()]
    rows.append({"address": "", "count": 3})
    return {"at": int(START.timestamp()) + at, "rows": rows}


def test_own_parts_are_in_milliseconds() -> None:
    (event,) = begun().describe()
    assert (event["from"], event["to"], event["at"]) == (2, 4, "2026-11-26T05:00:00.200Z")
    own = [event[f"{part}Milliseconds"] for part in ("signal", "decision", "write")]
    assert own == [300.0, 20.0, 12.0]
    assert (event["pods"], event["seconds"]) == ([], {})


def test_moments_of_the_new_pods_are_taken_from_the_watch() -> None:
    events = begun()
    see(events, 0.3, pod("app-1", 0))
    see(events, 0.4, pod("app-2", 0))
    see(events, 6.5, pod("app-1", 0, scheduled=0, started=2, ready=6))
    assert "ready" not in events.describe()[0]["seconds"]
    see(events, 9.7, pod("app-2", 0, scheduled=1, started=3, ready=9))
    (event,) = events.describe()
    assert [one["name"] for one in event["pods"]] == ["app-1", "app-2"]
    # Of the slowest, after the decision; a stamp of the same second may lie before it.
    assert event["seconds"] == {"created": 0.2, "scheduled": 0.8, "started": 2.8, "ready": 9.5}


def enter(events: ScaleEvents, decided: float, labelled: float, *names: str) -> None:
    entry = Entry(
        with_milliseconds(START + timedelta(seconds=labelled)),
        {name: f"10.0.1.{name[-1]}" for name in names},
    )
    events.enter(START.timestamp() + decided, 4, entry, 0.3, 0.02)


def in_slice(events: ScaleEvents, at: float, *addresses: str) -> None:
    events.show_endpoints(addresses, START + timedelta(seconds=at))


def test_spares_of_a_scale_up_are_in_service_when_the_slice_has_them_all() -> None:
    events = begun()
    enter(events, 0.2, 0.25, "spare-1", "spare-2")
    in_slice(events, 0.4, "10.0.0.9", "10.0.1.1")
    (event,) = events.describe()
    assert event["spares"][0]["inService"] == "2026-11-26T05:00:00.400Z"
    assert event["spares"][1] == {"name": "spare-2", "labelled": "2026-11-26T05:00:00.250Z"}
    assert event["seconds"] == {}
    in_slice(events, 0.7, "10.0.1.1", "10.0.1.2")
    in_slice(events, 9.0, "10.0.1.1", "10.0.1.2")
    (event,) = events.describe()
    assert (event["from"], event["to"], event["seconds"]) == (2, 4, {"spareInService": 0.5})


def test_spares_that_were_quicker_than_the_write_are_of_the_same_event() -> None:
    events = ScaleEvents()
    enter(events, 0.2, 0.22, "spare-1")
    events.begin(START.timestamp() + 0.2, 4, 6, 0.3, 0.02, 0.09)
    in_slice(events, 0.5, "10.0.1.1")
    (event,) = events.describe()
    assert (event["from"], event["to"], event["writeMilliseconds"]) == (4, 6, 90.0)
    assert event["seconds"] == {"spareInService": 0.3}


def test_step_that_spares_serve_alone_is_an_event_that_takes_no_pods() -> None:
    events = begun(before=2, after=4)
    enter(events, 8.2, 8.45, "spare-1")
    see(events, 8.5, pod("app-1", 8))
    first, alone = events.describe()
    assert (first["spares"], len(first["pods"])) == ([], 1)
    assert (alone["from"], alone["to"], alone["pods"]) == (4, 4, [])
    assert [alone[f"{one}Milliseconds"] for one in ("signal", "decision", "write")] == [
        300.0,
        20.0,
        250.0,
    ]
    in_slice(events, 8.6, "10.0.1.1")
    assert events.describe()[1]["seconds"] == {"spareInService": 0.4}


def test_steps_of_spares_alone_do_not_push_out_how_long_pods_took() -> None:
    events = begun(before=2, after=3)
    see(events, 7.5, pod("app-3", 0, ready=6))
    for number in range(3 * KEPT):
        enter(events, 10.0 + number, 10.1 + number, "spare-1")
    kept = events.describe()
    assert [one["from"] == one["to"] for one in kept] == [False] + KEPT_OF_SPARES_ALONE * [True]
    assert events.startup_seconds() == 6.0


def test_spare_that_is_seen_too_late_or_after_a_restart_stays_unknown() -> None:
    events = begun()
    enter(events, 0.2, 0.25, "spare-1")
    again = ScaleEvents(events.describe())
    assert again.describe() == events.describe()
    in_slice(again, 5.0, "10.0.1.1")
    in_slice(events, OPEN_SECONDS + 1, "10.0.1.1")
    for one in (events, again):
        assert "inService" not in one.describe()[0]["spares"][0]


def test_pods_that_were_there_are_not_the_events() -> None:
    events = ScaleEvents()
    see(events, -50.0, pod("app-1", -50))
    events.begin(START.timestamp(), 1, 2, 0.0, 0.0, 0.0)
    see(events, 1.0, pod("app-1", -50, ready=1))
    see(events, 1.0, pod("app-2", -30))
    see(events, OPEN_SECONDS + 2, pod("app-3", OPEN_SECONDS + 1))
    assert events.describe()[0]["pods"] == []


def test_event_takes_no_more_pods_than_it_asked_for() -> None:
    events = begun(before=2, after=3)
    see(events, 0.3, pod("app-1", 0))
    see(events, 0.4, pod("app-2", 0))
    assert len(events.describe()[0]["pods"]) == 1
    many = begun(before=2, after=60)
    for number in range(20):
        see(many, 0.3, pod(f"app-{number}", 0))
    assert len(many.describe()[0]["pods"]) == MOST_PODS


def test_pod_of_a_second_step_belongs_to_the_event_with_room() -> None:
    events = begun(before=2, after=3)
    see(events, 0.3, pod("app-1", 0))
    events.begin(START.timestamp() + 5, 3, 4, 0.0, 0.0, 0.0)
    see(events, 5.5, pod("app-2", 5))
    assert [len(one["pods"]) for one in events.describe()] == [1, 1]


def test_name_that_is_used_again_is_a_new_pod() -> None:
    events = ScaleEvents()
    see(events, -50.0, pod("app-1", -50))
    events.show_pod(pod("app-1", -50), START, deleted=True)
    events.begin(START.timestamp(), 1, 2, 0.0, 0.0, 0.0)
    see(events, 1.0, pod("app-1", 1))
    assert len(events.describe()[0]["pods"]) == 1


def test_first_call_and_fair_share_are_the_recorders() -> None:
    events = begun(before=2, after=3)
    see(events, 7.5, pod("app-3", 0, ready=6))
    assert events.asks_from(START.timestamp() + 8) == START.timestamp() + 4
    events.show_calls([second(5, a1=50, a2=50), second(7, a1=40, a2=40, a3=4)])
    (event,) = events.describe()
    assert event["pods"][0]["firstCall"] == "2026-11-26T05:00:07.000Z"
    assert "fairShare" not in event["pods"][0]
    events.show_calls([second(8, a1=35, a2=35, a3=20), second(9, a1=34, a2=34, a3=29)])
    (event,) = events.describe()
    assert event["seconds"]["firstCall"] == 6.8
    assert event["seconds"]["fairShare"] == 8.8
    assert events.asks_from(START.timestamp() + 10) is None


def test_recorder_is_not_asked_for_ever() -> None:
    events = begun(before=2, after=3)
    see(events, 6.1, pod("app-3", 0, ready=6))
    assert events.asks_from(START.timestamp() + OPEN_SECONDS + 1) is None


def test_start_up_time_is_the_median_of_what_was_seen() -> None:
    events = begun(before=1, after=4)
    assert events.startup_seconds() == 0.0
    for number, took in enumerate((4, 6, 20)):
        see(events, 30.0, pod(f"app-{number}", 0, ready=took))
    assert events.startup_seconds() == 6.0


def test_events_survive_a_restart_and_are_bounded() -> None:
    events = begun(before=2, after=3)
    see(events, 6.1, pod("app-3", 0, ready=6))
    again = ScaleEvents(events.describe())
    assert again.describe() == events.describe()
    see(again, 8.0, pod("app-3", 0, scheduled=1, ready=6))
    assert "scheduled" in again.describe()[0]["pods"][0]
    for number in range(KEPT + 3):
        again.begin(START.timestamp() + 100 + number, 1, 2, 0.0, 0.0, 0.0)
    assert len(again.describe()) == KEPT
    assert ScaleEvents([{"at": "yesterday"}]).describe() == []


def test_pod_that_waited_for_room_says_nothing_of_what_a_start_takes() -> None:
    events = begun()
    see(events, 4.0, pod("app-1", 0.0, ready=4.0))
    see(events, 3700.0, pod("app-2", 0.0, ready=3700.0))
    assert events.startup_seconds() == 4.0
