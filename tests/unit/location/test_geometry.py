"""The bounds that searches rest on, tried all over the earth."""

import math
import random

import h3.api.basic_int as h3
import pytest

from hailstorm.location.geometry import CellCover, cell_at, distance_m, moved_at_most_m, parent_of


def places(number: int, seed: str) -> list[tuple[float, float]]:
    """Evenly spread over the sphere, and the twelve pentagons, where H3 is at its worst."""
    dice = random.Random(seed)
    spread = [
        (math.degrees(math.asin(dice.uniform(-1, 1))), dice.uniform(-180, 180))
        for _ in range(number)
    ]
    return spread + [h3.cell_to_latlng(cell) for cell in h3.get_pentagons(9)]


@pytest.mark.parametrize(
    ("one", "other", "metres"),
    [
        ((0, 0), (0, 0), 0),
        ((0, 0), (0, 1), 111_195),
        ((0, 179.5), (0, -179.5), 111_195),
        ((90, 0), (-90, 0), 20_015_115),
        # Grand Central to JFK airport, as any map tells it.
        ((40.7527, -73.9772), (40.6413, -73.7781), 20_900),
    ],
)
def test_distance_is_the_great_circle(
    one: tuple[float, float], other: tuple[float, float], metres: float
) -> None:
    assert distance_m(*one, *other) == pytest.approx(metres, rel=0.002, abs=1e-6)


def test_lower_bound_never_exceeds_the_distance() -> None:
    dice = random.Random("bounds")
    for latitude, longitude in places(150, "bounds"):
        cover = CellCover(latitude, longitude)
        for ring in (0, 1, 3, 8):
            for cell in dice.sample(cover.ring(ring), min(5, len(cover.ring(ring)))):
                bound = cover.lower_bound_m(cell)
                nearest = min(
                    distance_m(latitude, longitude, *corner) for corner in h3.cell_to_boundary(cell)
                )
                assert bound <= nearest, (latitude, longitude, ring)


def test_bound_of_a_ring_holds_for_everything_outside() -> None:
    for latitude, longitude in places(60, "rings"):
        cover = CellCover(latitude, longitude)
        for ring in (0, 2, 4):
            bound = cover.beyond_ring_m(ring)
            assert ring == 0 or bound > 0
            for further in (ring + 1, ring + 2, ring + 4):
                assert all(cover.lower_bound_m(cell) >= bound for cell in cover.ring(further))


def test_parents_cover_the_radius() -> None:
    dice = random.Random("parents")
    for latitude, longitude in places(60, "parents"):
        cover = CellCover(latitude, longitude)
        for radius_m in (1.0, 5_000.0, 20_000.0):
            parents = set(cover.parents_within(radius_m))
            for _ in range(20):
                bearing, metres = dice.uniform(0, 2 * math.pi), radius_m * dice.random()
                point = travel(latitude, longitude, bearing, metres)
                assert parent_of(cell_at(*point)) in parents, (latitude, longitude, radius_m)


def travel(latitude: float, longitude: float, bearing: float, metres: float) -> tuple[float, float]:
    phi, angle = math.radians(latitude), metres / 6_371_008.8
    sin_target = math.sin(phi) * math.cos(angle) + math.cos(phi) * math.sin(angle) * math.cos(
        bearing
    )
    target = math.asin(max(-1.0, min(1.0, sin_target)))
    turn = math.atan2(
        math.sin(bearing) * math.sin(angle) * math.cos(phi),
        math.cos(angle) - math.sin(phi) * sin_target,
    )
    around = (longitude + math.degrees(turn) + 180) % 360 - 180
    return math.degrees(target), around


def test_way_along_the_grid_is_never_shorter() -> None:
    dice = random.Random("grid")
    for one in places(300, "grid"):
        # Next door, where the two are nearly equal, and anywhere.
        near = (one[0] + dice.uniform(-0.01, 0.01), one[1] + dice.uniform(-0.01, 0.01))
        for other in (near, dice.choice(places(1, "other"))):
            # A micrometre for the rounding of floats.
            assert distance_m(*one, *other) <= moved_at_most_m(*one, *other) + 1e-6
