"""
Races of hundreds on two real processes, judged by the drills' own checkers.

The seed is printed with what happened; `HAILSTORM_TEST_SEED` adds one more.
"""

import os
from collections.abc import Callable

import asyncpg
import pytest

from hailstorm_drills.checkers.base import Verdict
from integration.processes import ServiceProcess
from integration.stores import Database, wait_until
from integration.trip.race import Race, Shape
from trip_calls import NOBODY

NewService = Callable[[str, dict[str, str]], ServiceProcess]

SEEDS = [1, 2, 3, *map(int, os.environ.get("HAILSTORM_TEST_SEED", "").split())]
PASS = dict.fromkeys(("I1", "I2", "I3", "I4", "effects", "chain"), Verdict.PASS)


@pytest.fixture
def services(new_service: NewService, schema: Database) -> list[ServiceProcess]:
    """Two trip services on one database, that sweep often and wait long."""
    settings = {
        **schema.environment,
        "HAILSTORM_EDGE_ADDRESS": NOBODY,
        "HAILSTORM_TRIP_SWEEP_MILLISECONDS": "50",
        "HAILSTORM_POSTGRES_ACQUIRE_SECONDS": "10",
        "HAILSTORM_POSTGRES_CONNECT_SECONDS": "10",
        "HAILSTORM_POSTGRES_COMMAND_SECONDS": "10",
    }
    started = [new_service("trip", settings) for _ in range(2)]
    for service in started:
        service.start()
    for service in started:
        wait_until(lambda service=service: service.readiness()[0] == 200, "trip is ready")
    return started


@pytest.mark.parametrize("seed", SEEDS)
async def test_nothing_is_lost_or_doubled_whatever_happens(
    seed: int, services: list[ServiceProcess], sql: asyncpg.Connection
) -> None:
    race = Race(seed, Shape(), services)
    await race.run()
    record = await race.record(sql)
    moves = race.moves(record)
    print(f"seed {seed}: {len(record.history.calls)} calls, {dict(moves)}")
    for found in record.findings().values():
        print(f"  {found.checker}: {found.verdict} {found.why}")
    assert race.defects == []
    assert record.verdicts() == PASS
    # Everything that was to happen did, or the race has proved less than it says.
    assert min(moves[move] for move in ("ACCEPT", "DECLINE", "EXPIRE", "CANCEL", "ABANDON")) > 0
    assert moves["COMPLETE"] > 0
    assert min(proxy.cuts for proxy in race.proxies) > 0
    assert record.findings()["effects"].figures["keys_sent_more_than_once"] > 0
