"""
LocationService: from protos to the domain and back, and nothing else.

Requests are refused as a whole only for what makes the whole unusable; what is
wrong with one position refuses that position.
"""

from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter

from hailstorm.location.drivers import Drivers
from hailstorm.location.positions import Fix, Ping, Refusal, new
from hailstorm.location.v1 import location_pb2, location_pb2_grpc
from hailstorm.runtime.priority import Priority
from hailstorm.runtime.violations import Violations

SERVICE_NAME: Final = "hailstorm.location.v1.LocationService"

PRIORITIES: Final = {
    # A batch that is refused is overtaken by the next beat, but after three of
    # them nobody finds these drivers any more.
    "ReportPositions": Priority.NORMAL,
    # The cars on a rider's map. Dispatch asks with the class of the request that
    # it looks for a driver for.
    "NearbyDrivers": Priority.SHEDDABLE,
    # Where the driver of a watched trip is, asked again a second later.
    "BatchGetPositions": Priority.NORMAL,
}

# As the proto says.
MAX_BATCH: Final = 500
DEFAULT_DRIVERS: Final = 10
MAX_DRIVERS: Final = 100
DEFAULT_RADIUS_M: Final = 5_000
MAX_RADIUS_M: Final = 20_000

# The last second that google.protobuf.Timestamp can hold, and its nanoseconds.
_MAX_SECONDS: Final = 253_402_300_799
_NANOSECONDS: Final = 1_000_000_000


class LocationServicer(location_pb2_grpc.LocationServiceServicer):
    """Serves positions and drivers."""

    def __init__(self, drivers: Drivers, registry: CollectorRegistry) -> None:
        self._drivers = drivers
        counter = Counter(
            "hailstorm_positions",
            "Positions reported, by what became of them.",
            ("result",),
            registry=registry,
        )
        self._accepted = counter.labels(result="accepted")
        # All of them from the start: a series that appears late looks like a jump.
        self._refused = {r: counter.labels(result=r.name.lower()) for r in Refusal}

    async def ReportPositions(self, request: Any, _context: Any) -> Any:
        violations = Violations()
        violations.identifier("city_id", request.city_id)
        violations.size("positions", request.positions, 1, MAX_BATCH)
        violations.raise_if_any()
        pings = pings_of(request.positions)
        decisions = await self._drivers.report(request.city_id, pings)
        self._accepted.inc(decisions.accepted_count)
        response = location_pb2.ReportPositionsResponse(accepted_count=decisions.accepted_count)
        for index, reason in decisions.refused:
            self._refused[reason].inc()
            response.refused.add(index=index, driver_id=pings[index].driver_id, reason=reason.value)
        return response

    async def NearbyDrivers(self, request: Any, _context: Any) -> Any:
        violations = Violations()
        violations.identifier("city_id", request.city_id)
        violations.point("point", request)
        violations.between("max_drivers", request.max_drivers, 0, MAX_DRIVERS)
        violations.between("max_radius_m", request.max_radius_m, 0, MAX_RADIUS_M)
        violations.raise_if_any()
        found = await self._drivers.nearby(
            request.city_id,
            request.point.latitude,
            request.point.longitude,
            request.max_drivers or DEFAULT_DRIVERS,
            request.max_radius_m or DEFAULT_RADIUS_M,
        )
        response = location_pb2.NearbyDriversResponse()
        for each in found:
            driver = response.drivers.add(driver_id=each.fix.driver_id, distance_m=each.distance_m)
            _write_fix(driver, each.fix)
        return response

    async def BatchGetPositions(self, request: Any, _context: Any) -> Any:
        violations = Violations()
        violations.identifier("city_id", request.city_id)
        violations.size("driver_ids", request.driver_ids, 1, MAX_BATCH)
        for index, driver_id in enumerate(request.driver_ids[:MAX_BATCH]):
            violations.identifier(f"driver_ids[{index}]", driver_id)
        violations.raise_if_any()
        response = location_pb2.BatchGetPositionsResponse()
        for fix in await self._drivers.positions(request.city_id, request.driver_ids):
            position = response.positions.add(
                driver_id=fix.driver_id,
                sequence=fix.sequence,
                availability=fix.availability.value,
            )
            _write_fix(position, fix)
        return response


def pings_of(positions: Any) -> list[Ping]:
    """
    What the phones say. A time that is none, or is left out, is None.

    Each look at a message's field makes an object, so it is done once, and a
    message is asked whether it has a field only where the value leaves it open.
    """
    pings = []
    for position in positions:
        point, observed_at = position.point, position.observed_at
        latitude, longitude = point.latitude, point.longitude
        if not (latitude or longitude or position.HasField("point")):
            latitude = longitude = None
        # A time that is left out has 0 seconds, as no time that is told has.
        seconds, nanos = observed_at.seconds, observed_at.nanos
        observed_ms = None
        if 0 < seconds <= _MAX_SECONDS and 0 <= nanos < _NANOSECONDS:
            observed_ms = seconds * 1000 + nanos // 1_000_000
        pings.append(
            new(
                Ping,
                (
                    position.driver_id,
                    position.sequence,
                    latitude,
                    longitude,
                    observed_ms,
                    position.availability,
                ),
            )
        )
    return pings


def _write_fix(message: Any, fix: Fix) -> None:
    message.point.latitude = fix.latitude
    message.point.longitude = fix.longitude
    message.observed_at.FromMilliseconds(fix.observed_ms)
