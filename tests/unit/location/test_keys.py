"""Keys that one script uses lie in one slot; the others are spread."""

from redis.crc import key_slot

from hailstorm.location import keys
from hailstorm.location.geometry import CellCover, parent_of


def slot(key: str) -> int:
    return int(key_slot(key.encode()))


def test_index_keys_of_a_parent_share_a_slot() -> None:
    cover = CellCover(40.75, -73.98)
    parent = parent_of(cover.centre)
    tag = keys.index_tag("nyc", parent)
    cells = [cell for cell in cover.ring(2) if parent_of(cell) == parent]
    names = [keys.cell_drivers(tag, cell) for cell in cells]
    names += [keys.live_cells(tag), keys.geo_drivers(tag), keys.geo_seen(tag)]
    assert len(cells) > 5
    assert len({slot(name) for name in names}) == 1
    assert len(set(names)) == len(names)


def test_records_of_a_bucket_share_a_slot_and_buckets_are_spread() -> None:
    slots: dict[int, set[int]] = {}
    for number in range(500):
        driver_id = f"driver-{number}"
        name = keys.driver_record("nyc", driver_id)
        slots.setdefault(keys.record_bucket(driver_id), set()).add(slot(name))
    assert len(slots) == keys.RECORD_BUCKETS
    assert all(len(each) == 1 for each in slots.values())
    assert len(set().union(*slots.values())) == keys.RECORD_BUCKETS


def test_key_of_a_record_never_changes() -> None:
    """Two versions run side by side in a roll; both must look in the same place."""
    assert keys.driver_record("nyc", "driver-1") == "loc:{nyc:b5}:d:driver-1"


def test_cities_have_keys_of_their_own() -> None:
    assert keys.index_tag("nyc", 1) != keys.index_tag("paris", 1)
    assert keys.driver_record("nyc", "d") != keys.driver_record("paris", "d")
