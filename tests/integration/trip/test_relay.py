"""The outbox: everything once at least, each trip's events in order, whatever fails."""

import asyncio
import contextlib
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from typing import Any

import asyncpg
import pytest
from prometheus_client import CollectorRegistry

from eventually import eventually
from hailstorm.runtime.clock import SystemClock
from hailstorm.runtime.flags import FixedFlags
from hailstorm.trip.errors import StoreUnavailableError
from hailstorm.trip.flags import HISTORY_WRITES
from hailstorm.trip.relay import History, Relay, Sink
from hailstorm.trip.repository import outbox
from hailstorm.trip.repository.outbox import Event
from hailstorm.trip.repository.session import Session, Transaction
from integration.stores import Database, PostgresServer
from integration.trip.conftest import NewTripService
from trip_calls import CITY, TripCalls, fresh, postgres_settings, trip_settings

SECONDS = 20.0
UNPUBLISHED = "SELECT count(*) FROM trip_events WHERE published_at IS NULL"


class Told:
    """A sink that remembers, and fails when it is told to."""

    def __init__(self) -> None:
        self.batches: list[list[Event]] = []
        self.failure: Exception | None = None

    async def write(self, transaction: Transaction, events: Sequence[Event]) -> None:
        self.batches.append(list(events))
        if self.failure is not None:
            raise self.failure

    @property
    def versions(self) -> dict[str, list[int]]:
        """What was told of each trip, in the order in which it was told."""
        found: dict[str, list[int]] = defaultdict(list)
        for batch in self.batches:
            for event in batch:
                found[event.trip_id].append(event.version)
        return found


def new_relay(
    database: Database, *sinks: Sink, flags: FixedFlags | None = None, **fields: object
) -> Relay:
    settings = trip_settings(database, **fields)
    return Relay(
        Session(settings.postgres), sinks, flags or FixedFlags(), SystemClock(),
        CollectorRegistry(), settings.trip,
    )  # fmt: skip


async def add_events(sql: asyncpg.Connection, trip_id: str, first: int, last: int) -> None:
    """Versions of a trip, as far as the outbox is about them."""
    await sql.execute(
        "INSERT INTO trip_events (city_id, trip_id, version, move, state, occurred_at)"
        " SELECT $1, $2, v, 'OFFER', 'OFFERED', clock_timestamp()"
        " FROM generate_series($3::int, $4::int) v",
        *(CITY, trip_id, first, last),
    )


@contextlib.asynccontextmanager
async def running(*relays: Relay) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(relay.run()) for relay in relays]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        # Anything but a cancellation is a relay that died.
        assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends


async def complete(calls: TripCalls) -> Any:
    trip = await calls.offer(await calls.create(), fresh("driver"))
    for method in ("ApproachPickup", "StartTrip", "CompleteTrip"):
        trip = await calls.drive(method, trip)
    return trip


