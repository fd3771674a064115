"""
EXPLAIN (ANALYZE, BUFFERS) of every statement of the trip service, on five million trips.

On the database of --dsn, which `make seed` has filled, or on one that is filled
here with as many trips and riders (with --quick, fewer). Each must go by indexes:
none may read the whole of a table that grows. A statement that found nothing to do
was not explained, and makes it UNKNOWN: any is fast over nothing.
"""

import asyncio
import datetime as dt
import sys
from collections.abc import Sequence
from typing import Final

from hailstorm_benchmarks.documents import unknown
from hailstorm_benchmarks.figures import Asked, Figure, Spread
from hailstorm_benchmarks.history import Plan as Seeded
from hailstorm_benchmarks.plans import NotSeededError, Plan, explain_all
from hailstorm_benchmarks.postgres import connection, migrated
from hailstorm_benchmarks.report import arguments, finish, say
from hailstorm_benchmarks.seeding import seed

# Issue 4: five million trips and a million riders.
TRIPS: Final = 5_000_000
# Enough that a whole table is not cheaper than an index.
QUICK_TRIPS: Final = 50_000
TRIPS_PER_RIDER: Final = 5
# As `make seed`; of few trips, a hundredth.
LIVE: Final = 3_000
# What is loaded here is gone afterwards, so it need not survive a power cut: COPY into a
# table that the same transaction emptied writes no WAL then.
NO_WAL: Final = {"wal_level": "minimal", "max_wal_senders": "0"}
NAME: Final = "statements that do not go by an index"


async def explain(dsn: str, trips: int | None, runs: int) -> list[list[Plan]]:
    """
    The plans of each run; fills the database first when `trips` says with how many.

    Raises NotSeededError on a database without what statements are about.
    """
    async with connection(dsn) as sql:
        if trips is not None:
            wanted = Seeded(
                trips=trips,
                riders=trips // TRIPS_PER_RIDER,
                live=min(LIVE, trips // 100),
                events_share=0.1,
                until=dt.datetime.now(dt.UTC),
            )
            await seed(sql, wanted, say)
        # As the service's connections have it.
        await sql.execute("SET jit = off")
        return [await explain_all(sql) for _ in range(runs)]


def judge(found: Sequence[Sequence[Plan]]) -> list[Figure]:
    """The figures of the plans of each run."""
    unseen = sorted({plan.name for plans in found for plan in plans if plan.found_nothing})
    bad = [float(sum(not plan.goes_by_index for plan in plans)) for plans in found]
    slowest = Figure(
        name="slowest statement",
        unit="ms",
        measured=Spread(tuple(max(p.milliseconds for p in plans) for plans in found)),
    )
    # One that does read a table is a failure, whatever else was not seen.
    if unseen and not any(bad):
        return [unknown(NAME, f"explained over nothing: {', '.join(unseen)}"), slowest]
    over_nothing = f"; over nothing: {', '.join(unseen)}" if unseen else ""
    return [
        Figure(
            name=NAME,
            unit="statements",
            measured=Spread(tuple(bad)),
            asked=Asked(0, is_floor=False),
            why=f"of {len(found[0])}{over_nothing}",
        ),
        slowest,
    ]


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--dsn", help="a seeded database; without it, one is made and filled")
    parser.add_argument("--trips", type=int, help=f"how many to fill it with ({TRIPS:,})")
    options = parser.parse_args()
    runs = options.runs or (2 if options.quick else 5)
    try:
        if options.dsn:
            found = asyncio.run(explain(options.dsn, None, runs))
        else:
            trips = options.trips or (QUICK_TRIPS if options.quick else TRIPS)
            with migrated(**NO_WAL) as (_, database):
                found = asyncio.run(explain(database.dsn, trips, runs))
    except NotSeededError as error:
        return finish("explain", [unknown(NAME, str(error))], options.output)
    print(f"{'statement':22} {'rows':>6} {'buffers':>8} {'ms':>8}  indexes")
    for plans in zip(*found, strict=True):
        last = plans[-1]
        read = ", ".join((*last.indexes, *(f"ALL OF {table}" for table in last.whole_tables)))
        print(
            f"{last.name:22} {last.rows:6} {last.buffers:8} {last.milliseconds:8.2f}  {read}",
            flush=True,
        )
    return finish("explain", judge(found), options.output)


if __name__ == "__main__":
    sys.exit(main())
