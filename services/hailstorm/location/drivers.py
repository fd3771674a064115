"""
What the service does with positions: takes them, tells them, finds drivers.

A driver's record is the truth about its latest sequence and is changed by
compare-and-set; the index follows it. If a server dies between the two, the
index is behind until that driver's next ping four seconds later, and what it
still shows ages out by itself.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from hailstorm.location import keys
from hailstorm.location.geometry import cell_at
from hailstorm.location.index import DriverIndex, Entry, Found
from hailstorm.location.positions import (
    Availability,
    Decisions,
    Fix,
    Known,
    Ping,
    Refusal,
    decide_batch,
    drivers_to_look_up,
)
from hailstorm.location.records import (
    ORDER_CHARACTERS,
    decode_record,
    encode_member,
    encode_record,
    indexed_member,
)
from hailstorm.location.settings import PositionSettings
from hailstorm.location.store import Command, Script, Store
from hailstorm.runtime.clock import Clock

# Lua's answer for a record that was already newer; no record is so short.
_REFUSED: Final = "0"

_COMPARE_AND_SET = Script.of(f"""
-- KEYS: records. ARGV: milliseconds to live, the new records, a line each: one
-- long argument is packed in a tenth of the time that many short ones take.
-- Returns a line for each: the record that was replaced, nothing when there was
-- none, or 0 when the one that is there is as new or newer.
local replies, i = {{}}, 0
for record in string.gmatch(ARGV[2], '[^\\n]+') do
  i = i + 1
  local key = KEYS[i]
  local old = redis.call('GET', key) or ''
  if old ~= '' and string.sub(old, 1, {ORDER_CHARACTERS})
      >= string.sub(record, 1, {ORDER_CHARACTERS}) then
    replies[i] = '{_REFUSED}'
  else
    redis.call('SET', key, record, 'PX', ARGV[1])
    replies[i] = old
  end
end
return table.concat(replies, '\\n')
""")


class Drivers:
    """The drivers of all cities, as their phones last told."""

    def __init__(
        self, settings: PositionSettings, store: Store, index: DriverIndex, clock: Clock
    ) -> None:
        self._settings = settings
        self._memory_ms = round(settings.memory_seconds * 1000)
        self._store = store
        self._index = index
        self._clock = clock

    async def report(self, city_id: str, pings: Sequence[Ping]) -> Decisions:
        """
        Take a batch; says what became of each.

        Repeating a batch changes nothing: all of it is then stale. Raises
        StoreUnavailableError, after which some of it may have been taken.
        """
        now_ms = self._now_ms()
        known = await self._records(city_id, drivers_to_look_up(pings))
        decisions = decide_batch(pings, known, now_ms, self._settings)
        await self._write(city_id, decisions, now_ms)
        return decisions

    async def positions(self, city_id: str, driver_ids: Iterable[str]) -> list[Fix]:
        """The last positions of those who are known. Raises StoreUnavailableError."""
        records = await self._records(city_id, list(dict.fromkeys(driver_ids)))
        # A record lives from when it was written, and may have been late then.
        oldest_ms = self._now_ms() - self._memory_ms
        return [
            known.fix
            for known in records.values()
            if known.fix is not None and known.fix.observed_ms >= oldest_ms
        ]

    async def nearby(
        self,
        city_id: str,
        latitude: float,
        longitude: float,
        max_drivers: int,
        max_radius_m: float,
    ) -> list[Found]:
        """Available drivers around a point, nearest first. Raises StoreUnavailableError."""
        return await self._index.search(
            city_id, latitude, longitude, max_drivers, max_radius_m, self._now_ms()
        )

    async def _records(self, city_id: str, driver_ids: list[str]) -> dict[str, Known]:
        buckets = _by_bucket(driver_ids)
        lists = await self._store.read(
            [
                Command(("MGET", *(keys.driver_record(city_id, driver_id) for driver_id in ids)))
                for ids in buckets
            ]
        )
        known = {}
        for ids, records in zip(buckets, lists, strict=True):
            for driver_id, record in zip(ids, records, strict=True):
                if record is not None:
                    known[driver_id] = decode_record(record)
        return known

    async def _write(self, city_id: str, decisions: Decisions, now_ms: int) -> None:
        """Write the latest of each driver; one that lost a race becomes refused as stale."""
        cells = {
            driver_id: cell_at(fix.latitude, fix.longitude)
            for driver_id, (_, fix) in decisions.latest.items()
        }
        buckets = _by_bucket(list(decisions.latest))
        commands = []
        for ids in buckets:
            records = [
                encode_record(decisions.latest[driver_id][1], cells[driver_id]) for driver_id in ids
            ]
            names = [keys.driver_record(city_id, driver_id) for driver_id in ids]
            commands.append(_COMPARE_AND_SET.call(names, (self._memory_ms, "\n".join(records))))
        replies = await self._store.write(commands)

        removed: list[Entry] = []
        added: list[tuple[Entry, Fix]] = []
        for ids, replaced in zip(buckets, replies, strict=True):
            for driver_id, old in zip(ids, replaced.decode().split("\n"), strict=True):
                place, fix = decisions.latest[driver_id]
                if old == _REFUSED:
                    decisions.refused.append((place, Refusal.STALE))
                    decisions.accepted_count -= 1
                    continue
                if old and (entry := indexed_member(old)) is not None:
                    removed.append(Entry(*entry))
                if fix.availability is Availability.AVAILABLE:
                    added.append((Entry(cells[driver_id], encode_member(fix)), fix))
        decisions.refused.sort()
        await self._store.write(self._index.update(city_id, removed, added, now_ms))

    def _now_ms(self) -> int:
        return int(self._clock.now() * 1000)


def _by_bucket(driver_ids: list[str]) -> list[list[str]]:
    """Share drivers out to the slots that hold their records."""
    buckets: dict[int, list[str]] = defaultdict(list)
    for driver_id in driver_ids:
        buckets[keys.record_bucket(driver_id)].append(driver_id)
    return list(buckets.values())
