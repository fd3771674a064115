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

TRIPS: Final = """
    SELECT trip_id, rider_id, driver_id, state, version FROM trips WHERE rider_id LIKE $1
"""
# All events of the drivers of the run: an overlap with another run's trip
# would be a violation as well.
EVENTS: Final = """
    SELECT e.trip_id, e.version, e.move, e.state, e.driver_id, e.offer_expires_at IS NOT NULL
               AS has_expiry, extract(epoch FROM e.occurred_at)::float8 AS occurred_at
    FROM trip_events e JOIN trips t USING (city_id, trip_id) WHERE t.rider_id LIKE $1
    ORDER BY e.trip_id, e.version
"""
KEYS: Final = """
    SELECT i.scope, i.key, i.trip_id
    FROM idempotency i JOIN trips t USING (city_id, trip_id) WHERE t.rider_id LIKE $1
"""
OVERDUE_OFFERS: Final = """
    SELECT count(*) FROM trips
    WHERE state = 'OFFERED' AND offer_expires_at < now() - interval '30 s'
"""


@dataclass(frozen=True)
class Postgres:
    """Where the store is, by the names of the chart."""

    namespace: str
    service: str = "postgres"
    secret: str = "postgres"
    database: str = "matcher"
    user: str = "hailstorm"


def read_facts(cluster: Cluster, postgres: Postgres, run_id: str) -> dict[str, Any]:
    """{trips, events, keys, overdue_offers} of the run; raises CommandError."""
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
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            riders = f"r-{run_id}-%"
            return {
                "trips": [dict(row) for row in await connection.fetch(TRIPS, riders)],
                "events": [dict(row) for row in await connection.fetch(EVENTS, riders)],
                "keys": [dict(row) for row in await connection.fetch(KEYS, riders)],
                "overdue_offers": await connection.fetchval(OVERDUE_OFFERS),
            }
    finally:
        await connection.close(timeout=5)
