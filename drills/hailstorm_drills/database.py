"""
What Postgres knows of a run: trips, their history, and the keys that made them.

Read once after the load has ended, through a port-forward, in one transaction
that sees one state. Only rows of the run's own riders are read: other runs in
the same database are other drills' business.
"""

import asyncio
import base64
import re
import subprocess
from dataclasses import dataclass
from typing import Any, Final

import asyncpg

from hailstorm_drills.cluster import Cluster, CommandError

# A port-forward is up in a second; a connection through it in another.
CONNECT_SECONDS: Final = 20.0
QUERY_SECONDS: Final = 60.0

# Riders of the run, by the prefix of their names.
TRIPS: Final = """
    SELECT city_id, trip_id, rider_id, driver_id, state, version FROM trips WHERE rider_id LIKE $1
"""
# With track_commit_timestamp, events know when they were committed as well as
# when they were decided. A row that a relay has marked was written again since.
EVENTS: Final = """
    SELECT e.city_id, e.trip_id, e.version, e.move, e.state, e.driver_id,
        extract(epoch FROM e.offer_expires_at)::float8 AS offer_expires_at,
        extract(epoch FROM e.occurred_at)::float8 AS occurred_at,
        CASE WHEN current_setting('track_commit_timestamp')::bool AND e.published_at IS NULL
             THEN extract(epoch FROM pg_xact_commit_timestamp(e.xmin))::float8 END AS committed_at
    FROM trip_events e JOIN trips t USING (city_id, trip_id) WHERE t.rider_id LIKE $1
    ORDER BY e.trip_id, e.version
"""
KEYS: Final = """
    SELECT i.city_id, i.scope, i.key, i.trip_id
    FROM idempotency i JOIN trips t USING (city_id, trip_id) WHERE t.rider_id LIKE $1
"""
# Sweeps run twice a second; the rest is for a store that was away.
OVERDUE_SECONDS: Final = 30.0
OVERDUE_OFFERS: Final = """
    SELECT count(*) FROM trips
    WHERE state = 'OFFERED' AND offer_expires_at < clock_timestamp() - make_interval(secs => $1)
"""
READ_AT: Final = "SELECT extract(epoch FROM clock_timestamp())::float8"


@dataclass(frozen=True)
class Postgres:
    """Where the store is, by the names of the chart."""

    namespace: str
    service: str = "postgres"
    secret: str = "postgres"
    database: str = "matcher"
    user: str = "hailstorm"


def read_facts(cluster: Cluster, postgres: Postgres, run_id: str) -> dict[str, Any]:
    """What `facts_of` reads of the run; raises CommandError."""
    secret = cluster.get("secret/" + postgres.secret, postgres.namespace)
    password = base64.b64decode(secret["data"]["password"]).decode()
    forward = cluster.start(
        *("port-forward", "--namespace", postgres.namespace),
        *(f"service/{postgres.service}", ":5432", "--address", "127.0.0.1"),
    )
    try:
        port = _forwarded_port(forward)
        return asyncio.run(_read(postgres, port, password, run_id))
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
        raise CommandError(f"Postgres cannot be read: {type(error).__name__}: {error}") from error
    finally:
        forward.kill()
        forward.communicate()


def _forwarded_port(forward: subprocess.Popen[bytes]) -> int:
    """The local port that kubectl chose; it says so on its first line, or ends."""
    assert forward.stdout is not None
    line = forward.stdout.readline().decode()
    found = re.search(r"127\.0\.0\.1:(\d+)", line)
    if not found:
        forward.kill()
        _, complaint = forward.communicate()
        raise CommandError(f"kubectl port-forward failed: {complaint.decode().strip()}")
    return int(found.group(1))


async def _read(postgres: Postgres, port: int, password: str, run_id: str) -> dict[str, Any]:
    connection = await asyncpg.connect(
        host="127.0.0.1",
        port=port,
        user=postgres.user,
        password=password,
        database=postgres.database,
        timeout=CONNECT_SECONDS,
        command_timeout=QUERY_SECONDS,
    )
    try:
        return await facts_of(connection, f"r-{run_id}-%")
    finally:
        await connection.close(timeout=5)


async def facts_of(
    connection: Any, riders: str, overdue_seconds: float = OVERDUE_SECONDS
) -> dict[str, Any]:
    """
    {trips, events, keys, overdue_offers, read_at} of the riders that are LIKE `riders`.

    An offer is overdue when it is still one so long after its end.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        return {
            "trips": [dict(row) for row in await connection.fetch(TRIPS, riders)],
            "events": [dict(row) for row in await connection.fetch(EVENTS, riders)],
            "keys": [dict(row) for row in await connection.fetch(KEYS, riders)],
            "overdue_offers": await connection.fetchval(OVERDUE_OFFERS, overdue_seconds),
            "read_at": await connection.fetchval(READ_AT),
        }
