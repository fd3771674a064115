"""
How Postgres runs each statement of the trip repository on a full database.

A statement that reads a whole table is as fast as any on an empty database, and
an outage on one of five million trips, so every one of them is explained with
parameters as the service would give them. A new statement without an entry here
is an error: `explain_all` raises, and a test calls it.
"""

import datetime as dt
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from hailstorm.trip.repository import records
from hailstorm.trip.repository.arrays import texts
from hailstorm_benchmarks.statements import parameter_count, statements

# What grows with every trip; a scan of all of it is what must not be.
GROWING: Final = frozenset({"trips", "trip_events", "idempotency", "trip_history", "riders"})
# Rows that one statement may read and throw away. An index that is read from end
# to end is no better than the table, and EXPLAIN still calls it an index scan. A
# guess: some ten pages.
MAX_WASTED_ROWS: Final = 1_000
LIMIT: Final = 200
# Rows of a sample, as many as a busy call has.
DRIVERS: Final = 50
# Keys that are due at once, of all that there are: few, as every process forgets all the time.
DUE_KEYS: Final = 50
_RECORDS: Final = ", ".join(records._COLUMNS)
# What a statement finds made by others; taken back with its own effect.
BEFORE: Final = {
    # The records of a batch (TripsSettings.relay_batch), of trips that are new to the table.
    "records._KEEP": f"""{records._STAGING};
INSERT INTO trip_history_staging ({_RECORDS}) SELECT {_RECORDS} FROM trip_history LIMIT 100;
UPDATE trip_history_staging SET trip_id = 'explain-' || trip_id
""",
    # Drivers have 15 s, and the history was loaded a while ago.
    "reads._OFFERS": """
UPDATE trips SET offer_expires_at = clock_timestamp() + interval '15 s' WHERE state = 'OFFERED'
""",
}


@dataclass(frozen=True)
class Sample:
    """
    Rows that are there, for the parameters.

    Attributes:
        trip: one that was completed, with its events.
        live: one that is MATCHED.
        drivers: some who have a trip, of the city of `live`.
        offered: some who have an offer, of `offer_city`.
        since_newest: since the newest request.
        waited: seconds since the middle one of the open requests.
        key_age: seconds since the first of the oldest keys was used, up to DUE_KEYS.
    """

    trip: Mapping[str, Any]
    live: Mapping[str, Any]
    key: Mapping[str, Any]
    drivers: tuple[str, ...]
    offer_city: str
    offered: tuple[str, ...]
    since_newest: dt.timedelta
    waited: float
    key_age: float


@dataclass(frozen=True)
class Plan:
    """How one statement ran."""

    name: str
    milliseconds: float
    rows: int
    buffers: int
    indexes: tuple[str, ...]
    whole_tables: tuple[str, ...]
    wasted_rows: int

    @property
    def found_nothing(self) -> bool:
        """Whether there was nothing to find; how it goes about finding is not known then."""
        return self.rows == 0

    @property
    def goes_by_index(self) -> bool:
        """Whether it reads what it needs, and not all there is."""
        return not self.whole_tables and self.wasted_rows <= MAX_WASTED_ROWS


_COMPLETED: Final = """
SELECT t.* FROM trip_events e JOIN trips t ON t.city_id = e.city_id AND t.trip_id = e.trip_id
WHERE e.move = 'COMPLETE' LIMIT 1
"""
_SINCE_NEWEST: Final = "SELECT clock_timestamp() - max(requested_at) FROM trips"
_WAITED: Final = """
SELECT extract(epoch FROM clock_timestamp()
    - percentile_disc(0.5) WITHIN GROUP (ORDER BY requested_at))::double precision
FROM trips WHERE state = 'REQUESTED'
"""
_KEY_AGE: Final = """
SELECT extract(epoch FROM clock_timestamp() - max(created_at))::double precision
FROM (SELECT created_at FROM idempotency ORDER BY created_at LIMIT $1) AS oldest
"""


class NotSeededError(LookupError):
    """There is too little in the database to explain anything with."""


class UnknownStatementError(Exception):
    """The repository has a statement that nobody has explained."""


async def take_sample(sql: Any) -> Sample:
    """
    Rows from the middle of what is there. NotSeededError where there is too little.

    Whoever is asked for by state alone (offers, requests, events to be told) needs no
    sample; that there are none shows as a plan that found nothing.
    """
    trip = await sql.fetchrow(_COMPLETED)
    live = await sql.fetchrow("SELECT * FROM trips WHERE state = 'MATCHED' LIMIT 1")
    key = await sql.fetchrow("SELECT * FROM idempotency LIMIT 1")
    if trip is None or live is None or key is None:
        raise NotSeededError("no completed trip, no live trip or no key; is the database seeded?")
    offer_city = await sql.fetchval("SELECT city_id FROM trips WHERE state = 'OFFERED' LIMIT 1")
    return Sample(
        trip=trip,
        live=live,
        key=key,
        drivers=await _drivers(sql, live["city_id"], "MATCHED"),
        offer_city=offer_city or live["city_id"],
        offered=await _drivers(sql, offer_city, "OFFERED"),
        since_newest=await sql.fetchval(_SINCE_NEWEST),
        waited=await sql.fetchval(_WAITED) or 0.0,
        key_age=await sql.fetchval(_KEY_AGE, DUE_KEYS),
    )


