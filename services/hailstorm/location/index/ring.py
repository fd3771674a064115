"""
Drivers in H3 cells, read outwards from the rider.

A search costs what is near, not what is within its radius: the rings around the
rider are read in one Lua call that stops at the first whole ring with enough
drivers and one further, since the next ring may hold somebody nearer than the
last one found. How near is near enough is then proved, not assumed: the search
goes on until no unread cell can be nearer than the last driver of the answer.

What it does not promise: of a cell that holds more than `CELL_CAP` drivers only
the newest so many are read, so that a crowd cannot make it slow. The answer is
then still made of drivers of the nearest cells, off by a cell's width at most.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from hailstorm.location import keys
from hailstorm.location.geometry import CellCover, parent_of
from hailstorm.location.index.base import Change, Found, Search
from hailstorm.location.index.candidates import Candidates
from hailstorm.location.settings import PositionSettings
from hailstorm.location.store import Command, Script, Store

# Stands for more drivers than there are: read every ring that was sent.
_ALL: Final = 2**31
# Rings sent in each call: 19 cells find most drivers of a busy city, 42 more those
# of a suburb; shipping keys is most of what a search costs (measured).
NEAR_RINGS: Final = (range(3), range(3, 5), range(5, 8))
# Cells a call when searching by the list of live cells: a quiet suburb.
LIVE_CELLS_PER_CALL: Final = 128
# A cell's set outlives its last driver by this factor of the silence, so that
# it is not deleted and made again between two pings.
EXPIRY_FACTOR: Final = 2

_UPDATE = Script.of("""
-- KEYS: live cells, then cells. ARGV: oldest, expiry, lines of "cell member" to
-- remove, lines of "cell score member" to add; cell counts in KEYS.
local oldest, expiry = ARGV[1], ARGV[2]
for cell, member in string.gmatch(ARGV[3], '(%d+) ([^\\n]+)') do
  redis.call('ZREM', KEYS[tonumber(cell)], member)
end
local newest = {}
for number, score, member in string.gmatch(ARGV[4], '(%d+) (%d+) ([^\\n]+)') do
  local cell = tonumber(number)
  redis.call('ZADD', KEYS[cell], score, member)
  if not newest[cell] or tonumber(score) > tonumber(newest[cell]) then newest[cell] = score end
end
for cell, score in pairs(newest) do
  redis.call('ZREMRANGEBYSCORE', KEYS[cell], '-inf', '(' .. oldest)
  redis.call('PEXPIRE', KEYS[cell], expiry)
  redis.call('ZADD', KEYS[1], 'GT', score, string.match(KEYS[cell], '[^:]*$'))
end
if next(newest) then
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. oldest)
  redis.call('PEXPIRE', KEYS[1], expiry)
end
return 0
""")

_SEARCH = Script.of("""
-- KEYS: cells, ring by ring. ARGV: oldest, cap, wanted, cells of each ring...
-- Returns how many whole rings were read, then the members, a line each: one long
-- answer is read ten times as fast as hundreds of short ones.
local oldest, cap, wanted = ARGV[1], ARGV[2], tonumber(ARGV[3])
local found, rings, count, at, is_last = {}, 0, 0, 0, false
for ring = 4, #ARGV do
  for _ = 1, tonumber(ARGV[ring]) do
    at = at + 1
    local members =
      redis.call('ZRANGE', KEYS[at], '+inf', oldest, 'BYSCORE', 'REV', 'LIMIT', 0, cap)
    for _, member in ipairs(members) do
      count = count + 1
      found[count] = member
    end
  end
  rings = rings + 1
  if is_last then break end
  is_last = count >= wanted
