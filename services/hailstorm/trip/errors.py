"""
What can be wrong with a call on a trip.

    NotFoundError
    ├── TripNotFoundError        no such trip in this city
    └── OfferNotFoundError       no such offer was ever made to this driver
    PermissionDeniedError
    ├── NotYoursError            the trip is another driver's or rider's
    └── RiderBlockedError        the rider may not request trips
    FailedPreconditionError
    ├── CityClosedError          the city takes no new trips
    ├── WrongStateError          the table has no such move from this state
    └── OfferOverError           expired, declined, or its trip ended
    AbortedError
    └── VersionChangedError      the trip is not at expected_version
    AlreadyExistsError
    └── KeyReusedError           the idempotency_key was used with another body
    ResourceExhaustedError
    └── StoreBusyError           more calls wait for Postgres than it has time for
    UnavailableError
    └── StoreUnavailableError    Postgres does not answer
        └── SchemaMissingError   its schema is not there yet, or not all of it

None but the last three become better by repeating the call.
"""

from hailstorm.runtime.errors import (
    AbortedError,
    AlreadyExistsError,
    FailedPreconditionError,
    NotFoundError,
    PermissionDeniedError,
    ResourceExhaustedError,
    UnavailableError,
)


class TripNotFoundError(NotFoundError):
    reason = "TRIP_NOT_FOUND"

    def __init__(self, city_id: str, trip_id: str) -> None:
        super().__init__(f"there is no trip {trip_id} in {city_id}")


class OfferNotFoundError(NotFoundError):
    reason = "OFFER_NOT_FOUND"

    def __init__(self, offer_id: str, driver_id: str) -> None:
        super().__init__(f"no offer {offer_id} was ever made to {driver_id}")


class NotYoursError(PermissionDeniedError):
    reason = "NOT_YOUR_TRIP"

    def __init__(self, trip_id: str, actor_id: str) -> None:
        super().__init__(f"trip {trip_id} is not {actor_id}'s")


class RiderBlockedError(PermissionDeniedError):
    reason = "RIDER_BLOCKED"

    def __init__(self, city_id: str, rider_id: str) -> None:
        super().__init__(f"rider {rider_id} is blocked in {city_id}")


class CityClosedError(FailedPreconditionError):
    reason = "CITY_CLOSED"

    def __init__(self, city_id: str) -> None:
        super().__init__(f"{city_id} takes no new trips")


class WrongStateError(FailedPreconditionError):
    """
    The trip stands where it cannot make this move.

    Its metadata tells `state` and `version`, so that a caller need not ask.
    """

    reason = "WRONG_STATE"

    def __init__(self, trip_id: str, state: str, version: int, move: str) -> None:
        super().__init__(
            f"trip {trip_id} is {state}, which does not allow {move}",
            metadata={"state": state, "version": str(version)},
        )


class OfferOverError(FailedPreconditionError):
    reason = "OFFER_OVER"

    def __init__(self, offer_id: str, why: str) -> None:
        super().__init__(f"offer {offer_id} {why}")


class VersionChangedError(AbortedError):
    reason = "VERSION_CHANGED"

    def __init__(self, trip_id: str, expected: int, version: int) -> None:
        super().__init__(
            f"trip {trip_id} is at version {version}, not at expected_version {expected}",
            metadata={"version": str(version)},
        )


class KeyReusedError(AlreadyExistsError):
    reason = "IDEMPOTENCY_KEY_REUSED"

    def __init__(self, key: str) -> None:
        super().__init__(
            f"idempotency_key {key} was used with another body",
            metadata={"field": "idempotency_key"},
        )


class StoreBusyError(ResourceExhaustedError):
    """
    Postgres answers, but not all who ask; nothing was asked for this call.

    Not UNAVAILABLE: the edge would try it on other pods, whose lines for the same
    Postgres are as long, and who counts outages would stop asking altogether.
    """

    reason = "POOL_BUSY"

    def __init__(self) -> None:
        super().__init__("too many calls wait for the trip store")


class StoreUnavailableError(UnavailableError):
    """Postgres does not answer. A write may have happened; its key makes repeating it safe."""

    reason = "POSTGRES_UNAVAILABLE"


class SchemaMissingError(StoreUnavailableError):
    """
    The migration has not run yet; no other pod fares better.

    A part that only a newer schema has may be missing by itself.
    """

    reason = "SCHEMA_MISSING"
    retry_elsewhere = False

    def __init__(self) -> None:
        super().__init__("the trip store has no schema yet")
