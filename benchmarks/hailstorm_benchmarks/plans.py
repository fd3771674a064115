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
from hailstorm_benchmarks.statements import parameter_count, statements

# What grows with every trip; a scan of all of it is what must not be.
GROWING: Final = frozenset({"trips", "trip_events", "idempotency", "trip_history", "riders"})
# Rows that one statement may read and throw away. An index that is read from end
# to end is no better than the table, and EXPLAIN still calls it an index scan. A
# guess: some ten pages.
MAX_WASTED_ROWS: Final = 1_000
LIMIT: Final = 200
# What a statement finds made by another one.
BEFORE: Final = {"records._KEEP": records._STAGING}
# Rows of a sample, as many as a busy call has.
DRIVERS: Final = 50


@dataclass(frozen=True)
class Sample:
    """Rows that are there, for the parameters."""

    trip: Mapping[str, Any]
    live: Mapping[str, Any]
    key: Mapping[str, Any]
    drivers: tuple[str, ...]


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
    def goes_by_index(self) -> bool:
        """Whether it reads what it needs, and not all there is."""
        return not self.whole_tables and self.wasted_rows <= MAX_WASTED_ROWS


class UnknownStatementError(Exception):
    """The repository has a statement that nobody has explained."""


async def take_sample(sql: Any) -> Sample:
    """Rows from the middle of what is there. LookupError where there is too little."""
    trip = await sql.fetchrow("SELECT * FROM trips WHERE state = 'COMPLETED' LIMIT 1")
    live = await sql.fetchrow("SELECT * FROM trips WHERE state = 'MATCHED' LIMIT 1")
    key = await sql.fetchrow("SELECT * FROM idempotency LIMIT 1")
    if trip is None or live is None or key is None:
        raise LookupError("no completed trip, no live trip or no key; is the database seeded?")
    drivers = await sql.fetch(
        "SELECT driver_id FROM trips WHERE city_id = $1 AND state = 'MATCHED' LIMIT $2",
        live["city_id"],
        DRIVERS,
    )
    return Sample(trip, live, key, tuple(row["driver_id"] for row in drivers))


def examples(sample: Sample) -> dict[str, tuple[Any, ...]]:
    """Parameters for each statement, by its name."""
    trip, live, key = sample.trip, sample.live, sample.key
    city, at = trip["city_id"], live["updated_at"]
    version = live["version"] + 1
    next_version = (version, "APPROACH", "ARRIVING", live["driver_id"], None, None, None, at)
    page = (trip["requested_at"], trip["trip_id"], 21)
    return {
        "connections._ARE_YOU_THERE": (),
        "dispatching._CLAIM": (LIMIT, dt.timedelta(seconds=5), dt.timedelta(seconds=10)),
        "dispatching._COUNT": (dt.timedelta(seconds=60),),
        "dispatching._ENDED": (live["city_id"], [live["trip_id"]], [2]),
        "history._CHANGES": (
            [live["city_id"]] * 2,
            [live["trip_id"], trip["trip_id"]],
            [0, 0],
        ),
        "outbox._OLDEST": (),
        "outbox._TAKE": (100,),
        "profiles._CITY": (city,),
        "profiles._RIDER": (city, trip["rider_id"]),
        "reads._SNAPSHOT": (city, trip["trip_id"], key["scope"], key["key"]),
        "reads._HELD": (live["city_id"], list(sample.drivers)),
        "reads._OFFERS": (live["city_id"], list(sample.drivers)),
        "reads._OFFER": (live["city_id"], live["trip_id"], 2),
        "reads._KEY": (key["city_id"], key["scope"], key["key"]),
        "reads._BY_RIDER": (city, trip["rider_id"], *page),
        "reads._BY_DRIVER": (city, trip["driver_id"], *page),
        "records._KEEP": (),
        "records._STEPS": ([city], [trip["trip_id"]]),
        "sweeps._EXPIRE": (LIMIT,),
        "sweeps._ABANDON": (LIMIT, 120.0),
        # Nearly nothing is as old: the service forgets all the time.
        "sweeps._FORGET": (LIMIT, 86_400.0 * 30),
        "writes._CREATE": (
            *(city, "CreateTrip/explain", "explain-key", b"\0" * 32, "explain-trip"),
            *("rider-0000001", 40.75, -73.95, 40.64, -73.78, 1.0, None, "REQUEST", "REQUESTED"),
        ),
        "writes._ADVANCE": (
            *(live["city_id"], live["trip_id"], live["version"], *next_version),
            *([value] for value in next_version),
            *("ApproachPickup", "explain-key", b"\0" * 32, b"answer"),
        ),
    }


async def explain_all(sql: Any) -> list[Plan]:
    """
    Run every statement under EXPLAIN, and take its effect back.

    Raises UnknownStatementError, and LookupError on a database without rows.
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
