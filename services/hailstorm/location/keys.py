"""
Every Redis key of the location service is built here.

The part in braces decides the slot on a Redis Cluster. Index keys are tagged by
city and H3 parent of resolution 5 (about 250 km²), so that a search touches one
to three slots and a city does not sit on one shard; driver records are tagged
by a bucket of their id, as they are looked up without knowing where a driver is.

    loc:{nyc:852a1073fffffff}:c:892a1072893ffff   drivers of a cell
    loc:{nyc:852a1073fffffff}:live                cells that have drivers
    loc:{nyc:852a1073fffffff}:geo                 drivers of a parent, for GEOSEARCH
    loc:{nyc:852a1073fffffff}:seen                the same, by time
    loc:{nyc:b7}:d:driver-1                       a driver's record
"""

import zlib
from collections import defaultdict
from collections.abc import Iterable
from typing import Final

# Eight: a city spreads over a few shards, and a batch of 500 drivers is still only
# eight commands. A guess.
RECORD_BUCKETS: Final = 8


def index_tag(city_id: str, parent: int) -> str:
    """The slot tag of all index keys of a city's H3 parent."""
    return f"{{{city_id}:{parent:x}}}"


def cell_drivers(tag: str, cell: int) -> str:
    """Sorted set: members of available drivers in a cell, scored by last-seen milliseconds."""
    return f"loc:{tag}:c:{cell:x}"


def live_cells(tag: str) -> str:
    """Sorted set: cells (hexadecimal) that have had a driver, scored like their newest."""
    return f"loc:{tag}:live"


def geo_drivers(tag: str) -> str:
    """Geo set: members of available drivers, for GEOSEARCH."""
    return f"loc:{tag}:geo"


def geo_seen(tag: str) -> str:
    """Sorted set: the members of `geo_drivers`, scored by last-seen milliseconds."""
    return f"loc:{tag}:seen"


def record_bucket(driver_id: str) -> int:
    """The bucket that holds a driver's record; the same in every process and version."""
    return zlib.crc32(driver_id.encode()) % RECORD_BUCKETS


def driver_record(city_id: str, driver_id: str) -> str:
    """String: what is known of a driver, expiring by itself."""
    return _driver_record(city_id, record_bucket(driver_id), driver_id)


def driver_records(city_id: str, driver_ids: Iterable[str]) -> list[dict[str, str]]:
    """The keys of many drivers' records, by driver; one dictionary for each slot."""
    prefixes = [_driver_record(city_id, bucket, "") for bucket in range(RECORD_BUCKETS)]
    slots: dict[int, dict[str, str]] = defaultdict(dict)
    crc32 = zlib.crc32
    for driver_id in driver_ids:
        # As `record_bucket`, whose call would take longer than its work.
        bucket = crc32(driver_id.encode()) % RECORD_BUCKETS
        slots[bucket][driver_id] = prefixes[bucket] + driver_id
    return list(slots.values())


def _driver_record(city_id: str, bucket: int, driver_id: str) -> str:
    return f"loc:{{{city_id}:b{bucket}}}:d:{driver_id}"