async def test_finished_trips_get_a_record_each(
    new_trip_service: NewTripService, sql: asyncpg.Connection
) -> None:
    service = await new_trip_service(relay_milliseconds=20)
    async with service.channel() as channel:
        calls = TripCalls(channel)
        completed = await complete(calls)
        declined = await calls.offer(await calls.create(), "driver-1", accept=False)
        cancelled = await calls.cancel(await calls.answer(declined, False), "rider-1", reason="No")
        unfulfilled = await calls.abandon(await calls.create())
        going_on = await calls.create()
    await eventually(lambda: sql.fetchval(UNPUBLISHED), SECONDS, lambda count: count == 0)
    rows = {row["trip_id"]: row for row in await sql.fetch("SELECT * FROM trip_history")}
    assert rows.keys() == {completed.trip_id, cancelled.trip_id, unfulfilled.trip_id}
    assert going_on.trip_id not in rows

    record = rows[completed.trip_id]
    events = await sql.fetch(
        "SELECT * FROM trip_events WHERE trip_id = $1 ORDER BY version", completed.trip_id
    )
    times = ("requested_at", "offered_at", "matched_at", "arriving_at", "started_at", "ended_at")
    assert [record[name] for name in times] == [event["occurred_at"] for event in events]
    assert (record["state"], record["driver_id"]) == ("COMPLETED", completed.driver_id)
    assert (record["rider_id"], record["offers"], record["version"]) == ("rider-1", 1, 6)
    assert record["surge_multiplier"] == completed.surge_multiplier
    assert record["pickup_latitude"] == completed.pickup.latitude
    spans = {
        "match_seconds": record["matched_at"] - record["requested_at"],
        "pickup_seconds": record["started_at"] - record["matched_at"],
        "ride_seconds": record["ended_at"] - record["started_at"],
    }
    for name, span in spans.items():
        assert record[name] == pytest.approx(span.total_seconds()), name

    record = rows[cancelled.trip_id]
    assert (record["state"], record["end_reason"], record["offers"]) == ("CANCELLED", "No", 1)
    # Asked, and said no: the trip never was that driver's.
    assert (record["driver_id"], record["matched_at"], record["ride_seconds"]) == (None,) * 3
    assert rows[unfulfilled.trip_id]["state"] == "UNFULFILLED"
    assert service.sample("hailstorm_trip_history_rows_total") == 3
    assert service.sample("hailstorm_trip_outbox_published_total") == 6 + 4 + 2 + 1
    # Nothing is waiting, so nothing is late.
    await eventually(
        lambda: service.sample("hailstorm_trip_outbox_lag_seconds"), SECONDS, lambda lag: lag == 0
    )


@pytest.mark.parametrize("seed", range(3))
async def test_order_is_kept_by_several_relays_that_fail_now_and_then(
    schema: Database, sql: asyncpg.Connection, seed: int
) -> None:
    """Each version comes after the ones before it, at least once, and none is left behind."""
    print(f"seed {seed}")
    chance = random.Random(seed)
    last_versions = {f"trip-{number:02}": chance.randint(1, 30) for number in range(30)}
    seen: dict[str, int] = defaultdict(int)
    told = 0

    class Slow:
        """Every wait in here is a moment in which another relay may do harm."""

        async def write(self, transaction: Transaction, events: Sequence[Event]) -> None:
            nonlocal told
            for event in events:
                assert event.version <= seen[event.trip_id] + 1, (event, seen[event.trip_id])
                seen[event.trip_id] = max(seen[event.trip_id], event.version)
                told += 1
            await asyncio.sleep(chance.uniform(0, 0.01))
            fate = chance.random()
            if fate < 0.1:
                raise StoreUnavailableError("as if")
            if fate < 0.2:
                await transaction.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    async def ride(trip_id: str) -> None:
        at = 0
        while at < last_versions[trip_id]:
            step = min(chance.randint(1, 3), last_versions[trip_id] - at)
            async with writers.acquire() as connection:
                await add_events(connection, trip_id, at + 1, at + step)
            at += step
            await asyncio.sleep(chance.uniform(0, 0.02))

    relays = [new_relay(schema, Slow(), relay_batch=8, relay_milliseconds=10) for _ in range(4)]
    async with asyncpg.create_pool(schema.dsn, min_size=1, max_size=8) as writers, running(*relays):
        await asyncio.gather(*map(ride, last_versions))
        await eventually(lambda: sql.fetchval(UNPUBLISHED), SECONDS, lambda count: count == 0)
    assert seen == last_versions
    # The failures did happen, and were made good by telling again.
    assert told > sum(last_versions.values())


async def test_batch_is_bounded_in_trips_and_in_events_of_one(
    schema: Database, sql: asyncpg.Connection
) -> None:
    told = Told()
    relay = new_relay(schema, told, relay_batch=10)
    many = outbox.MAX_EVENTS_OF_TRIP + 5
    await add_events(sql, "many", 1, many)
    for number in range(14):
        await add_events(sql, f"few-{number}", 1, 1)
    assert await relay.relay()
    assert {len({e.trip_id for e in batch}) for batch in told.batches} == {10}
    assert told.versions["many"] == list(range(1, outbox.MAX_EVENTS_OF_TRIP + 1))
    while await sql.fetchval(UNPUBLISHED):
        await relay.relay()
    assert told.versions["many"] == list(range(1, many + 1))
    assert len(told.versions) == 15
    await relay._session.close()


