"""The history that is loaded: the same again, and such as the service itself would make."""

import collections
import datetime as dt
import functools
import itertools
import random

import pytest

from hailstorm.trip.finished import Step, course_of
from hailstorm.trip.states import FINAL, LIVE, TABLE, Move, State
from hailstorm_benchmarks.cities import CITIES, city_riders, zipf
from hailstorm_benchmarks.history import (
    EVENT_COLUMNS,
    KEY_AGE,
    NULL,
    RECORD_COLUMNS,
    TRIP_COLUMNS,
    UNTOLD_AGE,
    Lines,
    Plan,
    riders,
    trips,
)

PLAN = Plan(2_000, 300, 200, 1.0, dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
SAME = ("version", "move", "state", "driver_id", "offer_id", "offer_expires_at", "end_reason")


@functools.cache
def made() -> tuple[Lines, ...]:
    return tuple(trips(PLAN))


def rows(lines: list[str], columns: tuple[str, ...]) -> list[dict[str, str]]:
    return [dict(zip(columns, line[:-1].split("\t"), strict=True)) for line in lines]


def test_same_seed_makes_the_same_trips() -> None:
    assert tuple(trips(PLAN)) == made()


def test_every_history_follows_the_table_of_states() -> None:
    for lines in made():
        (trip,) = rows([lines.trip], TRIP_COLUMNS)
        events = rows(list(lines.events), EVENT_COLUMNS)
        assert [event["version"] for event in events] == [
            str(number) for number in range(1, len(events) + 1)
        ]
        for before, after in itertools.pairwise(events):
            assert TABLE[State(before["state"]), Move(after["move"])] == after["state"]
            assert before["occurred_at"] < after["occurred_at"]
        last = events[-1]
        assert [trip[name] for name in SAME] == [last[name] for name in SAME]
        assert trip["requested_at"] == events[0]["occurred_at"]
        for event in events:
            # What the schema asks for: an offer says which, to whom and until when.
            is_offer = event["state"] == State.OFFERED
            told = [event[name] != NULL for name in ("offer_id", "offer_expires_at")]
            assert told == [is_offer, is_offer]
            assert (event["driver_id"] != NULL) == (
                event["state"] not in ("REQUESTED", "UNFULFILLED")
            )


def test_relays_have_a_minute_before_them_and_no_more() -> None:
    since = (PLAN.until - UNTOLD_AGE).isoformat()
    events = rows([line for lines in made() for line in lines.events], EVENT_COLUMNS)
    untold = [event for event in events if event["published_at"] == NULL]
    assert untold == [event for event in events if event["occurred_at"] > since]
    assert len({event["trip_id"] for event in untold}) > 50
    assert len(untold) < len(events) / 10


def test_trips_under_way_are_in_every_state_that_somebody_looks_for() -> None:
    found = rows([lines.trip for lines in made()], TRIP_COLUMNS)
    live = [trip for trip in found if State(trip["state"]) not in FINAL]
    assert len(live) == PLAN.live
    # As many as their time in it: 45, 15, 35, 150 and 480 of 725 seconds.
    states = collections.Counter(trip["state"] for trip in live)
    assert states == {
        "REQUESTED": 12, "OFFERED": 4, "MATCHED": 10, "ARRIVING": 41, "IN_PROGRESS": 133
    }  # fmt: skip
    # Searches are both: asked for a moment ago, and declined by a driver.
    assert {trip["move"] for trip in live if trip["state"] == "REQUESTED"} == {"REQUEST", "DECLINE"}
    assert all(trip["updated_at"] <= PLAN.until.isoformat() for trip in live)


def test_live_trips_have_a_driver_each() -> None:
    found = rows([lines.trip for lines in made()], TRIP_COLUMNS)
    live = [trip["driver_id"] for trip in found if trip["state"] in LIVE]
    assert NULL not in live
    assert len(live) == len(set(live))


def test_trips_that_ended_are_on_record_as_the_relay_writes_it() -> None:
    for lines in made():
        (trip,) = rows([lines.trip], TRIP_COLUMNS)
        if State(trip["state"]) not in FINAL:
            assert lines.records == ()
            continue
        (record,) = rows(list(lines.records), RECORD_COLUMNS)
        course = course_of([step(event) for event in rows(list(lines.events), EVENT_COLUMNS)])
        for name in ("city_id", "trip_id", "rider_id", "pickup_latitude", "requested_at"):
            assert record[name] == trip[name]
        for name in ("state", "driver_id", "end_reason", "version", "offers"):
            assert value(record[name]) == (
                None if getattr(course, name) is None else str(getattr(course, name))
            )
        for name in ("offered_at", "matched_at", "arriving_at", "started_at", "ended_at"):
            assert moment(record[name]) == getattr(course, name)


def step(event: dict[str, str]) -> Step:
    at = moment(event["occurred_at"])
    assert at is not None
    return Step(
        int(event["version"]),
        event["state"],
        value(event["driver_id"]),
        value(event["end_reason"]),
        at,
    )


def value(word: str) -> str | None:
    return None if word == NULL else word


def moment(word: str) -> dt.datetime | None:
    return None if word == NULL else dt.datetime.fromisoformat(word)


def test_keys_are_those_of_the_last_day() -> None:
    for lines in made():
        (trip,) = rows([lines.trip], TRIP_COLUMNS)
        is_young = dt.datetime.fromisoformat(trip["requested_at"]) > PLAN.until - KEY_AGE
        assert len(lines.keys) == is_young


def test_trips_and_their_names_come_in_order_of_time() -> None:
    found = rows([lines.trip for lines in made()], TRIP_COLUMNS)
    assert [trip["requested_at"] for trip in found] == sorted(t["requested_at"] for t in found)
    milliseconds = [trip["trip_id"][:13] for trip in found]
    assert milliseconds == sorted(milliseconds)


def test_few_riders_make_most_trips() -> None:
    source = random.Random(1)
    counts = collections.Counter(zipf(source, 10_000) for _ in range(20_000))
    assert min(counts) == 0
    assert max(counts) < 10_000
    # Zipf: the first of 10,000 makes about a fourteenth of all, the first ten a quarter.
    assert 0.05 < counts[0] / 20_000 < 0.1
    assert 0.2 < sum(counts[rank] for rank in range(10)) / 20_000 < 0.3


def test_every_trip_s_rider_has_a_profile() -> None:
    profiles = [tuple(line.split("\t")[:2]) for line in riders(PLAN)]
    assert len(profiles) == len(set(profiles)) == PLAN.riders
    found = rows([lines.trip for lines in made()], TRIP_COLUMNS)
    assert {(trip["city_id"], trip["rider_id"]) for trip in found} <= set(profiles)
    # Not those of one city only, and not only those with the small numbers.
    assert len({trip["rider_id"] for trip in found}) > PLAN.riders / 2


@pytest.mark.parametrize("count", [3, 4, 10, 333, 1_000_000])
def test_riders_are_as_many_as_asked_for(count: int) -> None:
    cities = city_riders(count)
    assert sum(map(len, cities)) == count
    assert all(map(len, cities))
    assert [city.start for city in cities] == [0, *(city.stop for city in cities[:-1])]
    for city, own in zip(CITIES, cities, strict=True):
        assert len(own) == pytest.approx(city.share * count, abs=2)


@pytest.mark.parametrize(
    ("count", "live", "words"), [(2, 1, "cities"), (10, 11, "under way"), (10, -1, "under way")]
)
def test_plan_that_cannot_be_made_is_refused(count: int, live: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Plan(10, count, live, 0.1, PLAN.until)
