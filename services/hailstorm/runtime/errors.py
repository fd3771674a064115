"""
What a handler raises, and what the caller is told.

    ServiceError
    ├── InvalidArgumentError       a field is wrong; each is named
    ├── NotFoundError              there is no such thing
    ├── AlreadyExistsError         the key was used for something else
    ├── PermissionDeniedError      it is somebody else's
    ├── FailedPreconditionError    its state does not allow this
    ├── AbortedError               it has moved on; read again, then decide
    ├── UnimplementedError         not in this version
    ├── DeadlineExceededError      the caller's time is over
    └── RetryableError             later, and how much later
        ├── ResourceExhaustedError shed before any work was done
        └── UnavailableError       a dependency cannot be reached

A domain error inherits one of these, sets `reason` and writes its sentence.
Only RetryableError becomes better by repeating the same call. An exception
outside the tree is a defect: it is logged with its traceback, counted, and
answered with INTERNAL.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import grpc

# `domain` of google.rpc.ErrorInfo: who gives the reasons their meaning.
ERROR_DOMAIN: Final = "hailstorm"

# Envoy does not heed gRPC's pushback. This it does: an answer that carries it is
# not retried, unless its route asks for `envoy-ratelimited`.
NO_RETRY_KEY: Final = "x-envoy-ratelimited"
# gRPC's own word for when to come again (gRFC A6), in milliseconds.
PUSHBACK_KEY: Final = "grpc-retry-pushback-ms"


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One wrong field of a request: its path in the message, and what is wrong."""

    field: str
    description: str


class ServiceError(Exception):
    """
    An answer that is not OK, chosen on purpose.

    Attributes:
        code: the gRPC status code.
        reason: UPPER_SNAKE fact for programs, the `reason` of ErrorInfo.
        metadata: facts for programs, for instance the current version.
    """

    code: ClassVar[grpc.StatusCode] = grpc.StatusCode.INTERNAL
    reason: str = "UNEXPECTED"

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.metadata = dict(metadata or {})
        if reason is not None:
            self.reason = reason


class InvalidArgumentError(ServiceError):
    """
    A request that can never succeed as it is.

    Attributes:
        violations: every wrong field, not only the first.
    """

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "INVALID_FIELDS"

    def __init__(self, violations: Sequence[FieldViolation]) -> None:
        self.violations = tuple(violations)
        # The sentence names a few; the details name all of them.
        first = "; ".join(f"{v.field}: {v.description}" for v in self.violations[:3])
        more = len(self.violations) - 3
        super().__init__(first + (f"; and {more} more" if more > 0 else ""))


class NotFoundError(ServiceError):
    code = grpc.StatusCode.NOT_FOUND
    reason = "NOT_FOUND"


class AlreadyExistsError(ServiceError):
    code = grpc.StatusCode.ALREADY_EXISTS
    reason = "ALREADY_EXISTS"


class PermissionDeniedError(ServiceError):
    code = grpc.StatusCode.PERMISSION_DENIED
    reason = "PERMISSION_DENIED"


class FailedPreconditionError(ServiceError):
    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "FAILED_PRECONDITION"


class AbortedError(ServiceError):
    code = grpc.StatusCode.ABORTED
    reason = "ABORTED"


class UnimplementedError(ServiceError):
    code = grpc.StatusCode.UNIMPLEMENTED
    reason = "UNIMPLEMENTED"


class DeadlineExceededError(ServiceError):
    code = grpc.StatusCode.DEADLINE_EXCEEDED
    reason = "DEADLINE_EXCEEDED"


class RetryableError(ServiceError):
    """
    The same call may succeed a little later.

    Attributes:
        retry_after_seconds: sent as RetryInfo and as grpc-retry-pushback-ms,
            spread by half to either side so that callers do not come back together.
        retry_elsewhere: whether another pod may do better, at once. false tells
            Envoy not to try. It is for who hands on a neighbour's failure, which
            was tried elsewhere already: two layers of five tries made 4 s (seen).
            Not for a breaker that is open: a starved pod's opens while its
            neighbour still reaches the store (seen, 54 failures in a roll).
    """

    default_retry_after_seconds: ClassVar[float] = 0.25
    retry_elsewhere: bool = True

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
        retry_after_seconds: float | None = None,
        retry_elsewhere: bool | None = None,
    ) -> None:
        super().__init__(message, reason=reason, metadata=metadata)
        if retry_elsewhere is not None:
            self.retry_elsewhere = retry_elsewhere
        self.retry_after_seconds = (
            self.default_retry_after_seconds if retry_after_seconds is None else retry_after_seconds
        )


class ResourceExhaustedError(RetryableError):
    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "OVERLOADED"
    # A guess: about two service times of a busy handler, so that a place is free.
    default_retry_after_seconds = 0.1


class UnavailableError(RetryableError):
    code = grpc.StatusCode.UNAVAILABLE
    reason = "DEPENDENCY_UNAVAILABLE"
    # A guess: long enough that callers do not hammer a store that starts,
    # short enough that nobody notices the wait once it is back.
    default_retry_after_seconds = 0.25


def error_from_rpc(error: grpc.aio.AioRpcError, dependency: str) -> ServiceError:
    """
    Say for our caller what a failed call to `dependency` means.

    A dependency that is away, overloaded or cancelled us is worth another try;
    a spent deadline is spent for our caller too. When it says when to come again, our
    caller is told no sooner. Any other code is about the
    request that *we* made, so it is our defect unless the caller of this
    function has handled it before: the returned ServiceError is INTERNAL.
    """
    code = error.code()
    told = _told_seconds(error)
    details = error.details() or "no details"
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
        # The edge has tried it on other pods by now; trying us again would
        # multiply its tries by its tries.
        return UnavailableError(
            f"{dependency} cannot be reached: {details}",
            retry_elsewhere=False,
            retry_after_seconds=max(told, UnavailableError.default_retry_after_seconds),
        )
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return ResourceExhaustedError(
            f"{dependency} is overloaded: {details}",
            retry_after_seconds=max(told, ResourceExhaustedError.default_retry_after_seconds),
        )
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineExceededError(f"{dependency} did not answer in time")
    return ServiceError(f"{dependency} answered {code.name}: {details}", reason="UNEXPECTED_ANSWER")


def _told_seconds(error: Any) -> float:
    """When to come again, as a server of ours says; 0 where nothing is said."""
    for key, value in error.trailing_metadata() or ():
        if key == PUSHBACK_KEY:
            try:
                return max(0.0, int(value) / 1000)
            except ValueError:
                return 0.0
    return 0.0
