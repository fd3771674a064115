"""The settings of the trip service."""

from dataclasses import dataclass

from hailstorm.runtime.process import EdgeSettings, ProcessSettings
from hailstorm.runtime.settings import Secret, group, setting


@dataclass(frozen=True, slots=True)
class PostgresSettings:
    """
    How to reach Postgres, and how soon to give up.

    asyncpg's own defaults wait 60 s for a connection and for ever for an
    answer or for a place in the pool.
    """

    host: str = setting("postgres", doc="Host name of Postgres.")
    port: int = setting(5432, doc="TCP port of Postgres.", minimum=1, maximum=65535)
    database: str = setting("matcher", doc="Name of the database.")
    user: str = setting("hailstorm", doc="Role that owns the tables.")
    password: Secret | None = setting(None, doc="Password; without one, none is sent.")
    pool_max: int = setting(
        8,
        doc="Connections of one process for calls; background work has one more. Postgres on 2 "
        "cores becomes slower beyond 16 that are busy (measured), and two pods of 8 are that.",
        minimum=1,
        maximum=200,
    )
    connect_seconds: float = setting(
        1.0,
        doc="Seconds for making a connection, which takes about 10 ms.",
        minimum=0.05,
        maximum=60,
    )
    acquire_seconds: float = setting(
        1.0,
        doc="Seconds to wait for a connection. With 8 of them and 2 ms a statement that is a queue "
        "of 4,000; longer waits are for callers who have left. Half of it was not enough on a "
        "machine with eight times the load it has cores for.",
        minimum=0.01,
        maximum=60,
    )
    command_seconds: float = setting(
        1.0,
        doc="Seconds for one statement, which takes about 1 ms; also how soon a frozen Postgres is "
        "noticed.",
        minimum=0.05,
        maximum=60,
    )
    breaker_failures: int = setting(
        2,
        doc="Failures in a row after which Postgres is taken to be away. One may be a connection "
        "that a restart left behind.",
        minimum=1,
        maximum=1000,
    )
    breaker_open_seconds: float = setting(
        0.25,
        doc="Seconds for which nobody asks an absent Postgres; then one call tries. A return is "
        "noticed within it, and a process makes at most four attempts a second.",
        minimum=0.01,
        maximum=60,
    )


@dataclass(frozen=True, slots=True)
class TripsSettings:
    """How long things may take, and how often the service looks."""

    offer_seconds: float = setting(
        15.0,
        doc="Seconds that a driver may think when the caller names no offer_ttl. A guess from "
        "what ride-hailing companies publish: 10 to 60 s.",
        minimum=0.1,
        maximum=3600,
    )
    request_max_age_seconds: float = setting(
        120.0,
        doc="Seconds after which a request that nobody matches any more ends as UNFULFILLED. "
        "Far above any deadline, so that only abandoned ones are ended.",
        minimum=1,
        maximum=86400,
    )
    sweep_milliseconds: int = setting(
        500,
        doc="Milliseconds between two looks for expired offers and abandoned requests. Readers do "
        "not wait for it; it only bounds how long a driver is shown as taken.",
        minimum=10,
        maximum=60_000,
    )
    sweep_batch: int = setting(
        200,
        doc="Rows of one sweep. 50 to 200 gave the most rows a second when measured.",
        minimum=1,
        maximum=10_000,
    )
    relay_milliseconds: int = setting(
        500,
        doc="Milliseconds between two looks for unpublished events, while there are few. No call "
        "reads the history; it only bounds how far behind that is.",
        minimum=10,
        maximum=60_000,
    )
    relay_batch: int = setting(
        100,
        doc="Trips whose events are published by one transaction. Of whole trips, an event costs "
        "Postgres 42 us of CPU in batches of 10, 18 of 100, 16 of 1000; but rows are held seven "
        "times as long (docs/evidence/outbox.json).",
        minimum=1,
        maximum=1000,
    )
    key_retention_hours: float = setting(
        24.0,
        doc="Hours for which an idempotency key is remembered; nobody retries a tap for a day.",
        minimum=0.001,
        maximum=10_000,
    )
    watch_poll_milliseconds: int = setting(
        300,
        doc="Milliseconds between two looks at all watched trips; changes made by this process "
        "show at once. One query of 1 ms, so that 10 pods cost Postgres 3 % of a core.",
        minimum=10,
        maximum=60_000,
    )
    position_milliseconds: int = setting(
        1000,
        doc="Milliseconds between two looks at the positions of the drivers of watched trips; "
        "the API promises no more than one a second.",
        minimum=1000,
        maximum=60_000,
    )


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """How long a process believes what it has read of riders and cities."""

    rider_seconds: float = setting(
        30.0,
        doc="Seconds for which a rider's profile is believed, and for which one who was blocked "
        "may still request. A guess: people who block riders do not count seconds.",
        minimum=0.01,
        maximum=3600,
    )
    rider_entries: int = setting(
        20_000,
        doc="Riders remembered. One takes about 600 bytes (benchmarks/caches.py), so all of them "
        "are 12 MiB of a pod's 90; at 100 requests a second and 30 s, 3,000 are in use.",
        minimum=1,
        maximum=1_000_000,
    )
    city_seconds: float = setting(
        5.0,
        doc="Seconds after which a closed city takes no new trips, as for a flag. One read in half "
        "of it, whatever the load.",
        minimum=0.01,
        maximum=3600,
    )


@dataclass(frozen=True, kw_only=True)
class TripSettings(ProcessSettings):
    """All settings of the trip service."""

    edge: EdgeSettings = group(EdgeSettings)
    postgres: PostgresSettings = group(PostgresSettings)
    trip: TripsSettings = group(TripsSettings)
    cache: CacheSettings = group(CacheSettings)
