"""
What the service does with positions: takes them, tells them, finds drivers.

A driver's record is the truth about its latest sequence and is changed by
compare-and-set; the index goes with it. Where two servers race, or one dies
between the two, the index is wrong until the loser puts it right or until that
driver's next ping four seconds later, and what it still shows ages out by itself.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from hailstorm.location import keys
from hailstorm.location.geometry import cell_at
from hailstorm.location.index import Change, DriverIndex, Entry, Found, Search
from hailstorm.location.positions import (
    Availability,
    Decisions,
    Fix,
    Known,
    Ping,
    decide_batch,
    drivers_to_look_up,
    new,
    refuse_all_of,
)
from hailstorm.location.records import (
    ORDER_CHARACTERS,
    decode_record,
    encode_member,
    encode_record,
    indexed_member,
    read_record,
)
from hailstorm.location.settings import PositionSettings
from hailstorm.location.store import Command, Script, Store
from hailstorm.runtime.clock import Clock

# Lua's answers for a record that was already newer, and for one that is this very one; no record
# is so short.
_REFUSED: Final = "0"
_SAME: Final = "="
_AVAILABLE: Final = Availability.AVAILABLE

_COMPARE_AND_SET = Script.of(f"""
-- KEYS: records. ARGV: milliseconds to live, the new records, a line each: one
-- long argument is packed in a tenth of the time that many short ones take.
-- Returns a line for each: the record that was replaced, nothing when there was
-- none, 0 when the one that is there is as new or newer, or = when it is this very
-- one: another copy of the call was faster, and its place in the index is right.
local replies, i = {{}}, 0
for record in string.gmatch(ARGV[2], '[^\\n]+') do
  i = i + 1
  local key = KEYS[i]
  local old = redis.call('GET', key) or ''
  if old == record then
    replies[i] = '{_SAME}'
  elseif old ~= '' and string.sub(old, 1, {ORDER_CHARACTERS})
      >= string.sub(record, 1, {ORDER_CHARACTERS}) then
    replies[i] = '{_REFUSED}'
  else
    redis.call('SET', key, record, 'PX', ARGV[1])
    replies[i] = old
  end
end
return table.concat(replies, '\\n')
""")


class _Write(NamedTuple):
    """What is written in one slot, in columns: record by record."""

    driver_ids: list[str]
    names: list[str]
    news: list[str]
    olds: list[str]


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
        slots = keys.driver_records(city_id, drivers_to_look_up(pings))
        records = await self._records(slots)
        known: dict[str, Known] = {}
        indexed: dict[str, tuple[int, str] | None] = {}
        for driver_id, record in records.items():
            known[driver_id], indexed[driver_id] = read_record(record)
        decisions = decide_batch(pings, known, now_ms, self._settings)
        lost = await self._write(city_id, slots, records, indexed, decisions, now_ms)
        refuse_all_of(lost, pings, decisions)
        return decisions

    async def positions(self, city_id: str, driver_ids: Iterable[str]) -> list[Fix]:
        """The last positions of those who are known. Raises StoreUnavailableError."""
        records = await self._records(keys.driver_records(city_id, driver_ids))
        fixes = (decode_record(record).fix for record in records.values())
        # A record lives from when it was written, and may have been late then.
        oldest_ms = self._now_ms() - self._memory_ms
        return [fix for fix in fixes if fix is not None and fix.observed_ms >= oldest_ms]

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
            Search(city_id, latitude, longitude, max_drivers, max_radius_m, self._now_ms())
        )

    async def _records(self, slots: Sequence[Mapping[str, str]]) -> dict[str, str]:
        """The records of those of whom there is one, by driver."""
        lists = await self._store.read([Command(("MGET", *slot.values())) for slot in slots])
        return {
            driver_id: record.decode()
            for slot, records in zip(slots, lists, strict=True)
            for driver_id, record in zip(slot, records, strict=True)
            if record is not None
        }

    async def _write(
        self,
        city_id: str,
        slots: Iterable[Mapping[str, str]],
        records: Mapping[str, str],
        indexed: Mapping[str, tuple[int, str] | None],
        decisions: Decisions,
        now_ms: int,
    ) -> set[str]:
        """
        Write the latest of each driver, and its place in the index with it; who lost a race.

        The index is changed as if the records that were read still stood, which
        saves a round trip in all calls but those that lose a race: they put it
        right afterwards, and what they lost is stale.
        """
        latest = decisions.latest
        writes: list[_Write] = []
        removed: list[Entry] = []
        added: dict[str, tuple[Entry, Fix]] = {}
        for slot in slots:
            write = _Write([], [], [], [])
            for driver_id, name in slot.items():
                chosen = latest.get(driver_id)
                if chosen is None:
                    continue
                fix = chosen[1]
                cell, member = cell_at(fix[2], fix[3]), encode_member(fix)
                write.driver_ids.append(driver_id)
                write.names.append(name)
                write.news.append(encode_record(fix, cell, member))
                write.olds.append(records.get(driver_id, ""))
                if fix[5] is _AVAILABLE:
                    added[driver_id] = (new(Entry, (cell, member)), fix)
                before = indexed.get(driver_id)
                if before is not None:
                    removed.append(new(Entry, before))
            if write.names:
                writes.append(write)
        commands = [
            _COMPARE_AND_SET.call(write.names, (self._memory_ms, "\n".join(write.news)))
            for write in writes
        ]
        changes = self._index.update(Change(city_id, removed, added.values(), now_ms))
        replies = await self._store.write([*commands, *changes])

        wrong: list[Entry] = []
        lost: set[str] = set()
        for write, reply in zip(writes, replies, strict=False):
            # Nearly always, and then there is nothing to look at one by one.
            if reply == "\n".join(write.olds).encode():
                continue
            replaced = reply.decode().split("\n")
            for driver_id, was, old in zip(write.driver_ids, write.olds, replaced, strict=True):
                if old == was:
                    continue
                if old not in (_REFUSED, _SAME):
                    wrong += _indexed(old)
                    continue
                lost.add(driver_id)
                # What the other copy has put in is what this one would take out.
                if old == _REFUSED and driver_id in added:
                    wrong.append(added[driver_id][0])
        if wrong:
            await self._store.write(self._index.update(Change(city_id, wrong, (), now_ms)))
        return lost

    def _now_ms(self) -> int:
        return int(self._clock.now() * 1000)


def _indexed(record: str) -> list[Entry]:
    """What stands in the index for a record, at most one entry; nothing for no record."""
    entry = indexed_member(record) if record else None
    return [] if entry is None else [Entry(*entry)]
