"""
The version before and this one on one schema, as they are while a release rolls.

Pods of the new version start as soon as Helm has written their Deployment, and
the migration is a Job beside them: nothing makes one wait for the other. So both
orders must work, old code on the new schema and new code on the old one.
"""

import datetime as dt
import hashlib
import random
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from eventually import eventually
from hailstorm.runtime.clock import SystemClock
from hailstorm.trip.repository.migrate import apply, load_migrations, migrate
from hailstorm.trip.v1 import trip_pb2
from integration.stores import Database, PostgresServer
from integration.trip.conftest import NewTripService
from trip_calls import CITY, DROPOFF, PICKUP, TripCalls, fresh, postgres_settings, state_name

SECONDS = 20.0
_ERA = (Path(__file__).parent / "era_0001.sql").read_text(encoding="utf-8")
STATEMENTS = dict(re.findall(r"-- name: (\w+)\n(.*?)(?=\n-- name:|\Z)", _ERA, re.DOTALL))
UNPUBLISHED = "SELECT count(*) FROM trip_events WHERE published_at IS NULL"
# What a driver may do next, as the version before wrote it.
DRIVES = {
    "MATCHED": ("ApproachPickup", "APPROACH", "ARRIVING"),
    "ARRIVING": ("StartTrip", "START", "IN_PROGRESS"),
    "IN_PROGRESS": ("CompleteTrip", "COMPLETE", "COMPLETED"),
}


