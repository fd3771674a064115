"""
Drivers in Redis' own geo sets, one for each H3 parent.

It is what one would write first, and it is exact; but GEOSEARCH visits every
driver within the radius before it takes the nearest ten, so a crowd makes it
slow where it is needed most (33.6 k to 219 searches/s, measured). It stays, by
setting, so that this can be shown on the same code and keys.
"""

from collections import defaultdict
from typing import Final

from hailstorm.location import keys
from hailstorm.location.geometry import CellCover, parent_of
from hailstorm.location.index.base import Change, Found, Search
from hailstorm.location.index.candidates import Candidates
from hailstorm.location.settings import PositionSettings
from hailstorm.location.store import Command, Script, Store

# Redis refuses latitudes beyond the edge of the Mercator map.
MAX_LATITUDE: Final = 85.05112878
# Redis' sphere is 0.03 % larger than ours and its grid is 0.6 m coarse; it is
# asked for a little more, and distances are computed again from the position.
RADIUS_FACTOR: Final = 1.002
RADIUS_MARGIN_M: Final = 2.0
# Silent drivers come back with the others until they are trimmed; asking for
# more than wanted makes a second call rare. A guess.
SPARE_COUNT: Final = 20
# Members trimmed by one update at most, so that none takes long.
TRIM_LIMIT: Final = 200
# The sets outlive their last driver by this factor of the silence.
EXPIRY_FACTOR: Final = 2

_UPDATE = Script.of("""
-- KEYS: geo, seen. ARGV: oldest, expiry, trim limit, removals, member...,
-- (longitude, latitude, score, member)...
local oldest, expiry, limit, removals = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local at = 5
for _ = 1, removals do
  redis.call('ZREM', KEYS[1], ARGV[at])
  redis.call('ZREM', KEYS[2], ARGV[at])
  at = at + 1
end
while at <= #ARGV do
  redis.call('GEOADD', KEYS[1], ARGV[at], ARGV[at + 1], ARGV[at + 3])
  redis.call('ZADD', KEYS[2], ARGV[at + 2], ARGV[at + 3])
  at = at + 4
end
local silent = redis.call('ZRANGE', KEYS[2], '-inf', '(' .. oldest, 'BYSCORE', 'LIMIT', 0, limit)
for _, member in ipairs(silent) do
  redis.call('ZREM', KEYS[1], member)
  redis.call('ZREM', KEYS[2], member)
end
redis.call('PEXPIRE', KEYS[1], expiry)
redis.call('PEXPIRE', KEYS[2], expiry)
return 0
""")

_SEARCH = Script.of("""
-- KEYS: geo, seen. ARGV: oldest, longitude, latitude, radius, count.
-- Returns how many members are within the radius, and those that are not silent, a
-- line each. When a driver was seen is in `seen` alone: the member has the phone's
-- own time, which may be ahead of ours.
local oldest = tonumber(ARGV[1])
local members = redis.call('GEOSEARCH', KEYS[1], 'FROMLONLAT', ARGV[2], ARGV[3],
  'BYRADIUS', ARGV[4], 'm', 'ASC', 'COUNT', ARGV[5])
local found = {}
for _, member in ipairs(members) do
  local seen = redis.call('ZSCORE', KEYS[2], member)
  if seen and tonumber(seen) >= oldest then found[#found + 1] = member end
end
return {#members, table.concat(found, '\\n')}
""")


class GeosearchIndex:
    """DriverIndex over GEOADD and GEOSEARCH."""

    def __init__(self, settings: PositionSettings, store: Store) -> None:
        self._silence_ms = round(settings.silence_seconds * 1000)
        self._store = store

    def update(self, change: Change) -> list[Command]:
        removals: dict[int, list[str]] = defaultdict(list)
        additions: dict[int, list[str | int | float]] = defaultdict(list)
        city_id, removed, added, now_ms = change
        for entry in removed:
            removals[parent_of(entry.cell)].append(entry.member)
        for entry, fix in added:
            latitude = max(-MAX_LATITUDE, min(MAX_LATITUDE, fix.latitude))
            score = min(fix.observed_ms, now_ms)
            additions[parent_of(entry.cell)] += (fix.longitude, latitude, score, entry.member)
        return [
            self._update(
                keys.index_tag(city_id, parent), removals[parent], additions[parent], now_ms
            )
            for parent in dict.fromkeys((*removals, *additions))
        ]

    async def search(self, search: Search) -> list[Found]:
        city_id, latitude, longitude, max_drivers, max_radius_m, now_ms = search
        parents = CellCover(latitude, longitude).parents_within(max_radius_m)
        around = (
            now_ms - self._silence_ms,
            longitude,
            max(-MAX_LATITUDE, min(MAX_LATITUDE, latitude)),
            max_radius_m * RADIUS_FACTOR + RADIUS_MARGIN_M,
        )
        count = max_drivers + SPARE_COUNT
        while True:
            results = await self._store.read(
                [_geosearch(keys.index_tag(city_id, parent), around, count) for parent in parents]
            )
            candidates = Candidates(latitude, longitude, max_drivers, max_radius_m)
            for _, members in results:
                if members:
                    candidates.add(members.decode().split("\n"))
            found = candidates.nearest()
            is_cut = any(within == count for within, _ in results)
            if len(found) == max_drivers or not is_cut:
                return found
            count *= 4

    def _update(
        self, tag: str, removals: list[str], additions: list[str | int | float], now_ms: int
    ) -> Command:
        return _UPDATE.call(
            (keys.geo_drivers(tag), keys.geo_seen(tag)),
            (
                now_ms - self._silence_ms,
                self._silence_ms * EXPIRY_FACTOR,
                TRIM_LIMIT,
                len(removals),
                *removals,
                *additions,
            ),
        )


def _geosearch(tag: str, around: tuple[int, float, float, float], count: int) -> Command:
    return _SEARCH.call((keys.geo_drivers(tag), keys.geo_seen(tag)), (*around, count))