end
return {rings, table.concat(found, '\\n')}
""")

_LIVE = Script.of("""
-- KEYS: live cells. ARGV: oldest. Returns them in one line.
return table.concat(redis.call('ZRANGE', KEYS[1], ARGV[1], '+inf', 'BYSCORE'), ' ')
""")


class RingIndex:
    """DriverIndex over one sorted set a cell, scored by last-seen time."""

    def __init__(self, settings: PositionSettings, store: Store) -> None:
        self._silence_ms = round(settings.silence_seconds * 1000)
        self._store = store

    def update(self, change: Change) -> list[Command]:
        city_id, removed, added, now_ms = change
        places = _Places(city_id)
        for cell, member in removed:
            place = places[cell]
            place[1].append(place[0] + member)
        for (cell, member), fix in added:
            place = places[cell]
            # A phone ahead of our time must not be seen for longer than others.
            place[2].append(f"{place[0]}{min(fix[4], now_ms)} {member}")
        return places.commands(now_ms - self._silence_ms, self._silence_ms * EXPIRY_FACTOR)

    async def search(self, search: Search) -> list[Found]:
        city_id, latitude, longitude, max_drivers, max_radius_m, now_ms = search
        cover = CellCover(latitude, longitude)
        candidates = Candidates(latitude, longitude, max_drivers, max_radius_m)
        oldest_ms = now_ms - self._silence_ms
        read: set[int] = set()
        for rings in NEAR_RINGS:
            layers = [cover.ring(number) for number in rings]
            # With enough found it only remains to prove that nobody is nearer.
            wanted = candidates.missing() or _ALL
            whole = await self._read(city_id, layers, candidates, oldest_ms, wanted)
            if candidates.are_complete(cover.beyond_ring_m(rings.start + whole - 1)):
                return candidates.nearest()
            if whole < len(layers):
                await self._read(city_id, layers[whole:], candidates, oldest_ms, _ALL)
                if candidates.are_complete(cover.beyond_ring_m(rings.stop - 1)):
                    return candidates.nearest()
            read.update(cell for layer in layers for cell in layer)
        await self._search_live(city_id, cover, candidates, oldest_ms, max_radius_m, read)
        return candidates.nearest()

    async def _search_live(
        self,
        city_id: str,
        cover: CellCover,
        candidates: Candidates,
        oldest_ms: int,
        max_radius_m: float,
        read: set[int],
    ) -> None:
        """Go on with the cells that have drivers at all, nearest first."""
        lists = await self._store.read(
            [
                _LIVE.call((keys.live_cells(keys.index_tag(city_id, parent)),), (oldest_ms,))
                for parent in cover.parents_within(max_radius_m)
            ]
        )
        live = {int(cell, 16) for cells in lists for cell in cells.split()} - read
        by_bound = sorted((cover.lower_bound_m(cell), cell) for cell in live)
        by_bound = [each for each in by_bound if each[0] <= max_radius_m]
        for start in range(0, len(by_bound), LIVE_CELLS_PER_CALL):
            if candidates.are_complete(by_bound[start][0]):
                return
            chunk = [cell for _, cell in by_bound[start : start + LIVE_CELLS_PER_CALL]]
            await self._read(city_id, [chunk], candidates, oldest_ms, _ALL)

    async def _read(
        self,
        city_id: str,
        layers: Sequence[Sequence[int]],
        candidates: Candidates,
        oldest_ms: int,
        wanted: int,
    ) -> int:
        """
        Read layers of cells into `candidates`; returns how many of them were read whole.

        It stops one layer after `wanted` drivers were found.
        """
        commands = []
        for tag, layer_keys in _by_tag(city_id, layers):
            sizes = [len(each) for each in layer_keys]
            cells = [keys.cell_drivers(tag, cell) for each in layer_keys for cell in each]
            commands.append(_SEARCH.call(cells, (oldest_ms, candidates.cap, wanted, *sizes)))
        results = await self._store.read(commands)
        for _, members in results:
            if members:
                candidates.add(members.decode().split("\n"))
        return min(int(result[0]) for result in results)


def _by_tag(city_id: str, layers: Sequence[Sequence[int]]) -> Iterable[tuple[str, list[list[int]]]]:
    """Share the cells of each layer out to the slots that hold them."""
    parents: dict[int, list[list[int]]] = {}
    for number, layer in enumerate(layers):
        for cell in layer:
            mine = parents.setdefault(parent_of(cell), [[] for _ in layers])
            mine[number].append(cell)
    for parent, mine in parents.items():
        yield keys.index_tag(city_id, parent), mine


# What is written before a line about a cell, and its parent's lines of those to
# remove and of those to add.
_Place = tuple[str, list[str], list[str]]


class _Places(dict[int, _Place]):
    """What changes, by cell: each cell's key is sent once, each parent is one command."""

    def __init__(self, city_id: str) -> None:
        super().__init__()
        self._city_id = city_id
        # By parent: its tag, its keys, its lines of removals and of additions.
        self._parents: dict[int, tuple[str, list[str], list[str], list[str]]] = {}

    def __missing__(self, cell: int) -> _Place:
        parent = parent_of(cell)
        mine = self._parents.get(parent)
        if mine is None:
            tag = keys.index_tag(self._city_id, parent)
            mine = self._parents[parent] = (tag, [keys.live_cells(tag)], [], [])
        tag, names, removals, additions = mine
        names.append(keys.cell_drivers(tag, cell))
        # Lua counts from 1, so this is the key's place.
        place = self[cell] = (f"{len(names)} ", removals, additions)
        return place

    def commands(self, oldest_ms: int, expiry_ms: int) -> list[Command]:
        """One for each parent."""
        return [
            _UPDATE.call(names, (oldest_ms, expiry_ms, "\n".join(removals), "\n".join(additions)))
            for _, names, removals, additions in self._parents.values()
        ]
