"""
Sixteen thousand requests at each service that nobody should send.

The process answers each of them with a code that says whose fault it is, and
is afterwards what it was before: same pid, no more memory, no call left open.
HAILSTORM_TEST_SHOTS and HAILSTORM_TEST_SEEDS ask for more and for others.
"""

import asyncio
import itertools
import os
import re
import statistics
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from eventually import eventually
from integration.fuzz.gunner import Gunner
from integration.fuzz.services import SERVICES, NewService, start_services
from integration.fuzz.shots import Fuzzer
from integration.processes import ServiceProcess
from integration.stores import Database, RedisServer

pytestmark = pytest.mark.timeout(120)

SEED = int(os.environ.get("HAILSTORM_TEST_SEEDS", "1").split()[0])
SHOTS = int(os.environ.get("HAILSTORM_TEST_SHOTS", "16000"))
# Connections to the stores and the buffers of both sides come with the first
# thousands: location held 65.1 MiB after 10,000 shots and 65.6 after 30,000.
WARM_UP = 8000
# Nothing that is kept for each call: 8,000 calls of the smallest object that
# Python has (some 56 bytes with its reference) are 0.4 MiB, those of a dict of
# strings 4 MiB. The rest is the allocator's: its pools keep what the largest
# requests took, and malloc gives nothing back while threads share arenas.
MAX_GROWTH_MEBIBYTES = 4.0
# What is kept for each call grows in every round alike, what the allocator takes at
# once and never needs again in one of them: seen, 4.4 MiB in one run of 8,000 calls
# on a busy machine, and 1.9 in 32,000. So the median round counts, for all of them.
ROUNDS = 5
# Requests of the largest size, of each repeated field. Eight at once are 2 MiB of
# bytes; as messages each is some 10 MiB, and all but one must be gone when the
# next is read: what was kept until garbage is collected was 150 MiB.
CROWDS = 16
CROWDED_AT_ONCE = 8
MAX_CROWD_MEBIBYTES = 48.0


@pytest.fixture
async def processes(
    new_service: NewService, database: Database, redis: RedisServer
) -> AsyncIterator[dict[str, ServiceProcess]]:
    """The three services on real stores, with a switch where the edge would be."""
    async with start_services(new_service, database, redis) as made:
        yield made


def open_connections(process: ServiceProcess) -> int:
    """Connections that callers of the process hold; Linux keeps the list."""
    table = Path(f"/proc/{process.pid}/net/tcp").read_text().splitlines()[1:]
    rows = (line.split() for line in table)
    # As in "0100007F:C383", and 01 is ESTABLISHED.
    return sum(row[3] == "01" and int(row[1][-4:], 16) == process.grpc_port for row in rows)


def errors_of(process: ServiceProcess) -> list[dict[str, Any]]:
    """What the process has logged as an error, but for what grpcio logs by itself."""
    return [
        line
        for line in process.log_lines()
        if line["level"] in ("error", "critical")
        # A caller whose time was over before UNIMPLEMENTED could be sent; none of
        # our code is on that way.
        and not line["message"].startswith("ExecuteBatchError raised in core by servicer method")
    ]


async def gauges(process: ServiceProcess) -> dict[str, float]:
    """The gauges of what is under way, by name."""
    status, page = await asyncio.to_thread(process.get, "/metrics")
    assert status == 200
    found = re.findall(
        r"^(hailstorm_\w*(?:in_flight|streams_open|streams|watches)\w*)(?:\{.*\})? (\S+)$",
        page,
        re.MULTILINE,
    )
    assert found, "there is no gauge of what is under way"
    totals: dict[str, float] = {}
    for name, value in found:
        totals[name] = totals.get(name, 0.0) + float(value)
    return totals


@pytest.mark.parametrize("name", SERVICES)
async def test_service_survives_what_nobody_should_send(
    name: str, processes: dict[str, ServiceProcess], record_property: Any
) -> None:
    needed = list(processes.values()) if name == "dispatch" else [processes[name]]
    for process in needed:
        process.start()
    for process in needed:
        process.wait_ready()
    target = processes[name]
    fuzzer = Fuzzer(SEED, SERVICES[name])
    gunner = Gunner(target.target.removeprefix("dns:///"), fuzzer)
    pid = target.pid

    await gunner.fire(fuzzer.shots(WARM_UP))
    warm = target.resident_mebibytes()
    held = [warm]
    for _ in range(ROUNDS):
        await gunner.fire(fuzzer.shots((SHOTS - WARM_UP) // ROUNDS))
        held.append(target.resident_mebibytes())
    steps = [after - before for before, after in itertools.pairwise(held)]
    # The median of the slopes between any two (Theil-Sen): the allocator gives and takes two
    # MiB a round, so of five steps the median is mostly noise, five times over.
    slopes = [
        (later - sooner) / (j - i)
        for (i, sooner), (j, later) in itertools.combinations(enumerate(held), 2)
    ]
    grown = ROUNDS * statistics.median(slopes)
    await gunner.fire(list(fuzzer.crowds()) * CROWDS, CROWDED_AT_ONCE)
    crowded = target.resident_mebibytes() - warm

    print(f"seed {SEED}: {name} had {warm:.1f} MiB, grew by {grown:.1f}, in a crowd {crowded:.1f}")
    print(f"  in rounds of {', '.join(f'{step:.2f}' for step in steps)} MiB")
    for (kind, code), count in sorted(gunner.codes.items()):
        print(f"  {kind:15} {code:20} {count}")
    assert gunner.complaints == []
    assert target.pid == pid
    assert target.readiness() == (200, "SERVING\n")
    assert errors_of(target) == []
    await eventually(lambda: gauges(target), 10, until=lambda g: not any(g.values()))
    await eventually(lambda: open_connections(target), 10, until=lambda count: count == 0)
    assert grown <= MAX_GROWTH_MEBIBYTES
    assert crowded <= MAX_CROWD_MEBIBYTES
    # The requests that were not so bad have reached the code behind the border.
    assert gunner.codes["plausible", "OK"] > 100
