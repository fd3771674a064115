"""
Drivers of a city as ReportPositions requests, made before the clock runs.

A fleet drives in small steps, so that each ping takes the whole way of a real
one: an older record is found, compared, replaced, and its place in the index
taken over.
"""

import math
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from hailstorm.location.v1 import location_pb2

CITY: Final = "bench"
# New York's centre; the boxes are as wide as its five boroughs, some 30 km.
CENTRE: Final = (40.75, -73.95)
HALF_WIDTH_DEGREES: Final = 0.15
# A crowd in front of a stadium: the standard deviation that the design's own
# figures were measured with.
HOT_SPOT_SIGMA_M: Final = 450.0
METRES_PER_DEGREE: Final = 111_195.0
# A beat of 4 s at 36 km/h.
STEP_DEGREES: Final = 40 / METRES_PER_DEGREE


@dataclass(slots=True)
class Driver:
    """Where a driver is, and how often that was told."""

    driver_id: str
    latitude: float
    longitude: float
    sequence: int = 0


def uniform(count: int, seed: int) -> list[Driver]:
    """Drivers anywhere in the city."""
    return scattered(count, 0.0, seed)


def scattered(count: int, hot_share: float, seed: int) -> list[Driver]:
    """Drivers anywhere in the city, but `hot_share` of them around its centre."""
    source = random.Random(seed)
    squeeze = math.cos(math.radians(CENTRE[0]))
    drivers = []
    for number in range(count):
        if number < count * hot_share:
            sigma = HOT_SPOT_SIGMA_M / METRES_PER_DEGREE
            latitude = source.gauss(CENTRE[0], sigma)
            longitude = source.gauss(CENTRE[1], sigma / squeeze)
        else:
            latitude = CENTRE[0] + source.uniform(-HALF_WIDTH_DEGREES, HALF_WIDTH_DEGREES)
            longitude = CENTRE[1] + source.uniform(-HALF_WIDTH_DEGREES, HALF_WIDTH_DEGREES)
        drivers.append(Driver(f"driver-{number:06}", latitude, longitude))
    # A batch is a gateway's, not a neighbourhood's.
    source.shuffle(drivers)
    return drivers


def requests(drivers: list[Driver], batch: int, rounds: int, seed: int) -> Iterator[bytes]:
    """
    Each driver's next `rounds` pings in batches, serialised, in the order to send.

    Whole rounds: two batches with the same driver lie a round apart.
    """
    source = random.Random(seed)
    for _ in range(rounds):
        now = time.time_ns()
        seconds, nanos = divmod(now, 1_000_000_000)
        for start in range(0, len(drivers), batch):
            request = location_pb2.ReportPositionsRequest(city_id=CITY)
            for driver in drivers[start : start + batch]:
                driver.sequence += 1
                driver.latitude += source.uniform(-STEP_DEGREES, STEP_DEGREES)
                driver.longitude += source.uniform(-STEP_DEGREES, STEP_DEGREES)
                position = request.positions.add(
                    driver_id=driver.driver_id,
                    sequence=driver.sequence,
                    availability=location_pb2.AVAILABILITY_AVAILABLE,
                )
                position.point.latitude = driver.latitude
                position.point.longitude = driver.longitude
                position.observed_at.seconds = seconds
                position.observed_at.nanos = nanos
            yield request.SerializeToString()
