"""
Loads two years of trips: 5 million of them, of a million riders.

Into the database of --dsn (which `kubectl port-forward` may lead to), whose
schema must be there, or into a Postgres of its own, which is gone at the end and
only shows how fast it goes. The same --seed and --until make the same rows, and
`explain.py --dsn` shows what the service's statements make of them. It loads all or
nothing, and starts anew when it is called again. A trip service that runs on it ends
the requests and offers that are loaded, as they are old.
"""

import argparse
import asyncio
import datetime as dt
import sys

from hailstorm_benchmarks.history import Plan
from hailstorm_benchmarks.postgres import connection, migrated
from hailstorm_benchmarks.report import say
from hailstorm_benchmarks.seeding import Loaded, NotEmptyError, seed


def plan_of(options: argparse.Namespace) -> Plan:
    """What the command line asks for."""
    midnight = dt.datetime.combine(options.until, dt.time(), dt.UTC)
    return Plan(
        trips=options.trips,
        riders=options.riders,
        live=min(options.live, options.trips),
        events_share=options.events_share,
        until=midnight,
        seed=options.seed,
    )


async def load(dsn: str, plan: Plan, options: argparse.Namespace) -> Loaded:
    """Load the plan, as the command line asks."""
    async with connection(dsn) as sql:
        return await seed(
            sql,
            plan,
            say,
            anew=options.anew,
            indexes_last=not options.indexes_first,
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dsn", help="postgresql://user:password@host:port/database")
    parser.add_argument("--trips", type=int, default=5_000_000)
    parser.add_argument("--riders", type=int, default=1_000_000)
    parser.add_argument("--live", type=int, default=3_000, help="trips that are under way")
    parser.add_argument("--events-share", type=float, default=0.1, help="trips with a history")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--until",
        type=dt.date.fromisoformat,
        default=dt.datetime.now(dt.UTC).date(),
        help="the day at whose beginning the history ends, as in 2026-01-31; today",
    )
    parser.add_argument("--anew", action="store_true", help="delete the trips that there are")
    parser.add_argument(
        "--indexes-first", action="store_true", help="keep indexes while loading, to compare"
    )
    options = parser.parse_args()
    try:
        plan = plan_of(options)
    except ValueError as error:
        parser.error(str(error))
    try:
        if options.dsn:
            loaded = asyncio.run(load(options.dsn, plan, options))
        else:
            say("no --dsn: a Postgres of its own, gone at the end")
            with migrated() as (_, database):
                loaded = asyncio.run(load(database.dsn, plan, options))
    except NotEmptyError as error:
        say(f"nothing was loaded: {error}")
        return 1
    total = sum(loaded.rows.values())
    seconds = loaded.copy_seconds + loaded.index_seconds
    told = ", ".join(f"{table} {count:,}" for table, count in loaded.rows.items())
    say(f"loaded {told}: {total:,} rows in {seconds:,.1f} s, {total / seconds:,.0f} rows/s")
    say(f"copying took {loaded.copy_seconds:,.1f} s, indexes {loaded.index_seconds:,.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