async def test_relay_takes_nothing_of_a_trip_that_another_one_holds(
    schema: Database, sql: asyncpg.Connection
) -> None:
    told = Told()
    relay = new_relay(schema, told)
    await add_events(sql, "held", 1, 2)
    other = Session(postgres_settings(schema))
    async with other.transaction() as transaction:
        assert [e.version for e in await outbox.take(transaction, 10)] == [1, 2]
        # It goes on while the other one works; a third version is not told first.
        await add_events(sql, "held", 3, 3)
        await add_events(sql, "free", 1, 1)
        assert not await relay.relay()
        assert told.versions == {"free": [1]}
    await relay.relay()
    assert told.versions == {"free": [1], "held": [3]}
    for session in (relay._session, other):
        await session.close()


async def test_plan_does_not_depend_on_what_statistics_say_of_the_backlog(
    sql: asyncpg.Connection,
) -> None:
    """They say that there is none, as they are taken while there is none; then there is one."""
    for _ in range(2):
        await sql.execute(
            "INSERT INTO trip_events (city_id, trip_id, version, move, state, occurred_at)"
            " SELECT $1, 'trip-' || n, v, 'OFFER', 'OFFERED', clock_timestamp()"
            " FROM generate_series((SELECT count(*) FROM trip_events),"
            " (SELECT count(*) FROM trip_events) + 2000) n, generate_series(1, 5) v",
            CITY,
        )
        plan = "\n".join(
            row[0] for row in await sql.fetch("EXPLAIN " + outbox._TAKE.replace("$1", "100"))
        )
        # Once for the heads in their order; each trip by its own key.
        assert plan.count("trip_events_unpublished") == 1, plan
        assert plan.count("trip_events_pkey") == 2, plan
        assert "Seq Scan" not in plan, plan
        await sql.execute("UPDATE trip_events SET published_at = now()")
        await sql.execute("VACUUM ANALYZE trip_events")


async def test_failed_sink_has_the_batch_again(schema: Database, sql: asyncpg.Connection) -> None:
    told = Told()
    relay = new_relay(schema, told)
    await add_events(sql, "trip", 1, 2)
    told.failure = RuntimeError("full")
    with pytest.raises(RuntimeError, match="full"):
        await relay.relay()
    assert await sql.fetchval(UNPUBLISHED) == 2
    told.failure = None
    await relay.relay()
    assert told.versions["trip"] == [1, 2, 1, 2]
    assert await sql.fetchval(UNPUBLISHED) == 0
    await relay._session.close()


async def test_batch_that_does_not_end_in_time_becomes_smaller_for_a_while(
    schema: Database, sql: asyncpg.Connection
) -> None:
    told = Told()
    relay = new_relay(schema, told, relay_batch=40)
    for number in range(100):
        await add_events(sql, f"trip-{number:03}", 1, 1)
    told.failure = StoreUnavailableError("too slow")
    for _ in range(4):
        assert not await relay._work()
    told.failure = None
    while await sql.fetchval(UNPUBLISHED):
        await relay._work()
    assert [len(batch) for batch in told.batches] == [40, 20, 10, 10, 10, 20, 40, 30]
    # And never grows beyond what was asked for.
    small = new_relay(schema, told, relay_batch=2)
    told.failure = StoreUnavailableError("too slow")
    for _ in range(2):
        await add_events(sql, fresh("trip"), 1, 1)
        await small._work()
    assert small._batch == 2
    for each in (relay, small):
        await each._session.close()


async def test_cancelled_relay_leaves_its_batch_to_the_others(
    schema: Database, sql: asyncpg.Connection
) -> None:
    class Stuck:
        def __init__(self) -> None:
            self.has_begun = asyncio.Event()

        async def write(self, transaction: Transaction, events: Sequence[Event]) -> None:
            self.has_begun.set()
            await asyncio.Event().wait()

    stuck, told = Stuck(), Told()
    await add_events(sql, "trip", 1, 3)
    async with running(new_relay(schema, stuck)):
        await stuck.has_begun.wait()
    other = new_relay(schema, told)
    await eventually(other.relay, SECONDS, lambda _: bool(told.batches))
    assert told.versions["trip"] == [1, 2, 3]
    await other._session.close()