class PodBefore:
    """A pod of the version before: its statements, and no more of its logic than they need."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def run(self, name: str, *arguments: Any) -> list[Any]:
        rows: list[Any] = await self._connection.fetch(STATEMENTS[name], *arguments)
        return rows

    async def create(self, request: Any) -> str:
        digest = _digest(request)
        trip_id = fresh("trip-before")
        scope = f"CreateTrip/{request.rider_id}"
        rows = await self.run(
            "create", CITY, scope, request.idempotency_key, digest, trip_id, request.rider_id,
            PICKUP.latitude, PICKUP.longitude, DROPOFF.latitude, DROPOFF.longitude, 1.0, None,
            "REQUEST", "REQUESTED",
        )  # fmt: skip
        if rows:
            return trip_id
        (known,) = await self.run("key", CITY, scope, request.idempotency_key)
        assert known["request_hash"] == digest
        found: str = known["trip_id"]
        return found

    async def snapshot(self, trip_id: str) -> Any:
        (row,) = await self.run("snapshot", CITY, trip_id, None, None)
        return row

    async def offer(self, trip_id: str, driver_id: str) -> None:
        before = await self.snapshot(trip_id)
        assert await self.run("held", CITY, [driver_id]) == []
        version = before["version"]
        offer = (f"{trip_id}-o{version + 1}", before["now"] + dt.timedelta(seconds=15))
        await self._advance(before, [
            (version + 1, "OFFER", "OFFERED", driver_id, *offer, None),
            (version + 2, "ACCEPT", "MATCHED", driver_id, None, None, None),
        ])  # fmt: skip

    async def drive(self, trip_id: str) -> None:
        before = await self.snapshot(trip_id)
        _, move, state = DRIVES[before["state"]]
        event = (before["version"] + 1, move, state, before["driver_id"], None, None, None)
        await self._advance(before, [event])

    async def cancel(self, trip_id: str) -> None:
        before = await self.snapshot(trip_id)
        event = (before["version"] + 1, "CANCEL", "CANCELLED", before["driver_id"], None, None,
                 "CancelledByRider")  # fmt: skip
        await self._advance(before, [event])

    async def _advance(self, before: Any, events: list[tuple[Any, ...]]) -> None:
        timed = [(*event, before["now"]) for event in events]
        rows = await self.run(
            "advance", CITY, before["trip_id"], before["version"], *timed[-1],
            *(list(column) for column in zip(*timed, strict=True)),
            fresh("scope"), fresh("key"), b"hash", b"answer",
        )  # fmt: skip
        assert len(rows) == 1


def _digest(request: Any) -> bytes:
    """What the version before keeps of a request; keys it stored are repeated to this one."""
    same = type(request)()
    same.CopyFrom(request)
    same.ClearField("surge_multiplier")
    return hashlib.sha256(same.SerializeToString(deterministic=True)).digest()


def request_of(rider_id: str) -> Any:
    return trip_pb2.CreateTripRequest(
        idempotency_key=fresh("key"), city_id=CITY, rider_id=rider_id, pickup=PICKUP,
        dropoff=DROPOFF,
    )  # fmt: skip


@pytest.fixture
async def schema_before(postgres_server: PostgresServer) -> AsyncIterator[Database]:
    """A database on which only the first migration has run."""
    name = fresh("schema_before").replace("-", "_")
    maintenance = await asyncpg.connect(postgres_server.maintenance.dsn)
    await maintenance.execute(f"CREATE DATABASE {name}")
    database = postgres_server.database(name)
    sql = await asyncpg.connect(database.dsn)
    await apply(sql, load_migrations()[:1], SystemClock())
    await sql.close()
    yield database
    await maintenance.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await maintenance.close()


@pytest.mark.parametrize("seed", range(2))
async def test_both_versions_share_every_trip(
    new_trip_service: NewTripService, sql: asyncpg.Connection, seed: int
) -> None:
    print(f"seed {seed}")
    chance = random.Random(seed)
    service = await new_trip_service(relay_milliseconds=20)
    before = PodBefore(sql)
    async with service.channel() as channel:
        calls = TripCalls(channel)
        states: dict[str, str] = {}
        for number in range(15):
            rider_id, driver_id = f"rider-{number}", f"driver-{number}"
            request = request_of(rider_id)
            # The same tap reaches both, in either order: one trip.
            pods = [before.create(request), calls.stub.CreateTrip(request, timeout=30)]
            if chance.random() < 0.5:
                pods.reverse()
            first, second = [await each for each in pods]
            trip_id = first if isinstance(first, str) else first.trip.trip_id
            assert trip_id == (second if isinstance(second, str) else second.trip.trip_id)
            known = trip_pb2.GetTripRequest(city_id=CITY, trip_id=trip_id)
            steps = chance.randint(1, 4)
            for step in range(steps):
                trip = (await calls.stub.GetTrip(known, timeout=30)).trip
                is_old = chance.random() < 0.5
                if step == 0 and is_old:
                    await before.offer(trip_id, driver_id)
                elif step == 0:
                    await calls.offer(trip, driver_id)
                elif is_old:
                    await before.drive(trip_id)
                else:
                    await calls.drive(DRIVES[state_name(trip)][0], trip)
            if chance.random() < 0.3 and steps < 3:
                await before.cancel(trip_id)
            trip = (await calls.stub.GetTrip(known, timeout=30)).trip
            row = await before.snapshot(trip_id)
            assert (row["state"], row["version"]) == (state_name(trip), trip.version)
            states[trip_id] = state_name(trip)
    # What only lists and sweeps reads the new schema, too.
    await before.run("offers", CITY, ["driver-1"])
    await before.run("offer", CITY, trip_id, 2)
    await before.run("by_rider", CITY, "rider-1", None, None, 5)
    await before.run("by_driver", CITY, "driver-1", None, None, 5)
    await before.run("changes", [CITY], [trip_id], [0])
    await before.run("expire", 10)
    await before.run("abandon", 10, 3600.0)
    await before.run("forget", 10, 3600.0)
    gaps = await sql.fetch(
        "SELECT trip_id FROM trip_events GROUP BY trip_id HAVING max(version) <> count(*)"
    )
    assert gaps == []
    # Whoever ended a trip, this version puts it on record.
    await eventually(lambda: sql.fetchval(UNPUBLISHED), SECONDS, lambda count: count == 0)
    rows = await sql.fetch("SELECT trip_id, state FROM trip_history")
    records = {row["trip_id"]: row["state"] for row in rows}
    ended = {name: state for name, state in states.items() if state in ("COMPLETED", "CANCELLED")}
    assert set(ended.values()) == {"COMPLETED", "CANCELLED"}
    assert records == ended


async def test_this_version_serves_on_the_schema_of_the_one_before(
    new_trip_service: NewTripService, schema_before: Database
) -> None:
    """It works, but for history, which waits: nothing of it is lost."""
    sql = await asyncpg.connect(schema_before.dsn)
    service = await new_trip_service(
        schema_before, relay_milliseconds=20, rider_seconds=0.2, city_seconds=0.2
    )
    async with service.channel() as channel:
        calls = TripCalls(channel)
        trip = await calls.offer(await calls.create(), "driver-1")
        for method in ("ApproachPickup", "StartTrip", "CompleteTrip"):
            trip = await calls.drive(method, trip)
        assert await calls.get(trip) == trip
        await eventually(
            lambda: service.sample("hailstorm_trip_outbox_batches_total", outcome="failed"), SECONDS
        )
        assert await sql.fetchval(UNPUBLISHED) > 0
        await migrate(postgres_settings(schema_before), SystemClock())
        await eventually(lambda: sql.fetchval("SELECT count(*) FROM trip_history"), SECONDS)
        # What the new tables say holds from now on.
        await sql.execute("INSERT INTO cities VALUES ($1, 'New York', false)", CITY)

        async def is_refused() -> bool:
            try:
                await calls.create()
            except Exception as error:
                return "takes no new trips" in str(error)
            return False

        await eventually(is_refused, SECONDS)
    await sql.close()
