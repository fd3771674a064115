"""Each service says of each of its methods what it is worth."""

from typing import Any

import pytest

from hailstorm.dispatch import servicer as dispatch_servicer
from hailstorm.dispatch.v1 import dispatch_pb2
from hailstorm.location import servicer as location_servicer
from hailstorm.location.v1 import location_pb2
from hailstorm.runtime.priority import Priority
from hailstorm.trip import servicer as trip_servicer
from hailstorm.trip.v1 import trip_pb2

SERVICES = {
    "dispatch": (dispatch_servicer, dispatch_pb2),
    "location": (location_servicer, location_pb2),
    "trip": (trip_servicer, trip_pb2),
}


@pytest.mark.parametrize("name", SERVICES)
def test_every_method_has_a_class(name: str) -> None:
    """One that is forgotten would be worth as much as a running trip."""
    servicer: Any
    servicer, protos = SERVICES[name]
    (service,) = protos.DESCRIPTOR.services_by_name.values()
    assert set(servicer.PRIORITIES) == {method.name for method in service.methods}


def test_a_running_trip_goes_before_a_new_request_before_a_view() -> None:
    trip, dispatch, location = (
        module.PRIORITIES for module in (trip_servicer, dispatch_servicer, location_servicer)
    )
    for method in ("ApproachPickup", "StartTrip", "CompleteTrip", "CancelTrip", "AnswerOffer"):
        assert trip[method] is Priority.CRITICAL
    assert trip["CreateTrip"] is trip["OfferTrip"] is dispatch["RequestTrip"] is Priority.NORMAL
    assert location["NearbyDrivers"] is Priority.SHEDDABLE