async def test_record_that_is_there_already_stays_as_it_is(
    new_trip_service: NewTripService, schema: Database, sql: asyncpg.Connection
) -> None:
    service = await new_trip_service(relay_milliseconds=20)
    async with service.channel() as channel:
        trip = await complete(TripCalls(channel))
    await eventually(lambda: sql.fetchval(UNPUBLISHED), SECONDS, lambda count: count == 0)
    before = await sql.fetch("SELECT * FROM trip_history")
    await sql.execute("UPDATE trip_events SET published_at = NULL")
    await eventually(lambda: sql.fetchval(UNPUBLISHED), SECONDS, lambda count: count == 0)
    assert await sql.fetch("SELECT * FROM trip_history") == before
    assert [row["trip_id"] for row in before] == [trip.trip_id]
    assert service.sample("hailstorm_trip_history_rows_total") == 1


async def test_flag_pauses_history_and_loses_nothing(
    schema: Database, new_trip_service: NewTripService, sql: asyncpg.Connection
) -> None:
    # The service's own relay has no time to look.
    service = await new_trip_service(relay_milliseconds=60_000)
    flags = FixedFlags({HISTORY_WRITES: False})
    registry = CollectorRegistry()
    relay = new_relay(schema, History(registry), flags=flags, relay_milliseconds=20)
    async with service.channel() as channel, running(relay):
        await complete(TripCalls(channel))
        await eventually(relay.lag_seconds, SECONDS, lambda lag: lag > 0.2)
        assert await sql.fetchval("SELECT count(*) FROM trip_history") == 0
        assert await sql.fetchval(UNPUBLISHED) == 6
        flags.values[HISTORY_WRITES] = True
        await eventually(lambda: sql.fetchval("SELECT count(*) FROM trip_history"), SECONDS)
        await eventually(relay.lag_seconds, SECONDS, lambda lag: lag == 0)
    assert await sql.fetchval(UNPUBLISHED) == 0
    assert registry.get_sample_value("hailstorm_trip_history_rows_total") == 1


async def test_lost_postgres_only_pauses_it(
    new_trip_service: NewTripService, own_schema: Database, own_postgres: PostgresServer
) -> None:
    service = await new_trip_service(own_schema, relay_milliseconds=20, connect_seconds=1.0)
    failed = {"outcome": "failed"}
    async with service.channel() as channel:
        calls = TripCalls(channel)
        await complete(calls)
        own_postgres.kill()
        await eventually(
            lambda: service.sample("hailstorm_trip_outbox_batches_total", **failed) > 2, SECONDS
        )
        own_postgres.start()
        await eventually(lambda: complete(calls), SECONDS)
    connection = await asyncpg.connect(own_schema.dsn)
    try:
        await eventually(
            lambda: connection.fetchval("SELECT count(*) FROM trip_history"), SECONDS,
            lambda count: count >= 2,
        )  # fmt: skip
        await eventually(
            lambda: connection.fetchval(UNPUBLISHED), SECONDS, lambda count: count == 0
        )
    finally:
        await connection.close()
    (relay,) = [task for name, task in service.lifecycle._tasks if name == "relay"]
    assert not relay.done()


async def test_ended_relay_leaves_no_connection(schema: Database, sql: asyncpg.Connection) -> None:
    background = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND application_name = 'hailstorm-trip-background'"
    )
    # Held on to, or the collector would close what the relay forgot.
    # It rests after its first look: ended amid a transaction it cuts the connection anyway.
    relay = new_relay(schema, relay_milliseconds=60_000)
    async with running(relay):
        idle = background + " AND state = 'idle' AND query = 'COMMIT'"
        await eventually(lambda: sql.fetchval(idle), SECONDS, lambda count: count == 1)
    await eventually(lambda: sql.fetchval(background), SECONDS, lambda count: count == 0)
    assert relay.lag_seconds() == 0
