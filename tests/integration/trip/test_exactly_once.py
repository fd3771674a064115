"""
Who gets which driver when many ask at once (I1, I2), judged by SQL.

The last test takes the judge away and must find what it guards against.
"""

import asyncio
from typing import Any

import asyncpg

from trip_calls import CITY, TripCalls, state_name

LIVE = "state IN ('OFFERED', 'MATCHED', 'ARRIVING', 'IN_PROGRESS')"
# I1: drivers with more than one live trip.
DOUBLE_DRIVERS = f"SELECT driver_id FROM trips WHERE {LIVE} GROUP BY 1 HAVING count(*) > 1"
# I2: trips whose history has more than one yes.
DOUBLE_TRIPS = """
SELECT trip_id FROM trip_events WHERE move = 'ACCEPT' GROUP BY 1 HAVING count(*) > 1"""
# The row and the last of its history say the same.
TORN = """
SELECT t.trip_id FROM trips t JOIN trip_events e USING (city_id, trip_id, version)
WHERE (t.state, t.move, t.driver_id) IS DISTINCT FROM (e.state, e.move, e.driver_id)"""


async def race(calls: TripCalls, trips: int, drivers: list[str]) -> list[Any]:
    """Make `trips` trips, then offer all of them to all of `drivers` at once."""
    made = await asyncio.gather(*(calls.create(rider_id=f"rider-{i}") for i in range(trips)))
    return list(await asyncio.gather(*(calls.offer(trip, *drivers) for trip in made)))


async def test_racing_offers_bind_each_driver_once(
    calls: TripCalls, sql: asyncpg.Connection
) -> None:
    drivers = [f"driver-{i}" for i in range(20)]
    answers = await race(calls, 200, drivers)
    matched = [trip for trip in answers if state_name(trip) == "MATCHED"]
    assert sorted(trip.driver_id for trip in matched) == sorted(drivers)
    assert {state_name(trip) for trip in answers} == {"MATCHED", "REQUESTED"}
    assert await sql.fetch(DOUBLE_DRIVERS) == []
    assert await sql.fetch(DOUBLE_TRIPS) == []
    assert await sql.fetch(TORN) == []
    # Each answer that was given is in the store (I3).
    rows = await sql.fetch("SELECT trip_id, driver_id FROM trips WHERE driver_id IS NOT NULL")
    assert {(r["trip_id"], r["driver_id"]) for r in rows} == {
        (trip.trip_id, trip.driver_id) for trip in matched
    }


async def test_racing_offers_of_one_trip_bind_one_driver(
    calls: TripCalls, sql: asyncpg.Connection
) -> None:
    trip = await calls.create()
    key = f"offer-{trip.trip_id}-1"
    # As dispatches do that work on one trip: one key, candidates of their own.
    answers = await asyncio.gather(
        *(calls.offer(trip, f"driver-{i}", f"driver-{i + 1}", key=key) for i in range(50))
    )
    assert len({answer.SerializeToString() for answer in answers}) == 1
    assert state_name(answers[0]) == "MATCHED"
    assert await sql.fetchval("SELECT count(*) FROM trips WHERE driver_id IS NOT NULL") == 1
    assert await sql.fetchval("SELECT count(*) FROM trip_events") == 3


async def test_racing_offers_bind_drivers_twice_when_the_index_is_gone(
    calls: TripCalls, sql: asyncpg.Connection
) -> None:
    """The proof that the tests above could fail: looking first is not enough."""
    await sql.execute("DROP INDEX trips_driver_live")
    await race(calls, 200, [f"driver-{i}" for i in range(20)])
    assert len(await sql.fetch(DOUBLE_DRIVERS)) > 0


async def test_bound_driver_is_passed_over_until_the_trip_ends(calls: TripCalls) -> None:
    first = await calls.offer(await calls.create(), "driver-1")
    second = await calls.create()
    assert state_name(await calls.offer(second, "driver-1")) == "REQUESTED"
    assert (await calls.offer(second, "driver-1", "driver-2")).driver_id == "driver-2"
    for method in ("ApproachPickup", "StartTrip", "CompleteTrip"):
        first = await calls.drive(method, first)
    assert (await calls.offer(await calls.create(), "driver-1")).driver_id == "driver-1"


async def test_same_driver_in_another_city_is_another_driver(calls: TripCalls) -> None:
    here = await calls.offer(await calls.create(), "driver-1")
    there = await calls.offer(await calls.create(city_id="boston"), "driver-1")
    assert (here.city_id, there.city_id) == (CITY, "boston")
    assert here.driver_id == there.driver_id
