"""
The trip process: `python3 -m hailstorm.trip`, and `... migrate` for its schema.

`migrate` waits for Postgres, brings the schema up to date and exits 0; it reads
the same settings, and may run at any time and any number of times.
"""

import asyncio
import datetime as dt
import logging
import os
import sys

from hailstorm.location.v1 import location_pb2_grpc
from hailstorm.runtime.cache import CacheMetrics
from hailstorm.runtime.channels import edge_channel
from hailstorm.runtime.clock import SystemClock
from hailstorm.runtime.run import Process, serve
from hailstorm.runtime.settings import settings_or_exit
from hailstorm.runtime.telemetry import set_up_logging
from hailstorm.trip.eligibility import Eligibility
from hailstorm.trip.flags import FLAGS
from hailstorm.trip.messages import encode_answer
from hailstorm.trip.positions import Positions
from hailstorm.trip.queries import Queries
from hailstorm.trip.relay import History, Relay
from hailstorm.trip.repository.database import Database
from hailstorm.trip.repository.session import Session
from hailstorm.trip.servicer import PRIORITIES, SERVICE_NAME, TripServicer
from hailstorm.trip.settings import TripSettings
from hailstorm.trip.sweeper import Sweeper
from hailstorm.trip.transitions import Transitions
from hailstorm.trip.v1 import trip_pb2_grpc
from hailstorm.trip.watches import Watches


async def start(process: Process[TripSettings]) -> None:
    """Build the service; Postgres is not asked for until the first call."""
    settings, clock, registry = process.settings, process.clock, process.registry
    lifecycle, flags = process.lifecycle, process.flags
    database = Database(settings.postgres, clock, registry)
    lifecycle.on_close("postgres", database.close)
    transitions = Transitions(database, clock, registry, encode_answer)
    lifecycle.on_close("transitions", transitions.close)
    watches = Watches(
        database,
        clock,
        registry,
        lifecycle.draining,
        settings.trip.watch_poll_milliseconds / 1000,
    )
    transitions.on_change(watches.changed)
    channel = edge_channel(settings.edge.address)
    lifecycle.on_close("edge", channel.close)
    positions = Positions(
        location_pb2_grpc.LocationServiceStub(channel),
        watches,
        clock,
        registry,
        settings.trip.position_milliseconds / 1000,
        flags,
    )
    sweeper = Sweeper(database, transitions, clock, settings.trip)
    relay = Relay(
        Session(settings.postgres), [History(registry)], flags, clock, registry, settings.trip
    )
    lifecycle.start_task("watches", watches.feed)
    lifecycle.start_task("watches-drain", watches.end_with_drain)
    lifecycle.start_task("positions", positions.follow)
    lifecycle.start_task("sweeper", sweeper.run)
    lifecycle.start_task("relay", relay.run)
    process.register(
        trip_pb2_grpc.add_TripServiceServicer_to_server,
        TripServicer(
            transitions,
            Queries(database, transitions),
            watches,
            Eligibility(database, settings.cache, clock, CacheMetrics(registry)),
            dt.timedelta(seconds=settings.trip.offer_seconds),
        ),
        SERVICE_NAME,
        PRIORITIES,
    )


def migrate_schema(settings: TripSettings) -> int:
    """Bring the schema up to date; the exit code."""
    from hailstorm.trip.repository.migrate import MigrationError, migrate

    set_up_logging("trip", settings.version, settings.log.level)
    try:
        asyncio.run(migrate(settings.postgres, SystemClock()))
    except MigrationError as error:
        logging.getLogger(__name__).error("%s", error)
        return 1
    return 0


def main(arguments: list[str]) -> int:
    """Serve, or do what the one argument says."""
    if arguments not in ([], ["migrate"]):
        print("usage: python3 -m hailstorm.trip [migrate]", file=sys.stderr)
        return 2
    settings = settings_or_exit(TripSettings, os.environ)
    if arguments:
        return migrate_schema(settings)
    serve("trip", settings, start, flags=FLAGS)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
