"""
EXPLAIN (ANALYZE, BUFFERS) of every statement of the trip service, on many trips.

On the database of --dsn, which `make seed` has filled, or on one that is filled
here. Each must go by indexes: none may read the whole of a table that grows.
"""

import asyncio
import datetime as dt
import sys
from typing import Final

from hailstorm_benchmarks.figures import Asked, Figure, Spread
from hailstorm_benchmarks.history import Plan as Seeded
from hailstorm_benchmarks.plans import Plan, explain_all
from hailstorm_benchmarks.postgres import connection, migrated
from hailstorm_benchmarks.report import arguments, finish, say
from hailstorm_benchmarks.seeding import seed

# Enough that a whole table is never cheaper than an index.
TRIPS: Final = 300_000
QUICK_TRIPS: Final = 50_000


async def explain(dsn: str, trips: int | None, runs: int) -> list[list[Plan]]:
    """The plans of each run; fills the database first when `trips` says with how many."""
    async with connection(dsn) as sql:
        if trips is not None:
            wanted = Seeded(trips, trips // 5, 1_000, 0.1, dt.datetime.now(dt.UTC))
            await seed(sql, wanted, say)
        # As the service's connections have it.
        await sql.execute("SET jit = off")
        return [await explain_all(sql) for _ in range(runs)]


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--dsn", help="a seeded database; without it, one is made and filled")
    options = parser.parse_args()
    runs = options.runs or (2 if options.quick else 5)
    if options.dsn:
        found = asyncio.run(explain(options.dsn, None, runs))
    else:
        trips = QUICK_TRIPS if options.quick else TRIPS
        with migrated() as (_, database):
            found = asyncio.run(explain(database.dsn, trips, runs))
    print(f"{'statement':22} {'rows':>6} {'buffers':>8} {'ms':>8}  indexes")
    for plans in zip(*found, strict=True):
        last = plans[-1]
        read = ", ".join((*last.indexes, *(f"ALL OF {table}" for table in last.whole_tables)))
        print(
            f"{last.name:22} {last.rows:6} {last.buffers:8} {last.milliseconds:8.2f}  {read}",
            flush=True,
        )
    figures = [
        Figure(
            name="statements that do not go by an index",
            unit="statements",
            measured=Spread(
                tuple(float(sum(not plan.goes_by_index for plan in plans)) for plans in found)
            ),
            asked=Asked(0, is_floor=False),
            why=f"of {len(found[0])}",
        ),
        Figure(
            name="slowest statement",
            unit="ms",
            measured=Spread(tuple(max(p.milliseconds for p in plans) for plans in found)),
        ),
    ]
    return finish("explain", figures, options.output)


if __name__ == "__main__":
    sys.exit(main())
