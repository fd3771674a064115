"""
What dispatch refuses, and what it says.

    NotFoundError
    └── OfferNotFoundError        no such offer was ever made to this driver
    FailedPreconditionError
    ├── OfferOverError            expired, declined, or its trip ended
    ├── QuoteUnknownError         never given, or for another rider or place
    ├── QuoteExpiredError         ask for a new one
    └── CellClosedError           an operator has closed the place to new requests
    ResourceExhaustedError
    └── TooFewDriversError        the place has more waiting riders than it can serve
    UnavailableError
    └── NeighbourUnavailableError location or trip failed, or was too slow

A closed cell is a precondition and not UNAVAILABLE: it opens when somebody says
so, and neither another pod nor the same call a little later changes that; a
client that obeys retry rules would call for hours.
"""

from typing import Final

from hailstorm.runtime.errors import (
    FailedPreconditionError,
    NotFoundError,
    ResourceExhaustedError,
    UnavailableError,
)


class OfferNotFoundError(NotFoundError):
    reason = "OFFER_NOT_FOUND"

    def __init__(self, offer_id: str, driver_id: str) -> None:
        super().__init__(f"no offer {offer_id} was ever made to {driver_id}")


class OfferOverError(FailedPreconditionError):
    reason = "OFFER_OVER"


class QuoteUnknownError(FailedPreconditionError):
    reason = "QUOTE_UNKNOWN"

    def __init__(self, quote_id: str) -> None:
        super().__init__(
            f"quote {quote_id} was not given to this rider for this place; ask for one, "
            "or leave quote_id out"
        )


class QuoteExpiredError(FailedPreconditionError):
    reason = "QUOTE_EXPIRED"

    def __init__(self, quote_id: str) -> None:
        super().__init__(f"quote {quote_id} has expired; ask for a new one")


class CellClosedError(FailedPreconditionError):
    reason = "CELL_CLOSED"

    def __init__(self, cell: str) -> None:
        super().__init__(
            f"no new requests are taken around here (cell {cell})", metadata={"cell": cell}
        )


class TooFewDriversError(ResourceExhaustedError):
    reason = "TOO_FEW_DRIVERS"

    def __init__(self, cell: str, retry_after_seconds: float) -> None:
        super().__init__(
            "more riders wait around here than drivers are free; try again in a while",
            metadata={"cell": cell},
            retry_after_seconds=retry_after_seconds,
            # Every pod reads the same counts.
            retry_elsewhere=False,
        )


# What a request is refused with before it is on record, unless it is there already.
DOOR_REFUSALS: Final = (QuoteUnknownError, QuoteExpiredError, CellClosedError, TooFewDriversError)


class NeighbourUnavailableError(UnavailableError):
    """A neighbour failed, or was too slow. The same request may be repeated with its key."""

    reason = "NEIGHBOUR_UNAVAILABLE"