async def _drivers(sql: Any, city_id: str | None, state: str) -> tuple[str, ...]:
    rows = await sql.fetch(
        "SELECT driver_id FROM trips WHERE city_id = $1 AND state = $2 LIMIT $3",
        *(city_id, state, DRIVERS),
    )
    return tuple(row["driver_id"] for row in rows)


def examples(sample: Sample) -> dict[str, tuple[Any, ...]]:
    """Parameters for each statement, by its name."""
    trip, live, key = sample.trip, sample.live, sample.key
    city, at = trip["city_id"], live["updated_at"]
    version = live["version"] + 1
    next_version = (version, "APPROACH", "ARRIVING", live["driver_id"], None, None, None, at)
    # A full page, of those before now.
    page = (dt.datetime.now(dt.UTC), "", 21)
    return {
        "connections._ARE_YOU_THERE": (),
        "dispatching._CLAIM": (LIMIT, dt.timedelta(seconds=5), dt.timedelta(seconds=10)),
        # The minute before the newest request, however long ago that was.
        "dispatching._COUNT": (sample.since_newest + dt.timedelta(seconds=60),),
        "dispatching._ENDED": (live["city_id"], [live["trip_id"]], ["2"]),
        "history._CHANGES": (
            [live["city_id"]] * 2,
            [live["trip_id"], trip["trip_id"]],
            ["0", "0"],
        ),
        "outbox._OLDEST": (),
        "outbox._TAKE": (100,),
        "profiles._CITY": (city,),
        "profiles._RIDER": (city, trip["rider_id"]),
        "reads._SNAPSHOT": (city, trip["trip_id"], key["scope"], key["key"]),
        "reads._SNAPSHOTS": (
            [city, live["city_id"]],
            [trip["trip_id"], live["trip_id"]],
            [key["scope"], None],
            [key["key"], None],
        ),
        "reads._HELD": (live["city_id"], list(sample.drivers)),
        "reads._OFFERS": (sample.offer_city, list(sample.offered)),
        "reads._OFFER": (live["city_id"], live["trip_id"], 2),
        "reads._KEY": (key["city_id"], key["scope"], key["key"]),
        "reads._BY_RIDER": (city, trip["rider_id"], *page),
        "reads._BY_DRIVER": (city, trip["driver_id"], *page),
        "records._KEEP": (),
        "records._STEPS": ([city], [trip["trip_id"]]),
        "sweeps._EXPIRE": (LIMIT,),
        "sweeps._ABANDON": (LIMIT, sample.waited),
        "sweeps._FORGET": (LIMIT, sample.key_age),
        "writes._CREATE": (
            *(city, "CreateTrip/explain", "explain-key", b"\0" * 32, "explain-trip"),
            *("rider-0000001", 40.75, -73.95, 40.64, -73.78, 1.0, None, "REQUEST", "REQUESTED"),
        ),
        "writes._ADVANCE": (
            *(live["city_id"], live["trip_id"], live["version"], *next_version),
            *(texts([value]) for value in next_version),
            *("ApproachPickup", "explain-key", b"\0" * 32, b"answer"),
        ),
        # The second has moved on.
        "writes._ADVANCE_MANY": (
            [live["city_id"], city],
            [live["trip_id"], trip["trip_id"]],
            texts([live["version"], 0]),
            *(texts([value, value]) for value in next_version),
            *(["ApproachPickup"] * 2, ["explain-1", "explain-2"], texts([b"\0" * 32] * 2)),
            texts([b"answer"] * 2),
        ),
    }


async def explain_all(sql: Any) -> list[Plan]:
    """
    Run every statement under EXPLAIN, and take its effect back.

    Raises UnknownStatementError, and NotSeededError on a database without rows.
    """
    known, values = statements(), examples(await take_sample(sql))
    if unknown := sorted(set(known) - set(values)):
        raise UnknownStatementError(f"{', '.join(unknown)}: give parameters in {__name__}.examples")
    return [await _explain(sql, name, known[name], values[name]) for name in sorted(known)]


async def _explain(sql: Any, name: str, statement: str, values: tuple[Any, ...]) -> Plan:
    if len(values) != parameter_count(statement):
        raise UnknownStatementError(
            f"{name} takes {parameter_count(statement)} parameters, {len(values)} are given"
        )
    transaction = sql.transaction()
    await transaction.start()
    try:
        if name in BEFORE:
            await sql.execute(BEFORE[name])
        text = await sql.fetchval(
            f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {statement}", *values
        )
    finally:
        await transaction.rollback()
    return read_plan(name, text)


def read_plan(name: str, text: str) -> Plan:
    """Read what EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) printed."""
    (document,) = json.loads(text)
    nodes = list(_nodes(document["Plan"]))
    top = document["Plan"]
    return Plan(
        name=name,
        milliseconds=document["Execution Time"],
        rows=top["Actual Rows"],
        # The top node's counts contain those below it.
        buffers=top["Shared Hit Blocks"] + top["Shared Read Blocks"],
        indexes=tuple(sorted({node["Index Name"] for node in nodes if "Index Name" in node})),
        whole_tables=tuple(
            sorted(
                {
                    node["Relation Name"]
                    for node in nodes
                    if node["Node Type"] == "Seq Scan" and node["Relation Name"] in GROWING
                }
            )
        ),
        wasted_rows=sum(map(_wasted, nodes)),
    )


def _wasted(node: Mapping[str, Any]) -> int:
    removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    # EXPLAIN tells the mean of all loops.
    wasted: int = round(removed * node.get("Actual Loops", 1))
    return wasted


def _nodes(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield node
    for below in node.get("Plans", ()):
        yield from _nodes(below)
