"""DispatchService: from protos to the domain and back, and nothing else."""

from typing import Any, Final, NoReturn

from hailstorm.dispatch.matcher import Matcher
from hailstorm.dispatch.v1 import dispatch_pb2, dispatch_pb2_grpc
from hailstorm.runtime.errors import FailedPreconditionError, UnimplementedError
from hailstorm.runtime.priority import Priority
from hailstorm.runtime.violations import Violations

SERVICE_NAME: Final = "hailstorm.dispatch.v1.DispatchService"

PRIORITIES: Final = {
    # A rider and a driver wait for each other: the offer runs out meanwhile.
    "AcceptOffer": Priority.CRITICAL,
    "DeclineOffer": Priority.CRITICAL,
    "WatchOffers": Priority.CRITICAL,
    "RequestTrip": Priority.NORMAL,
    "GetQuote": Priority.SHEDDABLE,
}


class DispatchServicer(dispatch_pb2_grpc.DispatchServiceServicer):
    """Serves requests for trips."""

    def __init__(self, matcher: Matcher) -> None:
        self._matcher = matcher

    async def RequestTrip(self, request: Any, _context: Any) -> Any:
        violations = Violations()
        violations.idempotency_key("idempotency_key", request.idempotency_key)
        violations.identifier("city_id", request.city_id)
        violations.identifier("rider_id", request.rider_id)
        violations.point("pickup", request)
        violations.point("dropoff", request)
        if request.HasField("quote_id"):
            violations.identifier("quote_id", request.quote_id)
        violations.raise_if_any()
        if request.HasField("quote_id"):
            # No quote was ever given, so none can be good.
            raise FailedPreconditionError(
                f"quote {request.quote_id} is not known; leave quote_id out", reason="QUOTE_UNKNOWN"
            )
        return dispatch_pb2.RequestTripResponse(trip=await self._matcher.request_trip(request))

    async def GetQuote(self, _request: Any, _context: Any) -> NoReturn:
        raise UnimplementedError("this version has no surge, so it gives no quotes")

    async def AcceptOffer(self, _request: Any, _context: Any) -> NoReturn:
        raise UnimplementedError("this version accepts offers on the driver's behalf")

    async def DeclineOffer(self, _request: Any, _context: Any) -> NoReturn:
        raise UnimplementedError("this version accepts offers on the driver's behalf")

    async def WatchOffers(self, _request: Any, _context: Any) -> Any:
        raise UnimplementedError("this version accepts offers on the driver's behalf")
        yield  # The handler of a stream is a generator, also when it gives nothing.
