"""The history that is loaded: the same again, and such as the service itself would make."""

import collections
import datetime as dt
import itertools
import random

from hailstorm.trip.states import LIVE, TABLE, Move, State
from hailstorm_benchmarks.history import (
    EVENT_COLUMNS,
    NULL,
    TRIP_COLUMNS,
    Plan,
    riders,
    trips,
    zipf,
)

PLAN = Plan(2_000, 300, 50, 1.0, dt.datetime(2026, 1, 1, tzinfo=dt.UTC))


def rows(lines: list[str], columns: tuple[str, ...]) -> list[dict[str, str]]:
    return [dict(zip(columns, line[:-1].split("\t"), strict=True)) for line in lines]


def test_same_seed_makes_the_same_trips() -> None:
    assert list(trips(PLAN)) == list(trips(PLAN))


def test_every_history_follows_the_table_of_states() -> None:
    for lines in trips(PLAN):
        (trip,) = rows([lines.trip], TRIP_COLUMNS)
        events = rows(list(lines.events), EVENT_COLUMNS)
        assert [event["version"] for event in events] == [
            str(number) for number in range(1, len(events) + 1)
        ]
        for before, after in itertools.pairwise(events):
            assert TABLE[State(before["state"]), Move(after["move"])] == after["state"]
        last = events[-1]
        same = ("version", "move", "state", "driver_id", "end_reason")
        assert [trip[name] for name in same] == [last[name] for name in same]
        # An outbox of millions would be the first thing that a relay meets.
        assert all(event["published_at"] != NULL for event in events)


def test_live_trips_have_a_driver_each() -> None:
    found = rows([lines.trip for lines in trips(PLAN)], TRIP_COLUMNS)
    live = [trip["driver_id"] for trip in found if trip["state"] in LIVE]
    assert len(live) == len(set(live)) == PLAN.live


def test_trips_and_their_names_come_in_order_of_time() -> None:
    found = rows([lines.trip for lines in trips(PLAN)], TRIP_COLUMNS)
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


def test_riders_are_those_that_trips_name() -> None:
    found = {tuple(line.split("\t")[:2]) for line in riders(PLAN)}
    assert len(found) == PLAN.riders
