"""What becomes of positions, over a real Redis."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from hailstorm.location.drivers import Drivers
from hailstorm.location.positions import Availability, Decisions, Ping, Refusal
from hailstorm.location.settings import IndexKind, PositionSettings
from hailstorm.location.store import Command, Store
from integration.stores import RedisServer

HERE = (40.7500, -73.9800)
# 300 m east of it: another cell, and no teleport.
THERE = (40.7500, -73.9764)


class HeldClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.at = time.time()

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.at += seconds


def ping(sequence: int, at: tuple[float, float] = HERE, driver_id: str = "driver-1") -> Ping:
    now_ms = int(time.time() * 1000)
    return Ping(driver_id, sequence, at[0], at[1], now_ms, Availability.AVAILABLE)


def reasons(decisions: Decisions) -> list[tuple[int, Refusal]]:
    return decisions.refused


def indexed_members(redis: RedisServer, kind: IndexKind) -> list[str]:
    """All members of the index, of whatever cell."""
    pattern = "loc:*:c:*" if kind is IndexKind.RING else "loc:*:geo"
    # A status reply, since its one line is the whole answer.
    script = """
        local all = {}
        for _, key in ipairs(redis.call('KEYS', ARGV[1])) do
            for _, member in ipairs(redis.call('ZRANGE', key, 0, -1)) do
                all[#all + 1] = member
            end
        end
        return redis.status_reply('all ' .. table.concat(all, ' '))
    """
    answer = redis.command("EVAL", script, "0", pattern).decode()
    return answer.removeprefix("+all").split()


async def ids_near(drivers: Drivers, at: tuple[float, float] = HERE) -> list[str]:
    found = await drivers.nearby("nyc", at[0], at[1], 10, 5_000)
    return [each.fix.driver_id for each in found]


async def test_repeated_batch_is_stale_and_changes_nothing(
    new_drivers: Callable[..., Drivers], index_kind: IndexKind
) -> None:
    drivers = new_drivers(index_kind)
    batch = [ping(1, driver_id="driver-1"), ping(1, THERE, driver_id="driver-2")]
    first = await drivers.report("nyc", batch)
    again = await drivers.report("nyc", batch)
    assert (first.accepted_count, reasons(first)) == (2, [])
    assert (again.accepted_count, reasons(again)) == (0, [(0, Refusal.STALE), (1, Refusal.STALE)])
    assert await ids_near(drivers) == ["driver-1", "driver-2"]


async def test_latest_sequence_wins_whatever_the_order(
    new_drivers: Callable[..., Drivers], index_kind: IndexKind
) -> None:
    drivers = new_drivers(index_kind)
    decisions = await drivers.report("nyc", [ping(7, THERE), ping(5, HERE)])
    assert decisions.accepted_count == 2
    late = await drivers.report("nyc", [ping(6, HERE)])
    assert reasons(late) == [(0, Refusal.STALE)]
    (found,) = await drivers.nearby("nyc", *HERE, 10, 5_000)
    assert (found.fix.sequence, found.fix.longitude) == (7, THERE[1])


async def test_driver_stands_in_one_cell_after_a_move(
    new_drivers: Callable[..., Drivers], index_kind: IndexKind
) -> None:
    drivers = new_drivers(index_kind)
    await drivers.report("nyc", [ping(1, HERE)])
    await drivers.report("nyc", [ping(2, THERE)])
    nearby = await drivers.nearby("nyc", *HERE, 10, 100)
    assert nearby == []
    assert await ids_near(drivers, THERE) == ["driver-1"]


async def test_busy_and_offline_drivers_are_not_found(
    new_drivers: Callable[..., Drivers], index_kind: IndexKind
) -> None:
    drivers = new_drivers(index_kind)
    for driver_id in ("driver-1", "driver-2", "driver-3"):
        await drivers.report("nyc", [ping(1, driver_id=driver_id)])
    busy = ping(2, driver_id="driver-1")._replace(availability=Availability.BUSY)
    offline = ping(2, driver_id="driver-2")._replace(availability=Availability.OFFLINE)
    await drivers.report("nyc", [busy, offline])
    assert await ids_near(drivers) == ["driver-3"]
    known = await drivers.positions("nyc", ["driver-1", "driver-2", "driver-3", "nobody"])
    assert {fix.driver_id: fix.availability for fix in known} == {
        "driver-1": Availability.BUSY,
        "driver-3": Availability.AVAILABLE,
    }


async def test_late_ping_does_not_bring_an_offline_driver_back(
    new_drivers: Callable[..., Drivers],
) -> None:
    drivers = new_drivers()
    await drivers.report("nyc", [ping(9)._replace(availability=Availability.OFFLINE)])
    late = await drivers.report("nyc", [ping(8)])
    assert reasons(late) == [(0, Refusal.STALE)]
    assert await ids_near(drivers) == []
    await drivers.report("nyc", [ping(10)])
    assert await ids_near(drivers) == ["driver-1"]


async def test_silent_driver_is_not_found_after_three_beats(
    new_drivers: Callable[..., Drivers], index_kind: IndexKind
) -> None:
    clock = HeldClock()
    drivers = new_drivers(index_kind, clock)
    await drivers.report("nyc", [ping(1)])
    clock.at += 11
    assert await ids_near(drivers) == ["driver-1"]
    clock.at += 2
    assert await ids_near(drivers) == []
    # Still told to whoever follows the trip, until the memory ends.
    assert len(await drivers.positions("nyc", ["driver-1"])) == 1
    clock.at += 60
    assert await drivers.positions("nyc", ["driver-1"]) == []


async def test_phone_ahead_of_our_time_is_not_found_for_longer(
    new_drivers: Callable[..., Drivers], index_kind: IndexKind
) -> None:
    clock = HeldClock()
    drivers = new_drivers(index_kind, clock)
    ahead_ms = round(PositionSettings().future_seconds * 1000) - 1
    fast = ping(1, driver_id="driver-fast")
    await drivers.report(
        "nyc", [fast._replace(observed_ms=int(clock.now() * 1000) + ahead_ms), ping(1)]
    )
    clock.at += 11
    assert await ids_near(drivers) == ["driver-1", "driver-fast"]
    clock.at += 2
    assert await ids_near(drivers) == []


async def test_teleport_is_refused_against_the_stored_position(
    new_drivers: Callable[..., Drivers],
) -> None:
    drivers = new_drivers()
    await drivers.report("nyc", [ping(1)])
    far = await drivers.report("nyc", [ping(2, (41.75, -73.98))])
    assert reasons(far) == [(0, Refusal.TELEPORT)]
    assert await ids_near(drivers) == ["driver-1"]


async def test_sequences_near_the_limits_keep_their_order(
    new_drivers: Callable[..., Drivers],
) -> None:
    """Lua's numbers end at 2^53; nanoseconds since 1970 do not."""
    drivers = new_drivers()
    for sequence in (-(2**63), -1, 0, 2**53, 2**53 + 1, 2**63 - 2, 2**63 - 1):
        assert (await drivers.report("nyc", [ping(sequence)])).accepted_count == 1, sequence
        assert (await drivers.report("nyc", [ping(sequence)])).accepted_count == 0, sequence
    (fix,) = await drivers.positions("nyc", ["driver-1"])
    assert fix.sequence == 2**63 - 1


async def test_racing_servers_keep_the_newest_and_count_the_rest_as_stale(
    new_drivers: Callable[..., Drivers], index_kind: IndexKind
) -> None:
    """Two servers take pings of one driver at the same moment, again and again."""
    servers = [new_drivers(index_kind), new_drivers(index_kind)]
    accepted = 0
    for start in range(1, 200, 10):
        decisions = await asyncio.gather(
            *(
                servers[sequence % 2].report("nyc", [ping(sequence, (HERE, THERE)[sequence % 2])])
                for sequence in range(start, start + 10)
            )
        )
        accepted += sum(each.accepted_count for each in decisions)
        assert all(each.accepted_count + len(each.refused) == 1 for each in decisions)
        (fix,) = await servers[0].positions("nyc", ["driver-1"])
        assert fix.sequence == start + 9
        found = await servers[1].nearby("nyc", *HERE, 10, 5_000)
        assert [each.fix.driver_id for each in found] == ["driver-1"]
    assert 20 <= accepted <= 200


async def test_second_copy_of_a_report_leaves_what_the_first_has_put_in(
    new_drivers: Callable[..., Drivers],
    index_kind: IndexKind,
    redis: RedisServer,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An edge that gave a slow server up sends the same report to another one."""
    drivers, others = new_drivers(index_kind), new_drivers(index_kind)
    await drivers.report("nyc", [ping(4)])
    batch = [ping(5, THERE), ping(6, THERE)]
    read = store.read

    async def read_and_lose_time(commands: Sequence[Command]) -> list[Any]:
        records = await read(commands)
        monkeypatch.setattr(store, "read", read)
        assert (await others.report("nyc", batch)).accepted_count == 2
        return records

    monkeypatch.setattr(store, "read", read_and_lose_time)
    decisions = await drivers.report("nyc", batch)
    # All of it is stale, and the driver can be found.
    assert decisions.accepted_count == 0
    assert reasons(decisions) == [(0, Refusal.STALE), (1, Refusal.STALE)]
    (member,) = indexed_members(redis, index_kind)
    assert member.rpartition("|")[2] == "6"


@pytest.mark.parametrize(
    ("mine", "theirs", "refused"),
    [
        (8, (9, Availability.AVAILABLE), [(0, Refusal.STALE)]),
        (8, (9, Availability.OFFLINE), [(0, Refusal.STALE)]),
        (9, (8, Availability.AVAILABLE), []),
    ],
    ids=["newer elsewhere", "gone", "older elsewhere"],
)
async def test_index_is_put_right_after_a_lost_race(
    new_drivers: Callable[..., Drivers],
    index_kind: IndexKind,
    redis: RedisServer,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    mine: int,
    theirs: tuple[int, Availability],
    refused: list[tuple[int, Refusal]],
) -> None:
    drivers, others = new_drivers(index_kind), new_drivers(index_kind)
    sequence, availability = theirs
    await drivers.report("nyc", [ping(7)])
    read = store.read

    async def read_and_lose_time(commands: Sequence[Command]) -> list[Any]:
        """Between our look at the record and our write, another server takes a ping."""
        records = await read(commands)
        monkeypatch.setattr(store, "read", read)
        await others.report("nyc", [ping(sequence, THERE)._replace(availability=availability)])
        return records

    monkeypatch.setattr(store, "read", read_and_lose_time)
    decisions = await drivers.report("nyc", [ping(mine)])
    assert reasons(decisions) == refused
    # Only what the record says stands in the index, once.
    expected = [] if availability is Availability.OFFLINE else [max(mine, sequence)]
    members = indexed_members(redis, index_kind)
    assert [int(member.rpartition("|")[2]) for member in members] == expected


async def test_keys_expire_by_themselves(
    new_drivers: Callable[..., Drivers], redis: RedisServer, index_kind: IndexKind
) -> None:
    """Nothing is left behind by a fleet that went home: every key has a time to live."""
    drivers = new_drivers(index_kind)
    await drivers.report("nyc", [ping(1, driver_id=f"driver-{i}") for i in range(50)])
    forever = redis.command(
        "EVAL",
        "local n = 0 for _, k in ipairs(redis.call('KEYS', '*')) do "
        "if redis.call('PTTL', k) < 0 then n = n + 1 end end return n",
        "0",
    )
    assert redis.command("DBSIZE") > b":50"
    assert forever == b":0"
