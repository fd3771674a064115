"""Searches against the plainest possible one: measure all drivers, sort, cut."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from hailstorm.location.drivers import Drivers
from hailstorm.location.geometry import cell_at, distance_m
from hailstorm.location.positions import Availability, Ping
from hailstorm.location.settings import IndexKind

# Positions are kept to a centimetre, so two distances this near may change places.
SAME_DISTANCE_M = 0.05


@dataclass(frozen=True)
class Scene:
    """Drivers scattered around a place."""

    latitude: float
    longitude: float
    spread_degrees: float
    drivers: int


SCENES = {
    "busy-city": Scene(40.75, -73.98, 0.03, 900),
    "suburb": Scene(40.75, -73.98, 0.15, 400),
    "desert": Scene(23.0, 10.0, 0.2, 12),
    "nobody": Scene(40.75, -73.98, 0.1, 0),
    "date-line": Scene(-17.0, 179.99, 0.04, 300),
    "equator": Scene(0.001, 0.001, 0.05, 300),
    "north": Scene(78.22, 15.63, 0.05, 200),
    # One of the twelve pentagons of H3, where a ring has five sides.
    "pentagon": Scene(64.7, 10.536, 0.04, 300),
}


@pytest.mark.parametrize("name", SCENES)
async def test_search_equals_brute_force(
    name: str, index_kind: IndexKind, new_drivers: Callable[..., Drivers]
) -> None:
    scene = SCENES[name]
    seed = random.Random(name)
    drivers = new_drivers(index_kind)
    everybody = scatter(seed, scene)
    await report_all(drivers, everybody)
    for _ in range(25):
        latitude, longitude = place(seed, scene)
        wanted = seed.choice([1, 3, 10, 40, 100])
        radius = seed.choice([1.0, 150.0, 800.0, 5_000.0, 20_000.0])
        found = await drivers.nearby("nyc", latitude, longitude, wanted, radius)
        expected = sorted(
            metres
            for ping in everybody
            if (metres := distance_m(latitude, longitude, ping.latitude, ping.longitude)) <= radius
        )[:wanted]
        what = f"{name} at {latitude},{longitude}: {wanted} within {radius} m"
        assert [each.distance_m for each in found] == pytest.approx(
            expected, abs=SAME_DISTANCE_M
        ), what
        assert len({each.fix.driver_id for each in found}) == len(found), what


async def test_search_in_a_crowd_is_off_by_a_cell_at_most(
    new_drivers: Callable[..., Drivers],
) -> None:
    """More drivers in a cell than are read of it: the answer is near, not nearest."""
    seed = random.Random("crowd")
    drivers = new_drivers(IndexKind.RING)
    everybody = scatter(seed, Scene(40.75, -73.98, 0.002, 1500))
    assert len({cell_at(p.latitude, p.longitude) for p in everybody}) < 20
    await report_all(drivers, everybody)
    found = await drivers.nearby("nyc", 40.75, -73.98, 10, 5_000)
    nearest = sorted(distance_m(40.75, -73.98, p.latitude, p.longitude) for p in everybody)[:10]
    assert len(found) == 10
    # Two edges of 200 m, and what the projection adds.
    assert found[-1].distance_m - nearest[-1] < 450


async def test_search_reaches_over_the_border_of_parents(
    index_kind: IndexKind, new_drivers: Callable[..., Drivers]
) -> None:
    """Cells of one search lie in several slots where H3 parents meet."""
    drivers = new_drivers(index_kind)
    everybody = scatter(random.Random("border"), Scene(40.75, -73.98, 0.25, 600))
    await report_all(drivers, everybody)
    found = await drivers.nearby("nyc", 40.75, -73.98, 100, 20_000)
    from hailstorm.location.geometry import parent_of

    parents = {parent_of(cell_at(each.fix.latitude, each.fix.longitude)) for each in found}
    assert len(found) == 100
    assert len(parents) > 1


async def test_cities_do_not_see_each_other(
    index_kind: IndexKind, new_drivers: Callable[..., Drivers]
) -> None:
    drivers = new_drivers(index_kind)
    await report_all(drivers, [ping_of("driver-1", 40.75, -73.98)])
    assert await drivers.nearby("paris", 40.75, -73.98, 10, 5_000) == []


def place(seed: random.Random, scene: Scene) -> tuple[float, float]:
    latitude = scene.latitude + seed.uniform(-1, 1) * scene.spread_degrees
    longitude = scene.longitude + seed.uniform(-1, 1) * scene.spread_degrees
    return latitude, (longitude + 180) % 360 - 180


def scatter(seed: random.Random, scene: Scene) -> list[Ping]:
    return [ping_of(f"driver-{i}", *place(seed, scene)) for i in range(scene.drivers)]


def ping_of(driver_id: str, latitude: float, longitude: float) -> Ping:
    now_ms = int(time.time() * 1000)
    return Ping(driver_id, 1, latitude, longitude, now_ms, Availability.AVAILABLE)


async def report_all(drivers: Drivers, pings: list[Ping]) -> None:
    for start in range(0, len(pings), 500):
        decisions = await drivers.report("nyc", pings[start : start + 500])
        assert decisions.refused == []
